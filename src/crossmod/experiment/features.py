"""Features of single slices, each slice read and looked at once, for Fréchet distances between draws of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.pixel_size import Scale, model_scale
from crossmod.data.store import Store
from crossmod.data.volume import take_slices
from crossmod.experiment.drawn import Slices
from crossmod.metrics.features import detector, frechet_distance
from crossmod.settings import SegmentSettings

DETECTOR = "random"


class Features:
    """Features of slices as a segmenter sees them, kept by store, case, slice and scale."""

    def __init__(self) -> None:
        self._detector = detector(DETECTOR)
        self._found: dict[tuple[Path, str, int, Scale], np.ndarray] = {}
        self._steps: dict[tuple[Path, str], Intensity] = {}
        self._distances: dict[tuple[object, ...], float] = {}

    def distance(
        self, first: Slices, chosen: list[int], second: Slices, against: list[int], settings: SegmentSettings
    ) -> float:
        """Fréchet distance between some slices of two stores; runs that drew the same slices share one.

        Args:
            first: of one store.
            chosen: which of them.
            second: of the other store.
            against: which of them.
            settings: scale and intensity.
        """
        key = (first.store.path, tuple(chosen), second.store.path, tuple(against), model_scale(settings))
        if key not in self._distances:
            sides = self.of(first, chosen, settings), self.of(second, against, settings)
            self._distances[key] = frechet_distance(*sides)
        return self._distances[key]

    def of(self, slices: Slices, indexes: list[int], settings: SegmentSettings) -> Float[np.ndarray, "n features"]:
        """One row a slice."""
        rows = []
        for case, numbers in slices.where(indexes).items():
            keys = [(slices.store.path, case, number, model_scale(settings)) for number in numbers]
            new = [number for number, key in zip(numbers, keys, strict=True) if key not in self._found]
            if new:
                made = self._detector.features(self._images(slices.store, case, new, settings))
                for number, row in zip(new, made, strict=True):
                    self._found[slices.store.path, case, number, model_scale(settings)] = row
            rows += [self._found[key] for key in keys]
        return np.stack(rows)

    def _images(
        self, store: Store, case: str, numbers: Sequence[int], settings: SegmentSettings
    ) -> Float[np.ndarray, "n size size"]:
        """Some slices of a case in [-1, 1], as `load_slices` brings them before a segmenter."""
        volume = store.read(case).with_labels(None, {})
        key = store.path, case
        if key not in self._steps:
            self._steps[key] = intensity_of(volume, settings)
        frame = model_scale(settings).frame_of(store, store.record(case))
        # What fills is the lowest value of the whole volume.
        few = frame.place(take_slices(volume, numbers), float(volume.voxels.min()))
        return self._steps[key].to_model(few.voxels)
