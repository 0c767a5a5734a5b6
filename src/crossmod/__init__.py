"""Unpaired cross-modality image synthesis between CT and MR.

    import crossmod

    model = crossmod.load_model("runs/essnet")
    made = model.translate(crossmod.read_volume("patient/CT"))
    crossmod.write_translation(made, "patient/MR.nii.gz")

Names are loaded when they are first used, so that importing crossmod costs nothing.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmod.data.store import Store as Store
    from crossmod.data.volume import Volume as Volume
    from crossmod.errors import InputError as InputError
    from crossmod.inference.api import Model as Model
    from crossmod.inference.api import load_model as load_model
    from crossmod.inference.api import read_volume as read_volume
    from crossmod.inference.api import read_volumes as read_volumes
    from crossmod.inference.api import write_translation as write_translation
    from crossmod.inference.contract import Options as Options
    from crossmod.inference.contract import Translation as Translation

__version__ = metadata.version("crossmod")

_HOMES = {
    "InputError": "crossmod.errors",
    "Model": "crossmod.inference.api",
    "Options": "crossmod.inference.contract",
    "Store": "crossmod.data.store",
    "Translation": "crossmod.inference.contract",
    "Volume": "crossmod.data.volume",
    "load_model": "crossmod.inference.api",
    "read_volume": "crossmod.inference.api",
    "read_volumes": "crossmod.inference.api",
    "write_translation": "crossmod.inference.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'crossmod' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
