"""Unpaired cross-modality image synthesis between CT and MR.

    import crossmod

    crossmod.show_progress()
    crossmod.train("runs/essnet", ct="store", mr="store", preset="tiny")
    crossmod.synthesize("runs/essnet", source="store", out="synthetic")
    crossmod.translate("runs/essnet", "patient/CT", "patient/MR.nii.gz")

Names are loaded on first use, so importing crossmod is fast.
"""

from typing import TYPE_CHECKING

from crossmod.lazy import loading
from crossmod.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmod import evaluate as evaluate
    from crossmod.commands.benchmark import bench_prepare as bench_prepare
    from crossmod.commands.benchmark import bench_segment as bench_segment
    from crossmod.commands.benchmark import bench_synthesize as bench_synthesize
    from crossmod.commands.benchmark import bench_train as bench_train
    from crossmod.commands.benchmark import doctor as doctor
    from crossmod.commands.evaluate import compare_evaluations as compare_evaluations
    from crossmod.commands.evaluate import evaluate_images as evaluate_images
    from crossmod.commands.experiment import run_demo as run_demo
    from crossmod.commands.experiment import run_experiment as run_experiment
    from crossmod.commands.nnunet import export_nnunet as export_nnunet
    from crossmod.commands.nnunet import read_nnunet as read_nnunet
    from crossmod.commands.prepare import prepare_chaos as prepare_chaos
    from crossmod.commands.prepare import prepare_dicom as prepare_dicom
    from crossmod.commands.prepare import prepare_nifti as prepare_nifti
    from crossmod.commands.prepare import write_phantom as write_phantom
    from crossmod.commands.reader import analyze_surveys as analyze_surveys
    from crossmod.commands.reader import close_survey as close_survey
    from crossmod.commands.reader import create_survey as create_survey
    from crossmod.commands.reader import invite_readers as invite_readers
    from crossmod.commands.reader import run_reader_demo as run_reader_demo
    from crossmod.commands.reader import serve_survey as serve_survey
    from crossmod.commands.report import build_report as build_report
    from crossmod.commands.report import info as info
    from crossmod.commands.train import segment as segment
    from crossmod.commands.train import synthesize as synthesize
    from crossmod.commands.train import train as train
    from crossmod.commands.translate import export_bundle as export_bundle
    from crossmod.commands.translate import translate as translate
    from crossmod.data.store import Store as Store
    from crossmod.data.volume import Volume as Volume
    from crossmod.errors import InputError as InputError
    from crossmod.errors import Untrusted as Untrusted
    from crossmod.evaluation.settings import EvaluationSettings as EvaluationSettings
    from crossmod.inference.api import Model as Model
    from crossmod.inference.api import load_model as load_model
    from crossmod.inference.api import read_volume as read_volume
    from crossmod.inference.api import read_volumes as read_volumes
    from crossmod.inference.api import write_translation as write_translation
    from crossmod.inference.batch.case import BatchJob as BatchJob
    from crossmod.inference.batch.run import translate_list as translate_list
    from crossmod.inference.paired import AgainstTruth as AgainstTruth
    from crossmod.inference.paired import evaluate_translation as evaluate_translation
    from crossmod.inference.trust.findings import Limits as Limits
    from crossmod.inference.trust.findings import Trust as Trust
    from crossmod.inference.trust.report import write_trust as write_trust
    from crossmod.inference.types import Options as Options
    from crossmod.inference.types import Translation as Translation
    from crossmod.progress import show_progress as show_progress
    from crossmod.registry import register as register
    from crossmod.runs import Run as Run
    from crossmod.settings import Machine as Machine
    from crossmod.settings import SegmentSettings as SegmentSettings
    from crossmod.settings import TranslateSettings as TranslateSettings

# Each public name's module.
_MODULES = {
    "crossmod.commands.benchmark": "bench_prepare bench_segment bench_synthesize bench_train doctor",
    "crossmod.commands.evaluate": "compare_evaluations evaluate_images",
    "crossmod.commands.experiment": "run_demo run_experiment",
    "crossmod.commands.nnunet": "export_nnunet read_nnunet",
    "crossmod.commands.prepare": "prepare_chaos prepare_dicom prepare_nifti write_phantom",
    "crossmod.commands.reader": "analyze_surveys close_survey create_survey invite_readers run_reader_demo "
    "serve_survey",
    "crossmod.commands.report": "build_report info",
    "crossmod.commands.train": "segment synthesize train",
    "crossmod.commands.translate": "export_bundle translate",
    "crossmod.data.store": "Store",
    "crossmod.data.volume": "Volume",
    "crossmod.errors": "InputError Untrusted",
    "crossmod.evaluate": "evaluate",
    "crossmod.inference.api": "Model load_model read_volume read_volumes write_translation",
    "crossmod.inference.batch.case": "BatchJob",
    "crossmod.inference.batch.run": "translate_list",
    "crossmod.inference.paired": "AgainstTruth evaluate_translation",
    "crossmod.inference.trust.findings": "Limits Trust",
    "crossmod.inference.trust.report": "write_trust",
    "crossmod.inference.types": "Options Translation",
    "crossmod.progress": "show_progress",
    "crossmod.registry": "register",
    "crossmod.runs": "Run",
    "crossmod.evaluation.settings": "EvaluationSettings",
    "crossmod.settings": "Machine SegmentSettings TranslateSettings",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
# Names of version 0.1, which still work.
_OLD = {
    "Job": "crossmod.inference.batch.case:BatchJob",
    "judge_images": "crossmod.commands.evaluate:evaluate_images",
}
__getattr__ = loading(__name__, {**_HOMES, **_OLD})


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
