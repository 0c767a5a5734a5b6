"""Which values a volume holds, and how often: of at most half a million voxels, so that it costs milliseconds."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

MOST_VOXELS = 500_000


@dataclass(frozen=True, eq=False)
class Histogram:
    """The different values of a volume, rising, and the share of the voxels that holds each."""

    values: Float[np.ndarray, " values"]
    shares: Float[np.ndarray, " values"]

    def share(self, low: float | int, high: float | int) -> float:
        """Share of the voxels from `low` to `high`, both included."""
        begin, end = np.searchsorted(self.values, low, "left"), np.searchsorted(self.values, high, "right")
        return float(self.shares[begin:end].sum())

    def percentile(self, percent: float | int) -> float:
        """The value below which so many of the voxels lie."""
        at = np.searchsorted(np.cumsum(self.shares), percent / 100 * float(self.shares.sum()))
        return float(self.values[min(int(at), len(self.values) - 1)])

    def part(self, low: float | int, high: float | int = math.inf) -> "Histogram":
        """Only the values from `low` to `high`; shares stay those of the whole."""
        inside = (self.values >= low) & (self.values <= high)
        return Histogram(self.values[inside], self.shares[inside])

    def mapped(self, scale: float | int, offset: float | int) -> "Histogram":
        """The histogram of `scale * values + offset`; `scale` is not 0."""
        order = slice(None, None, -1) if scale < 0 else slice(None)
        return Histogram((scale * self.values + offset)[order], self.shares[order])

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return bool((self.values == np.rint(self.values)).all())


def histogram_of(voxels: Shaped[np.ndarray, "slices rows columns"]) -> Histogram:
    """The histogram of every n-th voxel along each axis, with the extremes of all."""
    step = max(1, math.ceil((voxels.size / MOST_VOXELS) ** (1 / 3)))
    values, counts = np.unique(voxels[::step, ::step, ::step], return_counts=True)
    ends = np.array([voxels.min(), voxels.max()])
    every, at = np.unique(np.concatenate([values, ends]).astype(np.float64), return_inverse=True)
    shares = np.bincount(at[: len(values)], weights=counts, minlength=len(every)) / counts.sum()
    return Histogram(every, shares)
