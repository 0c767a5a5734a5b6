"""What a model did to organs: labels of the source against what a segmentor finds in the synthetic image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.data.store import Store
from crossmod.evaluate.anatomy import OrganChange, organ_changes
from crossmod.evaluate.statistics import interval
from crossmod.judge.answered import answered, in_classes
from crossmod.judge.placing import Placed
from crossmod.progress import track


@dataclass(frozen=True)
class OrganSummary:
    """One organ over all cases of a model.

    Args:
        cases: how many.
        dice: mean over patients, of the whole volume.
        low: lower end of its 95 % interval over patients; -inf with one patient.
        high: upper end.
        worst: name of the case with the least Dice.
        least: that Dice.
        shift_mm: median way of the centre of mass; nan where no case has both sides.
        growth: median size after by size before; nan where no case had any.
        vanished: cases in which it vanished.
        appeared: cases in which it appeared.
        slices_lost: slices that showed it before only.
        slices_gained: slices that show it after only.
        slices: how many slices were looked at.
    """

    cases: int
    dice: float
    low: float
    high: float
    worst: str
    least: float
    shift_mm: float
    growth: float
    vanished: int
    appeared: int
    slices_lost: int
    slices_gained: int
    slices: int


def organs_of(store: Store, cases: Sequence[Placed]) -> dict[str, OrganSummary]:
    """What became of each organ: organ -> summary; nothing where no case has both labels and an answer.

    Args:
        store: the synthetic store.
        cases: its cases. Slices that were left out between others are taken for neighbours.
    """
    organs = answered(store, [placed.record for placed in cases])
    if not organs:
        return {}
    found: dict[str, list[tuple[str, str, int, OrganChange]]] = {}
    for placed in track(cases, f"Looking at organs of {store.path.name}"):
        record = placed.record
        tensors = store.tensors(record.id, ("label", "answer"))
        if {"label", "answer"} <= set(tensors):
            before = in_classes(tensors["label"], record.labels, organs)
            changes = organ_changes(before, tensors["answer"], organs, record.spacing)
            for organ, change in changes.items():
                found.setdefault(organ, []).append((record.id, record.patient, record.shape[0], change))
    return {organ: _summary(rows) for organ, rows in found.items()}


def _summary(rows: Sequence[tuple[str, str, int, OrganChange]]) -> OrganSummary:
    by_patient: dict[str, list[float]] = {}
    for _, patient, _, change in rows:
        by_patient.setdefault(patient, []).append(change.dice)
    means = np.array([np.mean(values) for values in by_patient.values()])
    low, high = interval(means)
    worst = min(rows, key=lambda row: row[3].dice)
    changes = [change for *_, change in rows]
    return OrganSummary(
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
