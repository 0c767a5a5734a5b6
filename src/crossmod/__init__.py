"""Unpaired cross-modality image synthesis between CT and MR.

    import crossmod

    model = crossmod.load_model("runs/essnet")
    made = model.translate(crossmod.read_volume("patient/CT"))
    crossmod.write_translation(made, "patient/MR.nii.gz")

Names are loaded when they are first used, so that importing crossmod costs nothing.
"""

from typing import TYPE_CHECKING

from crossmod.lazy import loading
from crossmod.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmod import evaluate as evaluate
    from crossmod.data.store import Store as Store
    from crossmod.data.volume import Volume as Volume
    from crossmod.errors import InputError as InputError
    from crossmod.evaluation.run import judge_images as judge_images
    from crossmod.inference.api import Model as Model
    from crossmod.inference.api import load_model as load_model
    from crossmod.inference.api import read_volume as read_volume
    from crossmod.inference.api import read_volumes as read_volumes
    from crossmod.inference.api import write_translation as write_translation
    from crossmod.inference.batch.case import Job as Job
    from crossmod.inference.batch.run import translate_list as translate_list
    from crossmod.inference.bundle.export import export_bundle as export_bundle
    from crossmod.inference.contract import Options as Options
    from crossmod.inference.contract import Translation as Translation
    from crossmod.inference.trust.found import Limits as Limits
    from crossmod.inference.trust.found import Trust as Trust
    from crossmod.inference.trust.page import write_trust as write_trust
    from crossmod.inference.truth import AgainstTruth as AgainstTruth
    from crossmod.inference.truth import evaluate_translation as evaluate_translation

_HOMES = {
    "AgainstTruth": "crossmod.inference.truth",
    "InputError": "crossmod.errors",
    "Job": "crossmod.inference.batch.case",
    "Limits": "crossmod.inference.trust.found",
    "Model": "crossmod.inference.api",
    "Options": "crossmod.inference.contract",
    "Store": "crossmod.data.store",
    "Translation": "crossmod.inference.contract",
    "Trust": "crossmod.inference.trust.found",
    "Volume": "crossmod.data.volume",
    "evaluate": "crossmod.evaluate",
    "evaluate_translation": "crossmod.inference.truth",
    "export_bundle": "crossmod.inference.bundle.export",
    "judge_images": "crossmod.evaluation.run",
    "load_model": "crossmod.inference.api",
    "read_volume": "crossmod.inference.api",
    "read_volumes": "crossmod.inference.api",
    "translate_list": "crossmod.inference.batch.run",
    "write_translation": "crossmod.inference.api",
    "write_trust": "crossmod.inference.trust.page",
}
__getattr__ = loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
