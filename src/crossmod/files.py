"""Files and folders that are written completely or not at all, locks, and names in natural order."""

import errno
import glob
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.system import unsupported

try:
    import fcntl
except ImportError:
    raise ImportError(f"crossmod: {unsupported()}") from None

# Paths that public functions accept.
PathName = str | PathLike[str]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it replaces `path` when the block ends without an error, else it is
    removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        _sync(temporary)
        # safetensors writes files that only the owner can read; a store has the usual permissions of its folder.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise disk_full(path) from error
        raise


def _umask() -> int:
    """The permissions that new files of this process do not get."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("\nUmask:")[2].split()[0], 8)
    except (OSError, IndexError):  # macOS, or a kernel that does not show it
        # Otherwise it can only be read by setting it; files that other threads create meanwhile are open to all users.
        mask = os.umask(0)
        os.umask(mask)
        return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` means that the disk is full: safetensors reports the system's message, not its number."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        return True
    return any(os.strerror(number) in str(error) for number in full)


def disk_full(path: Path) -> InputError:
    """The error for a full disk when writing `path`."""
    return InputError(
        path,
        found="the disk is full, or a quota or file-size limit is reached",
        expected="room for this file",
        do="Free some space or choose another folder, then rerun the command.",
    )


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lock a file, so that no second process writes to the same folder; the lock of a killed process is released."""
    with path.open("wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found, expected = "another crossmod command that writes here", "one at a time"
            do = "Wait for it, or choose another folder."
            raise InputError(path.parent, found=found, expected=expected, do=do) from None
        yield


def remove_partial(folder: Path) -> None:
    """Remove the temporary files of a killed process; the caller must have locked the folder."""
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, completely or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any) -> Any:
    """Plain JSON values of mappings, sequences, dataclasses and numbers, also NumPy's; NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif callable(tolist := getattr(value, "tolist", None)):
        value = tolist()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, completely or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, found="no such file", expected="a JSON file", do="Check the path.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            path, found=f"not JSON ({error})", expected="a JSON file", do="Restore it from a copy or create it again."
        ) from None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Errors of renaming onto a folder that another process has filled meanwhile.
FILLED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def require_empty(folder: Path) -> None:
    """Check that a result can be written, before the work is done."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        found = "a folder with something in it" if folder.is_dir() else "a file"
        raise InputError(folder, found=found, expected="a new or empty folder", do="Choose another, or remove it.")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it replaces `folder` (new or empty) when the block ends without an error, else
    it is removed; so are those of killed commands."""
    require_empty(folder)
    # The temporary name needs the real name of the folder, which `.` and `..` do not show.
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
        raise InputError(out, found=found, expected="a new folder", do="Choose another, or remove it.") from None


def _remove_abandoned(out: Path) -> None:
    """Remove the temporary folders of killed commands next to `out`; a running command keeps its folder."""
    for path in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        number = path.name[len(out.name) + 2 : -len(".partial")]
        # This process has created none yet: a folder with its number is from an earlier process with that number.
        if path.is_dir() and number.isdecimal() and (int(number) == os.getpid() or not _alive(int(number))):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process, or not the number of a process: keep it
        return True
    return True


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """A key for `sorted`: numbers inside the name are compared as numbers, everything else alphabetically. Names that
    differ only in case always have the same order, whatever order the disk lists them in."""
    parts = re.split(r"(\d+)", path.name)
    keys = [(1, int(part), part) if part.isdigit() else (0, 0, part.lower()) for part in parts if part]
    return [*keys, (-1, 0, path.name)]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, not of its sub-folders, in natural order, without hidden files."""
    return sorted((path for path in folder.iterdir() if path.is_file() and path.name[0] != "."), key=natural_key)
