"""Files in the order in which a person would count them: `i2` before `i10`."""

import re
from pathlib import Path


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """A key for `sorted`: numbers inside the name count as numbers, all else by the alphabet.

    Names that differ in case alone are in one order everywhere, whatever order the disk lists them in.
    """
    parts = re.split(r"(\d+)", path.name)
    keys = [(1, int(part), part) if part.isdigit() else (0, 0, part.lower()) for part in parts if part]
    return [*keys, (-1, 0, path.name)]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, not of its sub-folders, in natural order; hidden ones are left out."""
    return sorted((path for path in folder.iterdir() if path.is_file() and path.name[0] != "."), key=natural_key)
