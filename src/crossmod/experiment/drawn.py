"""Which synthetic slices a run was trained on, and which real ones stood beside them, by manifests and labels alone.

The draws are those of training (`draw_synthetic`, `split_slices`), made over slices without pixels.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from crossmod.config import with_changes
from crossmod.data.people import who_is_who
from crossmod.data.slices import SliceKey, SliceSet, class_map
from crossmod.data.splits import split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.segmentation.data import draw_synthetic, good_enough
from crossmod.settings import SegmentSettings


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
        good = good_enough(self._scores, settings.min_consistency)
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
