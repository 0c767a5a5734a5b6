"""Files that are whole or not there: written under a temporary name, synced, renamed."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.system import unsupported

try:
    import fcntl
except ImportError:
    raise ImportError(f"crossmod: {unsupported()}") from None

# What public names take for a path.
PathName = str | PathLike[str]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` when the block ends well.

    When the block fails, the temporary file is removed and `path` is as it was.

    Raises:
        InputError: the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        _sync(temporary)
        # safetensors writes for the owner alone; a store is as open as any other file of its folder.
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
        # Elsewhere it can only be read by setting it, and files that other threads make meanwhile are open to all.
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
    """Whether `error` says that there is no room: safetensors reports the system's words, not its number."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        return True
    return any(os.strerror(number) in str(error) for number in full)


def disk_full(path: Path) -> InputError:
    """The sentence for a disk with no room left for `path`."""
    return InputError(
        path,
        found="the disk is full, or a quota or file-size limit is reached",
        wanted="room for this file",
        do="Free some space or choose another folder, then run the same command again.",
    )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file, so that no second process writes in the same place; a killed process lets go of it.

    Raises:
        InputError: another process holds it.
    """
    with path.open("wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found, wanted = "another crossmod command that writes here", "one at a time"
            do = "Wait for it, or choose another folder."
            raise InputError(path.parent, found=found, wanted=wanted, do=do) from None
        yield


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that a killed process left; whoever calls holds the folder."""
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: the file is not there or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, found="no such file", wanted="a JSON file", do="Check the path.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            path, found=f"not JSON ({error})", wanted="a JSON file", do="Restore it from a copy or make it anew."
        ) from None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
