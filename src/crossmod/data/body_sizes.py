"""Whether bodies measure what people do, and whether those of two places fit together: else a spacing is wrong.

Notable:
- Only warnings: children are scanned too, and animals. `extent.check_sides` refuses what training cannot use.
- A body that the field of view cuts may be larger than it looks: where the smaller of two is cut, nothing is said.
- What a model makes may fill its whole frame. That is less than `ODD` times a body, and no false alarm.
"""

import logging
import math
from collections.abc import Sequence

from crossmod.data.extent import IMPOSSIBLE, OFTEN, Extent, SideExtent, side_extent
from crossmod.data.store import listed

log = logging.getLogger(__name__)

# Of the median body of a side, or of that of another side; in one direction alone. Real scans differ by 1.3.
ODD, ODD_ALONG = 1.5, 2.0
# Front to back and side to side, geometric mean in mm: a newborn measures 90, the bore of a scanner 700 to 800.
SMALLEST, LARGEST = 60.0, 700.0
NAMED = 6


def times_as_large(one: SideExtent, other: SideExtent) -> float:
    """How many times as large the first body is as the second; 1 where they may be those of people."""
    along = [first / second for first, second in zip(one.body_mm, other.body_mm, strict=True)]
    smaller = [other if ratio > 1 else one for ratio in along]
    known = [ratio for axis, ratio in enumerate(along) if smaller[axis].touching[axis] <= OFTEN]
    tried = [(math.prod(along) ** 0.5, IMPOSSIBLE)]
    if known:
        tried += [(math.prod(known) ** (1 / len(known)), ODD), (max(known, key=_factor), ODD_ALONG)]
    odd = [ratio for ratio, most in tried if _factor(ratio) > most]
    return max(odd, key=_factor, default=1.0)


def warn_of_sizes(name: str, cases: Sequence[Extent]) -> None:
    """Tell of cases whose body is far from the median of all, and of bodies that no person has.

    Args:
        name: of the side or store.
        cases: its cases.
    """
    if not cases:
        return
    side = side_extent(cases)
    away = [(one, times_as_large(side_extent([one]), side)) for one in cases]
    odd = [f"{one.case} ({_size(side_extent([one]))}, {_times(ratio)})" for one, ratio in away if ratio != 1]
    if odd:
        log.warning(
            "%s: %d of %d cases with a body that is much larger or smaller than the median, %s: %s. Check the spacing "
            "in their headers, correct it and prepare them again.",
            name, len(odd), len(cases), _size(side), listed(odd, NAMED),
        )  # fmt: skip
    size = _mean_mm(side)
    if size < SMALLEST or (size > LARGEST):
        log.warning(
            "%s: the median body measures %s, which is no person's (%.0f to %.0f mm). Was the spacing lost, or is it "
            "not in mm? Correct it in the headers and prepare again.",
            name, _size(side), SMALLEST, LARGEST,
        )  # fmt: skip


def warn_of_pair(name: str, one: SideExtent, other_name: str, other: SideExtent) -> None:
    """Tell where the median bodies of two places differ as those of people do not."""
    ratio = times_as_large(one, other)
    if ratio != 1:
        log.warning(
            "%s: bodies are %s as those of %s (%s and %s): people differ less. Check the spacing in the headers.",
            name, _times(ratio), other_name, _size(one), _size(other),
        )  # fmt: skip


def _factor(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _mean_mm(side: SideExtent) -> float:
    return math.prod(side.body_mm) ** 0.5


def _size(side: SideExtent) -> str:
    return f"{side.body_mm[0]:.0f} x {side.body_mm[1]:.0f} mm"


def _times(ratio: float) -> str:
    return f"{_factor(ratio):.1f} times as {'large' if ratio > 1 else 'small'}"
