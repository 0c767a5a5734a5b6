"""A folder of files that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to write to; it takes the place of `folder` when the block ends well.

    When the block fails, nothing is left.

    Args:
        folder: not there yet, or empty.

    Raises:
        InputError: the folder holds something, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, found="something in it", wanted="a new folder", do="Choose another folder.")
    # `.` and `..` have no name of their own to put a temporary one beside.
    place = folder.resolve()
    temporary = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # What a killed process of the same number left.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        temporary.replace(place)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise
