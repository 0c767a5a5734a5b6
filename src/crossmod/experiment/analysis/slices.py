"""The slices that an experiment was tested on, and those that it was trained on.

The truth of all runs of a fold with slices of one size is the same, and is read once.

The draws are those of training (`draw_synthetic`, `split_slices`), over slices without pixels.
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
from crossmod.data.store import CaseRecord, SliceOrigin, Store
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result
from crossmod.metrics.axial_layers import Placed, place_real
from crossmod.segmentation.cases import labelled_cases, synthetic_cases
from crossmod.segmentation.data import draw_synthetic, passes_consistency
from crossmod.settings import SegmentSettings

PREDICTIONS = "predictions"


@dataclass(frozen=True, eq=False)
class TestedSlices:
    """The tested slices of one case."""

    id: str
    patient: str
    slices: Int[np.ndarray, " slices"]  # number of each slice in the case
    layers: Int[np.ndarray, " slices"]  # axial layer of each; 0 outside of all
    areas: Float[np.ndarray, " slices"]  # of the organs in each, all together, cm^2; 0 without any
    pixel_ml: float  # volume of one pixel, ml

    @property
    def empty(self) -> list[int]:
        """Rows of the slices without any of the organs."""
        return [int(row) for row in np.flatnonzero(self.areas == 0)]


# By fold and slice size.
TestedByFold = Mapping[tuple[int, int], Sequence[TestedSlices]]


def slices_by_fold(
    plan: Plan, results: Sequence[Result]
) -> tuple[dict[tuple[int, int], list[TestedSlices]], list[Placed]]:
    """All tested slices by fold and slice size, and the cases, with the layers of the whole real case."""
    firsts = {(result.fold, _size(result)): result for result in reversed(results)}
    tested = {case for result in firsts.values() for case in result.card["tested"]}
    placed: dict[str, Placed] = {}
    for path in dict.fromkeys(real_store(plan, result) for result in firsts.values()):
        store = Store(path)
        # A design has one store of the target, so that names are unique.
        cases = place_real(store, [record for record in store.cases if record.id in tested])
        placed |= {case.record.id: case for case in cases}
    by_fold: dict[tuple[int, int], list[TestedSlices]] = {}
    for key, result in sorted(firsts.items()):
        store, rows = Store(result.run / PREDICTIONS), result.card["tested"]
        by_fold[key] = [_case(store, record, rows[record.id], placed[record.id]) for record in store.cases]
    return by_fold, list(placed.values())


def real_store(plan: Plan, result: Result) -> Path:
    """The store of the real cases of a run."""
    return Path(plan.jobs[result.run.name].stores["real"][0])


def slices_of(tested: TestedByFold, result: Result) -> Sequence[TestedSlices]:
    """The slices that a run was tested on."""
    return tested[result.fold, _size(result)]


def false_positive_ml(result: Result, cases: Iterable[TestedSlices]) -> dict[str, float]:
    """By patient, the ml that a run labels as organ in tested slices without any; NaN without such slices."""
    store = Store(result.run / PREDICTIONS)
    found: dict[str, list[float]] = {}
    for case in cases:
        own = found.setdefault(case.patient, [])
        if case.empty:
            answer = store.tensors(case.id, ("answer",))["answer"]
            own.append(float(np.count_nonzero(answer[case.empty])) * case.pixel_ml)
    return {patient: float(np.sum(values)) if values else float("nan") for patient, values in found.items()}


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
        # There may be gaps between tested slices: the thickness is that of the scan.
        pixel_ml=row_mm * column_mm * placed.record.spacing[0] / 1000,
    )


def _size(result: Result) -> int:
    return int(result.card["settings"]["size"])


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of a store without their pixels."""

    store: Store
    records: dict[str, CaseRecord]
    thin: SliceSet  # the slices, in the order of training, each with a single pixel

    def by_case(self, indexes: list[int]) -> dict[str, list[int]]:
        """By case, the numbers of some slices in rising order."""
        numbers: dict[str, list[int]] = {}
        for index in sorted(indexes):
            key = self.thin.keys[index]
            numbers.setdefault(key.case, []).append(key.slice)
        return numbers


class SyntheticSlices(Slices):
    """Slices of a synthetic store."""

    @cached_property
    def consistency(self) -> Float[np.ndarray, " slices"]:
        """Label consistency of each; NaN if it has none."""
        scores = [one.consistency for one in self._origins]
        return np.array([np.nan if score is None else score for score in scores], dtype=np.float64)

    @cached_property
    def judged(self) -> Float[np.ndarray, " slices"]:
        """Dice of each by the translator's judge; NaN if it has none."""
        return np.array([np.nan if one.judged is None else one.judged for one in self._origins], dtype=np.float64)

    @cached_property
    def _origins(self) -> list[SliceOrigin]:
        return [origin for case in self.records.values() if case.synthetic for origin in case.synthetic.slices]

    @cached_property
    def shifts(self) -> Float[np.ndarray, "slices 2"]:
        """Shift of each from its source in rows and columns, pixels: that of its case."""
        rows = [case.synthetic.shift for case in self.records.values() if case.synthetic for _ in range(case.shape[0])]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def drawn(self, settings: SegmentSettings, count: int | None = None) -> list[int]:
        """The training slices of a run, as `segment` draws them; a smaller draw is always part of a larger one."""
        good = passes_consistency([one.fits for one in self._origins], settings.min_consistency)
        return draw_synthetic(self.thin, good, settings.count if count is None else count, settings.seed)


class RealSlices(Slices):
    """Slices of all labelled cases of a real store."""

    def training_side(self, settings: SegmentSettings) -> list[int]:
        """The training slices of a fold that show the organ, whatever labels a run may use."""
        everyone = with_changes(settings, train_patients=())
        patients = [case.patient for case in self.store.select(settings.modality, sequence=_sequence(settings))]
        train, _ = split_slices(self.thin, everyone, patients)
        return [index for index in train if self.thin.shows[index]]


def synthetic_slices(path: Path, settings: SegmentSettings) -> SyntheticSlices:
    """The slices of a synthetic store that a run with these settings draws from."""
    store = Store(path)
    records = synthetic_cases(store, settings.modality, settings.organs)
    count = sum(record.shape[0] for record in records)
    return SyntheticSlices(store, {case.id: case for case in records}, _thin(records, np.ones(count, dtype=bool)))


def real_slices(path: Path, settings: SegmentSettings) -> RealSlices:
    """The labelled slices of a real store, from its labels."""
    # Patients have the same names as in training, so that folds are the same.
    (store,) = who_is_who([Store(path)], same_people=settings.same_people, ask=settings.split == "patient").stores
    records = labelled_cases(store, settings)
    shows = [class_map(store.read(case.id), settings.organs, case.id).any(axis=(1, 2)) for case in records]
    return RealSlices(store, {case.id: case for case in records}, _thin(records, np.concatenate(shows)))


def _thin(records: tuple[CaseRecord, ...], shows: Bool[np.ndarray, " slices"]) -> SliceSet:
    keys = tuple(SliceKey(case.id, case.patient, row) for case in records for row in range(case.shape[0]))
    nothing = np.zeros((len(keys), 1, 1), np.int16)
    return SliceSet(nothing, None, shows, np.ones(len(keys), dtype=bool), keys, {})


def _sequence(settings: SegmentSettings) -> str | None:
    return settings.sequence if settings.modality == "mr" else None
