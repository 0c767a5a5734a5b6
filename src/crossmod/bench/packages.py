"""Which packages are there, found out by importing them."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable

from crossmod.bench.finding import Finding
from crossmod.version import __version__

# By the name that they are imported by; torch comes first, since nearly all commands need it.
NEEDED = (
    "torch", "numpy", "scipy.ndimage", "pydicom", "gdcm", "nibabel", "PIL.Image", "matplotlib", "jinja2",
    "safetensors.torch", "tensorboard", "yaml", "rich", "pydantic", "cyclopts", "jaxtyping",
)  # fmt: skip
DEVELOPERS = ("pytest", "xdist", "hypothesis", "beartype", "ruff", "pyright", "importlinter", "sklearn")


def packages(load: Callable[[str], object] = importlib.import_module) -> list[Finding]:
    """Findings on Python and on packages.

    Args:
        load: imports a module by its name.
    """
    broken = {name: reason for name in NEEDED if (reason := _why_not(name, load))}
    found = [Finding("ok", "Python", ".".join(map(str, sys.version_info[:3]))), _needed(broken)]
    several = _why_not("lightning_fabric", load)
    text = f"lightning-fabric: {several}; one process trains as ever" if several else "lightning-fabric is there"
    do = "For --devices and --nodes: pip install lightning-fabric" if several else ""
    found.append(Finding("missing" if several else "ok", "several processes", text, do))
    absent = [name for name in DEVELOPERS if importlib.util.find_spec(name) is None]
    if absent:
        text = f"the extra dev is not complete ({', '.join(absent)}); only work on crossmod itself needs it"
        found.append(Finding("note", "developers' tools", text))
    return found


def _needed(broken: dict[str, str]) -> Finding:
    if not broken:
        return Finding("ok", "packages", f"all {len(NEEDED)} that crossmod needs, crossmod {__version__}")
    reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
    return Finding("broken", "packages", reasons, "pip install -c constraints.txt . mends most of this.")


def _why_not(name: str, load: Callable[[str], object]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(name)
    except Exception as error:  # whatever a broken library raises as it is loaded
        return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0][:150]}"
    return None
