"""The rules: what values of CT cannot be HU, what values of MR cannot be signal, and what only looks odd.

- HU have two anchors in a scan of a body: air at -1000, and soft tissue near 0 (water) with fat at about -100. Fields
  inside the body, and volumes whose low values were clipped, lack the first anchor, not the second.
- What cannot be HU is refused; a warning is given if a real scan could look like this too. Both were tested on real
  scans and on corrupted copies of them: see `docs/how-to/make-a-store.md`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from crossmod.config import Modality
from crossmod.data.intensity import Histogram

# No scanner writes such HU, extended scales of metal included.
MOST_HU = 1e5
# What scanners write around a round field lies below this: -2000, -3024, -32768; noise in air does not.
PADDING_BELOW, LEAST_PADDING = -1200.0, 0.001
# More than these is no noise of air but another scale: below -1200, and far below.
MOST_BELOW_AIR, FAR_BELOW, MOST_FAR_BELOW = 0.2, -2500.0, 0.01
# Air, with its noise; lung is denser.
AIR = (-1100.0, -850.0)
LEAST_AIR = 0.005
# The scale of 12 bits ends at 3071 HU; extended ones hold metal, which is little of a volume.
METAL_ABOVE, MOST_METAL = 3100.0, 0.05
# Fat, lung, gas and air lie below; every field in a body shows some of them.
BELOW_WATER, LEAST_BELOW_WATER = -60.0, 0.001
# MR keeps air near 0 and nothing far below it: HU with that many values near 0 and above 100 show fat or air too.
NEAR_ZERO, LEAST_NEAR_ZERO, LEAST_BELOW_MR = 30.0, 0.2, 0.02
# From the 1st to the 99th percentile; fat and muscle alone are 150 HU apart.
LEAST_SPAN = 60.0
# Cortical bone and trabecular bone: the first never exceeds the second by this factor.
DENSE, LESS_DENSE, DENSE_RATIO, MOST_DENSE = (600.0, 3100.0), (150.0, 600.0), 3.0, 0.05
# The middle of what is no air, lung or gas: from the body of an obese patient to a joint of bone and contrast agent.
NO_AIR_ABOVE, MIDDLE, LEAST_TISSUE = -500.0, (-200.0, 350.0), 0.002
# Fat to organs with contrast agent: most of what is neither air nor lung; what is above never exceeds it by this
# factor.
SOFT, CLEARLY_SOFT, MOST_ABOVE = (-250.0, 350.0), 0.7, 2.0
# Tissue is never one value, as background is (10th to 90th percentile), and some of it is denser than water.
LEAST_SPREAD, ABOVE_WATER, LEAST_ABOVE_WATER = 20.0, 30.0, 0.05
# Of what is neither air nor lung, some is no fat.
FAT_BELOW, LEAST_ABOVE_FAT = -50.0, 0.02
# Shares of voxels with the lowest (highest) value which show that lower (higher) ones were clipped; scanners cut at
# 3071.
CUT_LOW, CUT_HIGH, CUT_HIGH_ALONE, FULL_SCALE = 0.01, 0.002, 0.02, 2900.0
# A body cannot touch the upper end this often, unless dark and bright are swapped.
MOST_CUT_HIGH = 0.25
# The peak of air around a body is narrow, that of lung is broad.
NARROW, PEAK_SHARE, AIR_OFF = 25.0, 0.10, 60.0
# What writers add to HU so that no value is negative.
OFFSETS = (1024, 1000, 2048, 8192, 32768, 3024)
# And after dark and bright were swapped.
SWAPPED = (0, -1024, -1000, 1024, 1000)
# One value is a spike if it has this many times the voxels of the next; air peaks this far from it.
SPIKE, FILL_APART = 5.0, 15.0
# By which HU are divided in other units, or by mistake.
DIVIDED_BY, CUT_TO_A_POINT = (10, 5, 4, 2), 0.6
# Label maps; more values than these a piecewise constant phantom may have.
MASK_VALUES, FEW_VALUES, BYTE = 16, 64, 255.0
# MR: magnitudes are not negative; interpolation undershoots by less than this share of the brightest.
UNDERSHOOT, MOST_NEGATIVE, CT_LOW = 0.25, 0.2, -300.0
UNSPECIFIED, RESCALE_TYPE = "US (unspecified)", "in RescaleType (0028,1054)"


@dataclass(frozen=True)
class Finding:
    """An oddity of the values, what to do about it (a whole sentence), and whether to refuse the values or to warn."""

    found: str
    do: str
    refuse: bool = True


def findings(histogram: Histogram, modality: Modality, stated: str | None = None) -> tuple[Finding, ...]:
    """What is odd about values that should be HU (CT) or signal (MR); refusals come first.

    `stated` is the unit that a CT header names; None if it names none.
    """
    found = [*_mask(histogram), *(_ct(histogram, stated) if modality == "ct" else _mr(histogram))]
    return tuple(sorted(found, key=lambda one: not one.refuse))


def _mask(histogram: Histogram) -> Iterator[Finding]:
    values = histogram.values
    few = len(values) <= MASK_VALUES and histogram.whole and values[0] >= 0 and values[-1] <= BYTE
    if few:
        listed = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
        yield Finding(f"only the values {listed}, as a label map has them", "Give the image, not its labels.")
    elif len(values) <= FEW_VALUES:
        do = "Check that it is an image of a scanner."
        yield Finding(f"only {len(values)} different values", do, refuse=False)


def _ct(every: Histogram, stated: str | None) -> Iterator[Finding]:
    lowest, highest = float(every.values[0]), float(every.values[-1])
    if max(-lowest, highest) > MOST_HU:
        do = "Check the rescaling, or correct the voxels."
        yield Finding(f"values from {lowest:g} to {highest:g}", do)
        return
    inside = every.part(PADDING_BELOW)
    yield from _padding(every)
    if not len(inside.values):
        return
    faults = tuple(_not_hu(inside))
    if stated not in (None, "HU"):
        yield _of_header(stated, sure=not faults and _clearly_hu(inside))
    if faults:
        yield Finding(faults[0], _advice(inside))
    else:
        factor = _divided_by(inside)
        if factor is None:
            yield from _cut(inside)
        else:
            found = f"values that look like HU divided by {factor}, with air near {-1000 / factor:g}"
            yield Finding(found, f"Multiply by {factor}.", refuse=False)
        yield from _misplaced(inside)


def _padding(every: Histogram) -> Iterator[Finding]:
    below = every.part(-math.inf, math.nextafter(PADDING_BELOW, -math.inf))
    share = float(below.shares.sum())
    if not len(below.values):
        return
    fill = float(below.shares.max())
    far = below.share(-math.inf, FAR_BELOW)
    if share - fill > MOST_BELOW_AIR or (far - fill > MOST_FAR_BELOW):
        low, high = below.values[0], below.values[-1]
        do = "Check the rescaling: HU end at -1024, and padding is one value."
        yield Finding(f"{share:.0%} of the voxels from {low:g} to {high:g}, below any HU", do)
    elif fill > LEAST_PADDING:
        found = f"{share:.1%} of the voxels at {below.values[np.argmax(below.shares)]:g}, below air: padding"
        yield Finding(found, "Set them to -1024.", refuse=False)


def _not_hu(values: Histogram) -> Iterator[str]:
    """Why values cannot be HU, the plainest reason first; padding is left out."""
    lowest, highest = float(values.values[0]), float(values.values[-1])
    if lowest >= 0:
        yield f"values from {lowest:g} to {highest:g}, none below 0, which is water"
    metal = values.share(METAL_ABOVE, math.inf)
    if metal > MOST_METAL:
        yield f"{metal:.0%} of the voxels above {METAL_ABOVE:g}, where HU have metal alone"
    # Whether there is air, and enough that is as dense as tissue: a body may take a hundredth of a large field.
    anchored = values.share(*AIR) >= LEAST_AIR and values.share(NO_AIR_ABOVE, math.inf) >= LEAST_TISSUE
    parts = (values, values.part(NO_AIR_ABOVE)) if anchored else (values,)
    span = max(part.percentile(99) - part.percentile(1) for part in parts)
    if highest - lowest < 100 or span < LEAST_SPAN:
        yield f"values from {lowest:g} to {highest:g}, 98 % within {span:.3g}: fat and muscle are 150 HU apart"
    below = values.share(-math.inf, BELOW_WATER)
    like_mr = values.share(-NEAR_ZERO, NEAR_ZERO) > LEAST_NEAR_ZERO and values.share(100, math.inf) > LEAST_NEAR_ZERO
    if below < LEAST_BELOW_WATER or (below < LEAST_BELOW_MR and like_mr):
        yield f"values from {lowest:g} to {highest:g}, {below:.2%} of them below {BELOW_WATER:g}, as fat and air are"
    tissue, soft, above = (values.share(*ends) for ends in ((NO_AIR_ABOVE, math.inf), SOFT, (SOFT[1], math.inf)))
    if tissue < LEAST_TISSUE:
        yield f"values from {lowest:g} to {highest:g}, nothing as dense as tissue"
    if not _clearly_hu(values) and any(_swapped(values, offset) for offset in (-1024, -1000)):
        found = f"values from {lowest:g} to {highest:g}, with air near -24 or 0 and tissue near -1000"
        yield f"{found}: dark and bright swapped"
    dense, less = values.share(*DENSE), values.share(*LESS_DENSE)
    many = dense > MOST_DENSE * tissue and dense > DENSE_RATIO * less and not _clearly_hu(values)
    if many or above > MOST_ABOVE * soft:
        yield f"{above:.0%} of the voxels above {SOFT[1]:g}, as bone is, and {soft:.0%} from {SOFT[0]:g} to there"
    top = values.share(highest, highest)
    if top > max(MOST_CUT_HIGH, values.share(lowest, lowest)) and values.share(*AIR) < LEAST_AIR:
        yield f"{top:.0%} of the voxels at the highest value, {highest:g}: dark and bright swapped"


def _swapped(values: Histogram, offset: int) -> bool:
    """Whether they are HU after the sign is swapped: then most voxels around one value are air, and not tissue."""
    peak, share = _narrow_peak(values)
    return share >= PEAK_SHARE and abs(offset - peak + 1000) <= AIR_OFF and _clearly_hu(values.mapped(-1, offset))


def _advice(values: Histogram) -> str:
    """What probably happened to HU, by trying what would bring them back."""
    lowest, highest = float(values.values[0]), float(values.values[-1])
    added = _fitting(values, 1, (-offset for offset in OFFSETS))
    if added is not None:
        offset, sure = added
        if not sure and offset in (-1000, -1024) and lowest in (0, -1):
            # Air was cut off at 0, or filled with it: it lay anywhere below.
            return "They look like HU with 1000 or 1024 added: subtract the one that brings fat to -100 and water to 0."
        return f"They look like HU with {-offset} added: subtract {-offset}."
    swapped = _fitting(values, -1, SWAPPED)
    if swapped is not None:
        offset = swapped[0]
        more = f", then {'add' if offset > 0 else 'subtract'} {abs(offset)}" if offset else ""
        return f"They look like HU with the sign swapped: multiply by -1{more}."
    wrapped = np.where(values.values > 32767, values.values - 65536, values.values)
    order = np.argsort(wrapped)
    if highest > 32767 and _clearly_hu(Histogram(wrapped[order], values.shares[order])):
        return "They look like signed numbers read as unsigned: subtract 65536 from those above 32767."
    if lowest >= 0 and highest <= BYTE and values.whole:
        return "They look like an 8-bit picture, which has lost its HU: export the scan from DICOM again."
    if max(-lowest, highest) <= 10:
        return "They look scaled for a network: give the scan as it was before."
    return "Check the modality and the rescaling (slope and intercept)."


def _fitting(values: Histogram, scale: int, offsets: Iterable[int]) -> tuple[int, bool] | None:
    """Of the offsets that restore HU, the one that brings air nearest to -1000; and whether a peak of air shows it."""
    fitting = []
    for offset in offsets:
        made = values.mapped(scale, offset)
        if _clearly_hu(made):
            air, sure = _air(made)
            fitting.append((abs(air + 1000), offset, sure))
    best = min(fitting, key=lambda one: one[0], default=None)
    return None if best is None else best[1:]


def _air(values: Histogram) -> tuple[float, bool]:
    """Where air is, and whether a peak shows it, or only a spike: clipped values, or what fills around a field."""
    air = values.part(*AIR)
    top = int(np.argmax(air.shares))
    beside = [float(air.shares[at]) for at in (top - 1, top + 1) if 0 <= at < len(air.values)]
    if beside and air.shares[top] < SPIKE * max(beside):
        return air.percentile(50), True
    spike, others = float(air.values[top]), Histogram(np.delete(air.values, top), np.delete(air.shares, top))
    peak, share = _narrow_peak(others)
    apart = share >= LEAST_AIR and abs(peak - spike) > FILL_APART
    return (peak, True) if apart else (spike, False)


def _clearly_hu(values: Histogram) -> bool:
    """Whether both anchors are there: air at -1000, and most of the rest from fat to soft tissue."""
    rest = values.part(NO_AIR_ABOVE)
    total = float(rest.shares.sum())
    if values.share(*AIR) < LEAST_AIR or total < LEAST_AIR or values.share(-math.inf, PADDING_BELOW) > 0.4:
        return False
    spread = rest.percentile(90) - rest.percentile(10)
    return (
        rest.share(*SOFT) > CLEARLY_SOFT * total
        and -200 < rest.percentile(50) < 200
        and spread > LEAST_SPREAD
        and rest.share(ABOVE_WATER, math.inf) > LEAST_ABOVE_WATER * total
    )


def _of_header(stated: str, *, sure: bool) -> Finding:
    if stated == UNSPECIFIED and sure:
        return Finding(f"a header that calls the values {stated}; they look like HU", "Check them.", refuse=False)
    do = "Give the series in HU: iodine maps, electron density and other maps are no CT numbers."
    if sure and stated.endswith(RESCALE_TYPE):
        do = "They look like HU: if they are, set RescaleType (0028,1054) to HU, or remove it; else give the CT itself."
    return Finding(f"a header that says of the values: {stated}", do)


def _cut(values: Histogram) -> Iterator[Finding]:
    lowest, highest = float(values.values[0]), float(values.values[-1])
    low, high = values.share(lowest, lowest), values.share(highest, highest)
    ends = []
    if lowest > AIR[1] and low >= CUT_LOW:
        ends.append(f"below {lowest:g} HU ({low:.0%} of the voxels)")
    if highest < FULL_SCALE and high >= (CUT_HIGH if ends else CUT_HIGH_ALONE):
        ends.append(f"above {highest:g} HU ({high:.1%})")
    if ends:
        shifted = ", or HU were shifted" if low >= CUT_LOW and AIR[1] < lowest < CT_LOW else ""
        grey = f"; {len(values.values)} different values are left" if len(values.values) <= 256 else ""
        found = f"values {' and '.join(ends)} were cut off{shifted}{grey}"
        yield Finding(found, "Prefer the scan in full.", refuse=False)


def _divided_by(values: Histogram) -> int | None:
    """The number that brings HU back; what was cut off has its lowest values at one point, air is spread by noise."""
    lowest = float(values.values[0])
    peak, share = _narrow_peak(values.part(PADDING_BELOW, BELOW_WATER))
    if share < PEAK_SHARE or values.share(*AIR) >= LEAST_AIR:
        return None
    for factor in DIVIDED_BY:
        made = values.mapped(factor, 0)
        near, spread = abs(factor * peak + 1000) <= AIR_OFF, values.share(lowest, lowest) < CUT_TO_A_POINT * share
        if near and spread and _clearly_hu(made):
            return factor
    return None


def _misplaced(values: Histogram) -> Iterator[Finding]:
    """Warnings of a scale that is shifted or stretched, where a real scan could look like this too."""
    rest = values.part(NO_AIR_ABOVE)
    middle = rest.percentile(50) if len(rest.values) else -math.inf
    if not MIDDLE[0] <= middle <= MIDDLE[1]:
        where = f"lies around {middle:.4g} HU" if math.isfinite(middle) else "is missing"
        found = f"what is neither air nor lung {where}, where soft tissue is 0 to 100 and fat -100"
        yield Finding(found, "Check the rescaling.", refuse=False)
    elif rest.share(FAT_BELOW, math.inf) < LEAST_ABOVE_FAT * float(rest.shares.sum()):
        found = f"what is neither air nor lung lies around {middle:.4g} HU, hardly any of it above fat, which is -100"
        yield Finding(found, "Check the modality and the rescaling.", refuse=False)
    peak, share = _narrow_peak(values.part(PADDING_BELOW, -200.0))
    cut = values.share(float(values.values[0]), peak) <= values.share(peak, peak) * 1.001
    floor = -1030.0 <= peak <= -1020.0  # scanners of 12 bits write no less than -1024
    if share >= PEAK_SHARE and abs(peak + 1000) > AIR_OFF and not floor and not (cut and peak > AIR[1]):
        found = f"{share:.0%} of the voxels near {peak:.0f} HU, where air should lie near -1000"
        yield Finding(found, "Check the intercept.", refuse=False)


def _narrow_peak(values: Histogram) -> tuple[float, float]:
    """The value around which most voxels lie, and their share; only of a peak that is narrow."""
    if not len(values.values):
        return -1000.0, 0.0
    total = np.concatenate([[0.0], np.cumsum(values.shares)])

    def within(reach: float) -> np.ndarray:
        begin = np.searchsorted(values.values, values.values - reach, "left")
        return total[np.searchsorted(values.values, values.values + reach, "right")] - total[begin]

    near, far = within(NARROW), within(3 * NARROW)
    best = int(np.argmax(near))
    around = values.part(values.values[best] - NARROW, values.values[best] + NARROW)
    middle = around.percentile(50)
    return middle, float(near[best]) if near[best] > 0.8 * far[best] else 0.0


def _mr(values: Histogram) -> Iterator[Finding]:
    lowest, highest = float(values.values[0]), float(values.values[-1])
    bright = values.percentile(99.9)
    if lowest < CT_LOW and -lowest > UNDERSHOOT * bright:
        do = "Check the modality; padding must not be lower than air."
        yield Finding(f"values as low as {lowest:g}, as CT has them", do)
        return
    negative = values.share(-math.inf, math.nextafter(0, -1))
    if lowest < 0 and (negative > MOST_NEGATIVE and -values.percentile(1) > UNDERSHOOT * bright):
        found = f"{negative:.0%} of the values below 0, down to {lowest:g}, which magnitudes of MR are not"
        yield Finding(found, "Check that it is MR, before any normalisation.", refuse=False)
    elif _clearly_hu(values.mapped(1, -1024)) and values.share(174, 774) < 0.2 * values.share(774, 1374):
        found = "values like those of CT with 1024 added: air at 24, tissue near 1074"
        yield Finding(found, "Check the modality.", refuse=False)
    if lowest >= 0 and BYTE / 2 < highest <= BYTE and values.whole and len(values.values) > FEW_VALUES:
        found = f"whole numbers from {lowest:g} to {highest:g}, as an 8-bit picture has them"
        yield Finding(found, "Prefer the scan as the scanner wrote it.", refuse=False)
    if values.percentile(0.5) == values.percentile(99.5):
        found = f"the value {values.percentile(50):g} in 99 % of the voxels"
        yield Finding(found, "Check that it shows a body.", refuse=False)
