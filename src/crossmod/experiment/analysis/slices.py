"""The slices that an experiment tested, and those that it trained on.

The truth is the same for all runs of a fold that see slices of one size, and is read once for them.

The draws are those of training (`draw_synthetic`, `split_slices`), made over slices without pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.config import with_changes
from crossmod.data.people import who_is_who
from crossmod.data.slices import SliceKey, SliceSet, class_map
from crossmod.data.splits import split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result
from crossmod.metrics.slice_positions import Placed, place_real
from crossmod.segmentation.data import draw_synthetic, passes_consistency
from crossmod.settings import SegmentSettings

PREDICTIONS = "predictions"


@dataclass(frozen=True, eq=False)
class TestedSlices:
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
Truths = Mapping[tuple[int, int], Sequence[TestedSlices]]


def truths(plan: Plan, results: Sequence[Result]) -> tuple[dict[tuple[int, int], list[TestedSlices]], list[Placed]]:
    """All that was tested on, by fold and slice size; and the cases with their layers.

    Layers are those of the real case, whatever part of it was tested.

    Raises:
        InputError: a store of real cases or of predictions is not there any more.
    """
    firsts = {(result.fold, _size(result)): result for result in reversed(results)}
    expected = {case for result in firsts.values() for case in result.card["tested"]}
    placed: dict[str, Placed] = {}
    for path in dict.fromkeys(real_store(plan, result) for result in firsts.values()):
        store = Store(path)
        # A design has one store of the target: no name comes twice.
        placed |= {one.record.id: one for one in place_real(store, [one for one in store.cases if one.id in expected])}
    return {key: _truth(result, placed) for key, result in sorted(firsts.items())}, list(placed.values())


def real_store(plan: Plan, result: Result) -> Path:
    """Where the real cases of a run lie."""
    return Path(plan.jobs[result.run.name].stores["real"][0])


def truth_of(tested: Truths, result: Result) -> Sequence[TestedSlices]:
    """What a run was tested on."""
    return tested[result.fold, _size(result)]


def found_where_nothing_is(result: Result, cases: Iterable[TestedSlices]) -> dict[str, float]:
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


def _truth(result: Result, placed: Mapping[str, Placed]) -> list[TestedSlices]:
    store = Store(result.run / PREDICTIONS)
    rows: Mapping[str, Sequence[int]] = result.card["tested"]
    return [_case(store, record, rows[record.id], placed[record.id]) for record in store.cases]


def _case(store: Store, record: CaseRecord, slices: Sequence[int], placed: Placed) -> TestedSlices:
    truth = store.tensors(record.id, ("label",))["label"]
    _, row_mm, column_mm = record.spacing
    numbers = np.array(slices, dtype=np.int64)
    return TestedSlices(
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


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of a store by where they lie, without their pixels.

    Args:
        store: where they lie.
        records: their cases.
        thin: the slices, in the order of training; of pixels there is but one.
    """

    store: Store
    records: dict[str, CaseRecord]
    thin: SliceSet

    def where(self, indexes: list[int]) -> dict[str, list[int]]:
        """By case, the rising rows of some slices."""
        found: dict[str, list[int]] = {}
        for index in sorted(indexes):
            key = self.thin.keys[index]
            found.setdefault(key.case, []).append(key.slice)
        return found


class SyntheticSlices(Slices):
    """Slices of a synthetic store."""

    @cached_property
    def consistency(self) -> Float[np.ndarray, " slices"]:
        """Label consistency of each; nan where it has none."""
        return np.array([np.nan if score is None else score for score in self._scores], dtype=np.float64)

    @cached_property
    def _scores(self) -> list[float | None]:
        return [one.consistency for case in self.records.values() if case.synthetic for one in case.synthetic.slices]

    @cached_property
    def shifts(self) -> Float[np.ndarray, "slices 2"]:
        """Rows and columns by which each lies away from its source, in pixels: that of its case."""
        rows = [case.synthetic.shift for case in self.records.values() if case.synthetic for _ in range(case.shape[0])]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def drawn(self, settings: SegmentSettings, count: int | None = None) -> list[int]:
        """The slices that a run with these settings is trained on, as `segment` draws them.

        Args:
            settings: of the run.
            count: draw so many in place of the run's own number; fewer are always among more.
        """
        good = passes_consistency(self._scores, settings.min_consistency)
        return draw_synthetic(self.thin, good, settings.count if count is None else count, settings.seed)


class RealSlices(Slices):
    """Slices of all labelled cases of a real store."""

    def training_side(self, settings: SegmentSettings) -> list[int]:
        """The slices of a fold's training side that show the organ, whichever labels a run may use."""
        everyone = with_changes(settings, train_patients=())
        patients = [case.patient for case in self.store.select(settings.modality, sequence=_sequence(settings))]
        train, _ = split_slices(self.thin, everyone, patients)
        return [index for index in train if self.thin.shows[index]]


def synthetic_slices(path: Path, settings: SegmentSettings) -> SyntheticSlices:
    """The slices of a synthetic store that a run with these settings draws from.

    Raises:
        InputError: the store is not there any more.
    """
    store = Store(path)
    records = store.select_synthetic(settings.modality, settings.organs[0])
    count = sum(record.shape[0] for record in records)
    return SyntheticSlices(store, {one.id: one for one in records}, _thin(records, np.ones(count, dtype=bool)))


def real_slices(path: Path, settings: SegmentSettings) -> RealSlices:
    """The labelled slices of a real store; its labels are read, its images are not used.

    Raises:
        InputError: the store is not there any more.
    """
    # Named as in training, so that folds are the same.
    (store,) = who_is_who([Store(path)], same_people=settings.same_people, ask=settings.split == "patient").stores
    records = store.select(settings.modality, sequence=_sequence(settings), organ=settings.organs[0])
    shows = [class_map(store.read(one.id), settings.organs, one.id).any(axis=(1, 2)) for one in records]
    return RealSlices(store, {one.id: one for one in records}, _thin(records, np.concatenate(shows)))


def _thin(records: tuple[CaseRecord, ...], shows: Bool[np.ndarray, " slices"]) -> SliceSet:
    keys = tuple(SliceKey(one.id, one.patient, row) for one in records for row in range(one.shape[0]))
    nothing = np.zeros((len(keys), 1, 1), np.int16)
    return SliceSet(nothing, None, shows, np.ones(len(keys), dtype=bool), keys, {})


def _sequence(settings: SegmentSettings) -> str | None:
    return settings.sequence if settings.modality == "mr" else None
