"""Names that a package gives, each loaded when it is first used: importing the package costs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loading(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package takes as its `__getattr__` (PEP 562).

    Args:
        package: its name.
        homes: module of each name; a module that is called like the name is given itself. `module:other` is what the
            module calls `other`.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, other = homes[name].partition(":")
        module = import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, other or name)

    return load
