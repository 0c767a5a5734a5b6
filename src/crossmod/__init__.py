"""Unpaired cross-modality image synthesis between CT and MR.

    import crossmod

    model = crossmod.load_model("runs/essnet")
    made = model.translate(crossmod.read_volume("patient/CT"))
    crossmod.write_translation(made, "patient/MR.nii.gz")

Names are loaded on first use, so importing crossmod is fast.
"""

from typing import TYPE_CHECKING

from crossmod.lazy import loading
from crossmod.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmod import evaluate as evaluate
    from crossmod.data.store import Store as Store
    from crossmod.data.volume import Volume as Volume
    from crossmod.errors import InputError as InputError
    from crossmod.evaluation.run import evaluate_images as evaluate_images
    from crossmod.inference.api import Model as Model
    from crossmod.inference.api import load_model as load_model
    from crossmod.inference.api import read_volume as read_volume
    from crossmod.inference.api import read_volumes as read_volumes
    from crossmod.inference.api import write_translation as write_translation
    from crossmod.inference.batch.case import BatchJob as BatchJob
    from crossmod.inference.batch.run import translate_list as translate_list
    from crossmod.inference.bundle.export import export_bundle as export_bundle
    from crossmod.inference.paired import AgainstTruth as AgainstTruth
    from crossmod.inference.paired import evaluate_translation as evaluate_translation
    from crossmod.inference.trust.findings import Limits as Limits
    from crossmod.inference.trust.findings import Trust as Trust
    from crossmod.inference.trust.report import write_trust as write_trust
    from crossmod.inference.types import Options as Options
    from crossmod.inference.types import Translation as Translation
    from crossmod.registry import register as register

_HOMES = {
    "AgainstTruth": "crossmod.inference.paired",
    "InputError": "crossmod.errors",
    "BatchJob": "crossmod.inference.batch.case",
    "Limits": "crossmod.inference.trust.findings",
    "Model": "crossmod.inference.api",
    "Options": "crossmod.inference.types",
    "Store": "crossmod.data.store",
    "Translation": "crossmod.inference.types",
    "Trust": "crossmod.inference.trust.findings",
    "Volume": "crossmod.data.volume",
    "evaluate": "crossmod.evaluate",
    "evaluate_translation": "crossmod.inference.paired",
    "export_bundle": "crossmod.inference.bundle.export",
    "evaluate_images": "crossmod.evaluation.run",
    "load_model": "crossmod.inference.api",
    "read_volume": "crossmod.inference.api",
    "read_volumes": "crossmod.inference.api",
    "register": "crossmod.registry",
    "translate_list": "crossmod.inference.batch.run",
    "write_translation": "crossmod.inference.api",
    "write_trust": "crossmod.inference.trust.report",
}
# Names of version 0.1, which still work.
_OLD = {"Job": "crossmod.inference.batch.case:BatchJob", "judge_images": "crossmod.evaluation.run:evaluate_images"}
__getattr__ = loading(__name__, {**_HOMES, **_OLD})


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
