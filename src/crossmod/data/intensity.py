"""Intensities: from HU or MR signal to what a network reads, histograms, and how much of the body a window shows."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from crossmod.config import Modality
from crossmod.data.volume import Volume, Voxels
from crossmod.errors import InputError
from crossmod.settings import ImageSettings

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
        """The value below which `percent` of the voxels are."""
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


def histogram_of(voxels: Voxels) -> Histogram:
    """The histogram of every n-th voxel along each axis, with the extremes of all."""
    step = max(1, math.ceil((voxels.size / MOST_VOXELS) ** (1 / 3)))
    values, counts = np.unique(voxels[::step, ::step, ::step], return_counts=True)
    ends = np.array([voxels.min(), voxels.max()])
    every, at = np.unique(np.concatenate([values, ends]).astype(np.float64), return_inverse=True)
    shares = np.bincount(at[: len(values)], weights=counts, minlength=len(every)) / counts.sum()
    return Histogram(every, shares)


@dataclass(frozen=True)
class Intensity:
    """A straight line that takes `low` to -1 and `high` to 1; what lies outside is cut."""

    low: float
    high: float

    def to_model(self, values: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Units to [-1, 1], float32."""
        scaled = (values.astype(np.float32) - self.low) * (2 / (self.high - self.low)) - 1
        return np.clip(scaled, -1, 1).astype(np.float32)

    def to_units(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """[-1, 1] back to units, float32."""
        return ((values + 1) * ((self.high - self.low) / 2) + self.low).astype(np.float32)


def intensity_of(volume: Volume, settings: ImageSettings) -> Intensity:
    """The step for one volume: CT by the HU window, MR by its own percentiles, which must differ; synthetic MR by what
    the model made of -1 and 1. Its percentiles are those of a part of a scan, or of a network that never makes the
    brightest values: stretched by them, synthetic images came out up to 1.6 times as bright as they were made."""
    if volume.modality == "ct":
        return Intensity(*settings.window)
    if volume.model_range is not None:
        return Intensity(*volume.model_range)
    low, high = (float(value) for value in np.percentile(volume.voxels, settings.percentiles))
    if low >= high:
        found = f"the value {low} at both percentiles {settings.percentiles}"
        raise InputError(
            "MR volume", found=found, expected="contrast", do="Leave the case out, or widen --percentiles."
        )
    return Intensity(low, high)


logger = logging.getLogger(__name__)

# Half way from air to fat lies near -550 HU; noise and clothes reach above that.
CT_BODY_ABOVE = -300.0
# MR: noise is a hundredth of what is bright.
MR_BODY_SHARE = 0.1

# Beyond these is warned: share of the body outside of the window, and least part of the window that holds 90 % of what
# is inside: 8 of 256 grey values.
MOST_OUTSIDE, LEAST_RANGE = 0.5, 8 / 256

NAMED = 3


@dataclass(frozen=True)
class WindowUse:
    """How a patient's body fits a window: shares below and above it, and the part of the window (0 to 1) that 90 % of
    the body takes, with what is outside clipped.
    """

    patient: str
    below: float
    above: float
    range: float

    @property
    def outside(self) -> float:
        """Share of the body outside of the window."""
        return self.below + self.above


def window_use(volume: Volume, intensity: Intensity, patient: str) -> WindowUse:
    """Measure how the body of one volume lies in its window."""
    body = _body(histogram_of(volume.voxels), volume)
    total = float(body.shares.sum())
    below = float(body.shares[body.values < intensity.low].sum()) / total
    above = float(body.shares[body.values > intensity.high].sum()) / total
    low, high = (min(max(body.percentile(percent), intensity.low), intensity.high) for percent in (5, 95))
    return WindowUse(patient, below, above, (high - low) / (intensity.high - intensity.low))


def _body(values: Histogram, volume: Volume) -> Histogram:
    """The values of the body; all values if none is brighter than air."""
    if volume.unit == "HU":
        threshold = max(CT_BODY_ABOVE, float(values.values[0]))
    else:
        dark, bright = values.percentile(1), values.percentile(99.5)
        threshold = dark + MR_BODY_SHARE * (bright - dark)
    body = values.part(threshold)
    inside = Histogram(body.values[body.values > threshold], body.shares[body.values > threshold])
    return inside if len(inside.values) else values


def warn_of_windows(
    subject: object, modality: Modality, uses: Sequence[WindowUse], intensities: Mapping[str, Intensity]
) -> None:
    """Warn where the body of some patients is mostly outside the window, or on a few grey values."""
    outside = sorted((use for use in uses if use.outside > MOST_OUTSIDE), key=lambda use: -use.outside)
    narrow = sorted((use for use in uses if use.range < LEAST_RANGE and use not in outside), key=lambda use: use.range)
    step = next(iter(intensities.values()))
    name = f"the window {step.low:g} to {step.high:g}" if modality == "ct" else "their percentiles"
    if outside:
        below, above = (sum(getattr(use, side) for use in outside) / len(outside) for side in ("below", "above"))
        worst = ", ".join(f"{use.patient} {use.outside:.0%}" for use in outside[:NAMED])
        logger.warning(
            "%s: %d of %d %s cases have most of their body outside of %s (%.0f%% below, %.0f%% above); most: %s. "
            "Check the units, or choose another window.",
            subject, len(outside), len(uses), modality.upper(), name, 100 * below, 100 * above, worst,
        )  # fmt: skip
    if narrow:
        worst = ", ".join(f"{use.patient} {256 * use.range:.1f}" for use in narrow[:NAMED])
        logger.warning(
            "%s: %d of %d %s cases have 90%% of their body on fewer than %.0f of 256 grey values of %s; fewest: %s. "
            "Check for very bright voxels, or choose a narrower window.",
            subject, len(narrow), len(uses), modality.upper(), 256 * LEAST_RANGE, name, worst,
        )  # fmt: skip
