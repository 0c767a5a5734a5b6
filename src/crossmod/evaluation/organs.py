"""How a model changed organs: labels of the source compared with a segmentation of the synthetic image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmod.data.slices import in_classes
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.evaluation.cases import SyntheticModel
from crossmod.evaluation.label_folder import FoundLabels, LabelFolder, open_label_folder
from crossmod.evaluation.result import OWN
from crossmod.metrics.axial_layers import Placed
from crossmod.metrics.organs import OrganChange, organ_changes
from crossmod.progress import track
from crossmod.runs import is_run
from crossmod.segmentation.predict import Segmenter, load_segmenter
from crossmod.statistics.intervals import interval


@dataclass(frozen=True)
class OrganSummary:
    """One organ over all cases of a model."""

    # what segmented the synthetic images: the model's own segmentor, S, the run of a segmenter, or label maps
    found_by: str
    on_real: float  # 3D Dice of that segmenter, of this organ, on its real test images; NaN where it is not known
    cases: int
    dice: float  # mean over patients, of the whole volume
    low: float  # lower end of its 95 % interval over patients; -inf with one patient
    high: float
    worst: str  # name of the case with the lowest Dice
    least: float  # that Dice
    shift_mm: float  # median shift of the centre of mass; NaN if no case has both sides
    rows_mm: float  # mean over cases of its shift along rows, positive towards the patient's back; NaN as `shift_mm`
    columns_mm: float  # the same along columns, positive towards the patient's left
    growth: float  # median size after divided by size before; NaN if no case had any
    vanished: int  # cases in which it vanished
    appeared: int  # cases in which it appeared
    slices_lost: int  # slices that showed it only before
    slices_gained: int  # slices that show it only after
    slices: int


def open_finder(path: Path, models: Sequence[SyntheticModel]) -> Segmenter | LabelFolder:
    """What finds the organs: a run of `segment`, or a folder of label maps for the models' cases."""
    if not path.is_dir():
        expected = "a run of `segment`, or a folder of label maps"
        raise InputError(path, found="no such folder", expected=expected, do="Check the path.")
    return load_segmenter(path) if is_run(path) else open_label_folder(path, models)


def checksums_of(finder: Segmenter | LabelFolder | None) -> object:
    """What determines what is found."""
    return finder.checksums if isinstance(finder, LabelFolder) else None if finder is None else finder.weights


def finder_of(finder: Segmenter | LabelFolder | None, model: str) -> Segmenter | FoundLabels | None:
    """What finds the organs of one model."""
    return finder.models[model] if isinstance(finder, LabelFolder) else finder


def organs_of(
    store: Store, cases: Sequence[Placed], finder: Segmenter | FoundLabels | None = None
) -> dict[str, OrganSummary]:
    """How each organ that labels and segmentation have in common changed: organ -> summary.

    Of a segmenter or of label maps with several organs, each of them, as far as a case has labels of it. `finder`:
    default, the model's own segmentor.
    """
    rows: dict[str, list[tuple[str, str, int, OrganChange]]] = {}
    for placed in track(cases, f"Comparing organs of {store.path.name}"):
        record = placed.record
        for organ, change in _changes(finder, store, record).items():
            rows.setdefault(organ, []).append((record.id, record.patient, record.shape[0], change))
    return {organ: _summary(own, *_found_by(finder, organ)) for organ, own in rows.items()}


def _changes(finder: Segmenter | FoundLabels | None, store: Store, record: CaseRecord) -> dict[str, OrganChange]:
    if finder is None:
        return _by_own(store, record)
    return _by(finder, store, record) if isinstance(finder, Segmenter) else _by_maps(finder, store, record)


def _found_by(finder: Segmenter | FoundLabels | None, organ: str) -> tuple[str, float]:
    """Who found an organ, and its Dice on real images."""
    if isinstance(finder, Segmenter):
        return finder.run, finder.on_real_of(organ)
    return (OWN if finder is None else finder.name), math.nan


def _by_own(store: Store, record: CaseRecord) -> dict[str, OrganChange]:
    tensors = store.tensors(record.id, ("label", "answer"))
    if record.synthetic is None or not {"label", "answer"} <= set(tensors):
        return {}
    organs = record.synthetic.organs
    known = {number: organ for number, organ in enumerate(organs, start=1) if organ in record.labels.values()}
    before = in_classes(tensors["label"], record.labels, organs)
    return organ_changes(before, tensors["answer"], known, record.spacing)


def _by(segmenter: Segmenter, store: Store, record: CaseRecord) -> dict[str, OrganChange]:
    organs = segmenter.organs
    known = {number: organ for number, organ in enumerate(organs, start=1) if organ in record.labels.values()}
    if not known:
        return {}
    volume, frame = store.read(record.id), segmenter.scale.frame_of(store, record)
    seen = frame.place(volume)
    assert seen.labels is not None
    before = in_classes(seen.labels, seen.label_names, organs)
    return organ_changes(before, segmenter.find(volume, frame), known, seen.spacing)


def _by_maps(found: FoundLabels, store: Store, record: CaseRecord) -> dict[str, OrganChange]:
    known = {number: organ for number, organ in enumerate(found.organs, 1) if organ in record.labels.values()}
    if not known or record.id not in found.files:
        return {}
    labels, _ = found.read(record)
    before = store.read(record.id).labels
    assert before is not None
    sides = (in_classes(before, record.labels, found.organs), in_classes(labels, found.names, found.organs))
    return organ_changes(*sides, known, record.spacing)


def _summary(rows: Sequence[tuple[str, str, int, OrganChange]], found_by: str, on_real: float) -> OrganSummary:
    by_patient: dict[str, list[float]] = {}
    for _, patient, _, change in rows:
        by_patient.setdefault(patient, []).append(change.dice)
    means = np.array([np.mean(values) for values in by_patient.values()])
    low, high = interval(means)
    worst = min(rows, key=lambda row: row[3].dice)
    changes = [change for *_, change in rows]
    return OrganSummary(
        found_by=found_by,
        on_real=on_real,
        cases=len(rows),
        dice=float(means.mean()),
        low=max(low, 0.0) if math.isfinite(low) else low,
        high=min(high, 1.0) if math.isfinite(high) else high,
        worst=worst[0],
        least=worst[3].dice,
        shift_mm=_median([change.shift_mm for change in changes]),
        rows_mm=_mean([change.rows_mm for change in changes]),
        columns_mm=_mean([change.columns_mm for change in changes]),
        growth=_median([change.growth for change in changes]),
        vanished=sum(change.fate == "vanished" for change in changes),
        appeared=sum(change.fate == "appeared" for change in changes),
        slices_lost=sum(change.slices_lost for change in changes),
        slices_gained=sum(change.slices_gained for change in changes),
        slices=sum(count for _, _, count, _ in rows),
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
