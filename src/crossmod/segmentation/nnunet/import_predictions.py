"""nnU-Net's predictions, imported as a finished run of `segment`."""

import gzip
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError

from crossmod.data.nifti import SAME_PLACE_MM
from crossmod.data.slices import SliceSet
from crossmod.data.store import listed
from crossmod.data.volume import CANONICAL, Affine, reorient
from crossmod.errors import InputError
from crossmod.files import read_json, sha256
from crossmod.progress import track
from crossmod.runs import Run, SegmenterCard, is_run, start_run
from crossmod.segmentation.data import choose_cases
from crossmod.segmentation.nnunet.export import ENDING
from crossmod.segmentation.nnunet.plan import MARK, REAL, NnunetPlan, grids, name_of, read_plan
from crossmod.segmentation.predict import KIND, THRESHOLD
from crossmod.segmentation.several_organs import score_organs
from crossmod.segmentation.train import by_case, data_card, write_predictions

NETWORK = "nnunet"
SOFTMAX = ".npz"
# Some versions of nnU-Net store probabilities as float16: near 0.5 they are this far off.
ROUNDING = 1e-3
# Fields of a card that only a training by crossmod can fill.
UNMEASURED = ("parameters", "steps", "seconds", "seconds_per_epoch", "slices_per_second")


def read_nnunet(out: Path, *, export: Path, predictions: Path) -> Run:
    """Check and score nnU-Net's predictions of an export's imagesTs; a run that was read before is left alone."""
    plan = read_plan(export)
    chosen = choose_cases(plan.real, plan.synthetic, plan.settings)
    plan.check_stores(chosen)
    softmax = _check_files(predictions, plan)
    settings = {**plan.settings.model_dump(mode="json"), "network": NETWORK}
    inputs = {**plan.inputs, "export": plan.sha256, "predictions": _checksums(predictions, plan, softmax)}
    if is_run(out) and start_run(out, KIND, settings, inputs).finished:
        return Run(out)
    sides = chosen.load()
    plan.check_slices(sides)
    # Everything that can be refused is refused before the run folder is made.
    organs = plan.settings.organs
    answer, probability = _read(predictions, sides.test, grids(sides.test, chosen.real), softmax, len(organs))
    scores = score_organs(sides.test, answer, probability, organs, chosen.real)
    for one in () if softmax else (scores, *scores.get("organs", {}).values()):
        # Labels have one threshold and no curve.
        one["auc"], one["roc"] = None, {"fpr": [], "tpr": []}
    run = start_run(out, KIND, settings, inputs)
    write_predictions(run.path / "predictions", chosen, sides.test, answer)
    kind = "softmax" if softmax else "labels"
    card: SegmenterCard = {
        "settings": settings,
        "data": data_card(out, chosen, sides),
        "tested": by_case(sides.test),
        "leaking": plan.settings.split == "slice",
        "alarms": [],
        "parameters": 0,
        "steps": 0,
        "seconds": 0.0,
        "seconds_per_epoch": 0.0,
        "slices_per_second": 0.0,
        "unmeasured": list(UNMEASURED),
        "device": "another environment",
        "processes": 1,
        "compute": "nnU-Net",
        "nnunet": {"export": plan.sha256, "dataset": plan.dataset, "probabilities": kind},
        "scores": scores,
    }
    run.finish(card)
    return run


def _check_files(folder: Path, plan: NnunetPlan) -> bool:
    """Check that the predictions are exactly those of this export; whether they have probabilities."""
    expected = set(plan.cases["test"])
    do = "Give the folder that `nnUNetv2_predict -o` wrote."
    if not folder.is_dir():
        raise InputError(folder, found="no such folder", expected="predictions", do=do)
    dataset = folder / "dataset.json"
    if not dataset.is_file():
        raise InputError(dataset, found="no such file", expected="the copy that nnU-Net leaves there", do=do)
    content = read_json(dataset)
    mark = content.get(MARK) if isinstance(content, dict) else None
    if mark != plan.sha256:
        found = "predictions of a model that was trained on " + (
            f"another export ({mark[:12]})" if isinstance(mark, str) else "something else"
        )
        do = "Give the --export that the model was trained on, or train on this one."
        raise InputError(dataset, found=found, expected=f"a model of {plan.path} ({plan.sha256[:12]})", do=do)
    _check_names(folder, ENDING, expected)
    if any(folder.glob(f"*{SOFTMAX}")):
        _check_names(folder, SOFTMAX, expected)
        return True
    return False


def _check_names(folder: Path, ending: str, expected: set[str]) -> None:
    have = {path.name.removesuffix(ending) for path in folder.iterdir() if path.name.endswith(ending)}
    for names, what in ((expected - have, "missing"), (have - expected, "of no test slice of this export")):
        if names:
            found = f"{len(names)} {what}: {listed(f'{name}{ending}' for name in sorted(names))}"
            do = "Predict the export's imagesTs again, into a new folder."
            raise InputError(folder, found=found, expected=f"{len(expected)} {ending} files, one per test slice", do=do)


def _checksums(folder: Path, plan: NnunetPlan, softmax: bool) -> dict[str, str]:
    endings = (ENDING, SOFTMAX) if softmax else (ENDING,)
    names = [f"{name}{ending}" for name in sorted(plan.cases["test"]) for ending in endings]
    return {name: sha256(folder / name) for name in names}


