"""How much of the body a window shows: a warning where most of it is cut off, or falls on a few grey values."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossmod.config import Modality
from crossmod.data.histogram import Histogram, histogram_of
from crossmod.data.intensity import Intensity
from crossmod.data.volume import Volume

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
    """How a volume's body lies in a window.

    Args:
        patient: whose volume it is.
        below: share of the body below the window.
        above: share above.
        range: part of the window, 0 to 1, that 90 % of the body takes, what lies outside put at the ends.
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
    """The values of the body; all of them where none is told from air."""
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
    """Log a warning where the body of some patients lies mostly outside of the window, or on a few grey values.

    Args:
        subject: the store.
        modality: of the cases.
        uses: of each case.
        intensities: the window of each case.
    """
    outside = sorted((use for use in uses if use.outside > MOST_OUTSIDE), key=lambda use: -use.outside)
    narrow = sorted((use for use in uses if use.range < LEAST_RANGE and use not in outside), key=lambda use: use.range)
    name = _window(modality, intensities)
    if outside:
        below, above = (_mean([getattr(use, side) for use in outside]) for side in ("below", "above"))
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


def _window(modality: Modality, intensities: Mapping[str, Intensity]) -> str:
    if modality == "mr":
        return "their percentiles"
    step = next(iter(intensities.values()))
    return f"the window {step.low:g} to {step.high:g}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
