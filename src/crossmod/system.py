"""The operating systems that crossmod runs on."""

from importlib.util import find_spec

WANTED = "Linux or macOS; on Windows, crossmod runs in WSL 2 (Windows Subsystem for Linux)"


def unsupported() -> str | None:
    """Why crossmod cannot run on this system, a sentence; None where it can: files are locked as Unix does it."""
    try:
        found = find_spec("fcntl") is not None
    except ValueError:  # a module that is barred has no specification
        found = False
    return None if found else f"this system has no file locks of Unix (Python's fcntl). Expected: {WANTED}."
