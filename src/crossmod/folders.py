"""Folders that appear whole or not at all."""

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full

# What renaming onto a folder says that was filled meanwhile.
FILLED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def refuse_filled(folder: Path) -> None:
    """Say so before the work whose result would have no place.

    Raises:
        InputError: there is a file, a link, or a folder that holds something.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        found = "a folder with something in it" if folder.is_dir() else "a file"
        raise InputError(folder, found=found, wanted="a new or empty folder", do="Choose another, or remove it.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the place of `folder` when the block ends well.

    When the block fails, nothing is left; nor of commands that were killed.

    Args:
        folder: not there yet, or empty.

    Raises:
        InputError: the folder holds something, also if it only came there meanwhile, or the disk is full.
    """
    refuse_filled(folder)
    # `.` and `..` have no name of their own to put a temporary one beside.
    place = folder.resolve()
    temporary = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(place)
        temporary.mkdir()
        yield temporary
        _rename(temporary, place)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise


def _rename(temporary: Path, out: Path) -> None:
    """Renaming onto an empty folder replaces it; onto one that was filled meanwhile it fails."""
    try:
        temporary.replace(out)
    except OSError as error:
        if error.errno not in FILLED:
            raise
        found = "something was written there meanwhile"
        raise InputError(out, found=found, wanted="a new folder", do="Choose another, or remove it.") from None


def _remove_abandoned(out: Path) -> None:
    """Remove what commands that were killed left beside `out`; a command that still runs keeps its folder."""
    for path in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        number = path.name[len(out.name) + 2 : -len(".partial")]
        # This process has made none yet: a folder of its number is from another that had it before.
        if path.is_dir() and number.isdecimal() and (int(number) == os.getpid() or not _alive(int(number))):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's, or no number of a process: not ours to judge
        return True
    return True
