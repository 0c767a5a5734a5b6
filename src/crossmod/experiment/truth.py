"""What was tested on: of each slice its layer and the organ's area; and what each run found where nothing is.

The truth is the same for all runs of a fold that see slices of one size, and is read once for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from crossmod.data.store import CaseRecord, Store
from crossmod.experiment.collect import Result
from crossmod.experiment.plan import Plan
from crossmod.metrics.slice_positions import Placed, place_real

PREDICTIONS = "predictions"


@dataclass(frozen=True, eq=False)
class Truth:
    """The tested slices of one case.

    Args:
        id: its name.
        patient: whose it is.
        slices: number of each in the case.
        layers: axial layer of each, 0 outside of all.
        areas: of the organ in each, cm^2; 0 where it is not.
        pixel_ml: volume of one pixel.
    """

    id: str
    patient: str
    slices: Int[np.ndarray, " slices"]
    layers: Int[np.ndarray, " slices"]
    areas: Float[np.ndarray, " slices"]
    pixel_ml: float

    @property
    def empty(self) -> list[int]:
        """Rows of the slices without the organ."""
        return [int(row) for row in np.flatnonzero(self.areas == 0)]


# By fold and slice size.
Truths = Mapping[tuple[int, int], Sequence[Truth]]


def truths(plan: Plan, results: Sequence[Result]) -> tuple[dict[tuple[int, int], list[Truth]], list[Placed]]:
    """All that was tested on, by fold and slice size; and the cases with their layers.

    Layers are those of the real case, whatever part of it was tested.

    Raises:
        InputError: a store of real cases or of predictions is not there any more.
    """
    firsts = {(result.fold, _size(result)): result for result in reversed(results)}
    wanted = {case for result in firsts.values() for case in result.card["tested"]}
    placed: dict[str, Placed] = {}
    for path in dict.fromkeys(real_store(plan, result) for result in firsts.values()):
        store = Store(path)
        # A design has one store of the target: no name comes twice.
        placed |= {one.record.id: one for one in place_real(store, [one for one in store.cases if one.id in wanted])}
    return {key: _truth(result, placed) for key, result in sorted(firsts.items())}, list(placed.values())


def real_store(plan: Plan, result: Result) -> Path:
    """Where the real cases of a run lie."""
    return Path(plan.jobs[result.run.name].stores["real"][0])


def truth_of(tested: Truths, result: Result) -> Sequence[Truth]:
    """What a run was tested on."""
    return tested[result.fold, _size(result)]


def found_where_nothing_is(result: Result, cases: Iterable[Truth]) -> dict[str, float]:
    """By patient, ml that a run calls organ in tested slices without any; nan without such slices.

    Args:
        result: of a run whose predictions are there.
        cases: what it was tested on.
    """
    store = Store(result.run / PREDICTIONS)
    found: dict[str, list[float]] = {}
    for case in cases:
        own = found.setdefault(case.patient, [])
        if case.empty:
            answer = store.tensors(case.id, ("answer",))["answer"]
            own.append(float(np.count_nonzero(answer[case.empty])) * case.pixel_ml)
    return {patient: float(np.sum(values)) if values else float("nan") for patient, values in found.items()}


def _truth(result: Result, placed: Mapping[str, Placed]) -> list[Truth]:
    store = Store(result.run / PREDICTIONS)
    rows: Mapping[str, Sequence[int]] = result.card["tested"]
    return [_case(store, record, rows[record.id], placed[record.id]) for record in store.cases]


def _case(store: Store, record: CaseRecord, slices: Sequence[int], placed: Placed) -> Truth:
    truth = store.tensors(record.id, ("label",))["label"]
    _, row_mm, column_mm = record.spacing
    numbers = np.array(slices, dtype=np.int64)
    return Truth(
        id=record.id,
        patient=record.patient,
        slices=numbers,
        layers=placed.layers[numbers],
        areas=np.count_nonzero(truth, axis=(1, 2)) * (row_mm * column_mm / 100),
        # Tested slices may lie apart: the thickness is that of the scan.
        pixel_ml=row_mm * column_mm * placed.record.spacing[0] / 1000,
    )


def _size(result: Result) -> int:
    return int(result.card["settings"]["size"])
