"""The operating systems that crossmod runs on."""

from importlib.util import find_spec

WANTED = "Linux or macOS; on Windows, crossmod runs in WSL 2 (Windows Subsystem for Linux)"


def unsupported() -> str | None:
    """The reason why crossmod cannot run on this system; None if it can: it needs file locks of Unix."""
    try:
        found = find_spec("fcntl") is not None
    except ValueError:  # a blocked module has no specification
        found = False
    return None if found else f"this system has no file locks of Unix (Python's fcntl). Expected: {WANTED}."
