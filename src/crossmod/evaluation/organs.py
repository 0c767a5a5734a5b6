"""How a model changed organs: labels of the source compared with a segmentation of the synthetic image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.data.slices import in_classes
from crossmod.data.store import CaseRecord, Store
from crossmod.metrics.axial_layers import Placed
from crossmod.metrics.organs import OrganChange, organ_changes
from crossmod.progress import track
from crossmod.segmentation.predict import Segmenter
from crossmod.statistics.intervals import interval

OWN = "S"


@dataclass(frozen=True)
class OrganSummary:
    """One organ over all cases of a model."""

    found_by: str  # what segmented the synthetic images: the model's own segmentor, S, or the run of a segmenter
    on_real: float  # 3D Dice of that segmenter, of this organ, on its real test images; NaN for S
    cases: int
    dice: float  # mean over patients, of the whole volume
    low: float  # lower end of its 95 % interval over patients; -inf with one patient
    high: float
    worst: str  # name of the case with the lowest Dice
    least: float  # that Dice
    shift_mm: float  # median shift of the centre of mass; NaN if no case has both sides
    growth: float  # median size after divided by size before; NaN if no case had any
    vanished: int  # cases in which it vanished
    appeared: int  # cases in which it appeared
    slices_lost: int  # slices that showed it only before
    slices_gained: int  # slices that show it only after
    slices: int


def organs_of(store: Store, cases: Sequence[Placed], segmenter: Segmenter | None = None) -> dict[str, OrganSummary]:
    """How each organ that labels and segmentation have in common changed: organ -> summary; by a segmenter of several
    organs each of them, as far as a case has labels of it."""
    rows: dict[str, list[tuple[str, str, int, OrganChange]]] = {}
    for placed in track(cases, f"Comparing organs of {store.path.name}"):
        record = placed.record
        changes = _by_own(store, record) if segmenter is None else _by(segmenter, store, record)
        for organ, change in changes.items():
            rows.setdefault(organ, []).append((record.id, record.patient, record.shape[0], change))
    if segmenter is None:
        return {organ: _summary(own, OWN, math.nan) for organ, own in rows.items()}
    return {organ: _summary(own, segmenter.run, segmenter.on_real_of(organ)) for organ, own in rows.items()}


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
