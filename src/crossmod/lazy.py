"""Public names of a package, each loaded on first use, so that importing the package is fast."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loading(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562), from the module of each name; if the module has the same name, it is
    returned itself. `module:other` is the attribute `other` of the module."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, other = homes[name].partition(":")
        module = import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, other or name)

    return load