def _read(
    folder: Path, test: SliceSet, affines: Iterable[Affine], softmax: bool, organs: int
) -> tuple[
    UInt8[np.ndarray, "slices size size"],
    Float[np.ndarray, "slices size size"] | Float[np.ndarray, "organs slices size size"],
]:
    """Labels and the probability of each organ, as `predict` gives them; without probabilities 1 where it is found."""
    answer, probability = np.empty(test.pixels.shape, np.uint8), np.empty((organs, *test.pixels.shape), np.float32)
    names = [name_of(REAL, key) for key in test.keys]
    for index, affine in enumerate(track(list(affines), f"Reading {len(names)} prediction{'s' * (len(names) != 1)}")):
        file = folder / f"{names[index]}{ENDING}"
        answer[index] = label = read_label(file, affine, test.size, organs)
        probability[:, index] = (
            _read_softmax(folder / f"{names[index]}{SOFTMAX}", label, organs)
            if softmax
            else label == np.arange(1, organs + 1)[:, None, None]
        )
    return answer, probability[0] if organs == 1 else probability


def read_label(path: Path, affine: Affine, size: int, organs: int = 1) -> UInt8[np.ndarray, "size size"]:
    """One predicted slice from a `.nii.gz` file, by the affine and the pixels per side of the exported slice; values
    are 0 and the numbers of the organs."""
    do = "Predict the export's imagesTs again, and do not change the files."
    try:
        image = Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
        values = np.asarray(image.dataobj)
    except (ImageFileError, HeaderDataError, EOFError, gzip.BadGzipFile, zlib.error, ValueError):
        found, expected = "a file that is not NIfTI, or cut", "a .nii.gz file"
        raise InputError(path, found=found, expected=expected, do=do) from None
    have = np.array(image.affine, dtype=np.float64)
    if values.shape != (size, size, 1):
        found = f"{' x '.join(map(str, values.shape))} pixels"
        raise InputError(path, found=found, expected=f"{size} x {size} x 1, as in imagesTs", do=do)
    if not np.isfinite(have).all() or abs(np.linalg.det(have)) < 1e-6:
        raise InputError(path, found="an affine that is singular", expected="that of imagesTs", do=do)
    values, have = reorient(values, have, CANONICAL)
    ends = np.array([[0, row, column, 1] for row in (0, size - 1) for column in (0, size - 1)])
    away = float(np.linalg.norm(ends @ (have - affine).T, axis=1).max())
    if values.shape != (1, size, size) or away > SAME_PLACE_MM:
        found = f"a slice {away:.2f} mm away from its image (another affine)"
        raise InputError(path, found=found, expected="its position in imagesTs", do=do)
    other = np.setdiff1d(values, np.arange(1 + organs))
    if other.size:
        found = f"the value{'s' if other.size > 1 else ''} {listed(f'{value:g}' for value in other)}"
        expected = "0 and 1 only" if organs == 1 else f"whole numbers from 0 to {organs}"
        raise InputError(path, found=found, expected=expected, do=do)
    return values[0].astype(np.uint8)


def _read_softmax(
    path: Path, label: UInt8[np.ndarray, "size size"], organs: int
) -> Float[np.ndarray, "organs size size"]:
    """The organs' `probabilities[1:, 0, row, column]`; with one organ on the label's side of one half."""
    do = "Predict the export's imagesTs again with --save_probabilities, and read the files before any postprocessing."
    try:
        with np.load(path, allow_pickle=False) as content:
            every = content["probabilities"]
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error, ValueError):
        raise InputError(path, found="no probabilities", expected="what nnU-Net saves", do=do) from None
    shape = (1 + organs, 1, *label.shape)
    if every.shape != shape or every.dtype.kind != "f" or not ((every >= 0) & (every <= 1 + ROUNDING)).all():
        expected = f"probabilities of {' x '.join(map(str, shape))}"
        found = f"{every.dtype} values of {' x '.join(map(str, every.shape))}, or outside 0 to 1"
        raise InputError(path, found=found, expected=expected, do=do)
    found = every[1:, 0].astype(np.float32)
    against = _against(found[0], label) if organs == 1 else _less_likely(every[:, 0].astype(np.float32), label)
    if against.any():
        wrong = f"{np.count_nonzero(against)} pixels whose label is not the likelier class"
        raise InputError(path, found=wrong, expected="the probabilities of the label map", do=do)
    if organs > 1:
        return found.clip(0, 1)
    below = np.nextafter(np.float32(THRESHOLD), np.float32(0))
    sided = np.where(label == 1, np.maximum(found, np.float32(THRESHOLD)), np.minimum(found, below))
    return sided.clip(0, 1)


def _against(organ: Float[np.ndarray, "size size"], label: UInt8[np.ndarray, "size size"]) -> np.ndarray:
    return np.where(label == 1, organ < THRESHOLD - ROUNDING, organ > THRESHOLD + ROUNDING)


def _less_likely(every: Float[np.ndarray, "classes size size"], label: UInt8[np.ndarray, "size size"]) -> np.ndarray:
    chosen = np.take_along_axis(every, label[None].astype(np.int64), axis=0)[0]
    return chosen < every.max(axis=0) - 2 * ROUNDING
