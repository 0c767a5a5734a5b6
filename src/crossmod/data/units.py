"""Whether voxel values are what their modality says: HU, MR signal, or something else.

- One histogram of the whole volume does not show it: eight slices of which one is 1024 too high look like HU.
- A slice is compared with its neighbours, not with HU. From slice to slice most voxels stay air or stay tissue: no
  anatomy moves nine tenths of a slice the same way, nor of the tissue or the air that both neighbours show.
- Blank and small slices are not informative.
- A file is checked when a store is prepared or a volume translated, a case of a store whenever it is read: stores of
  older versions hold unchecked cases.
- What an expert accepts nevertheless is not called HU: its unit is `unknown`, and a note says why.
"""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from statistics import median

import numpy as np
from jaxtyping import Float, Shaped

from crossmod.config import Modality
from crossmod.data.intensity import histogram_of
from crossmod.data.unit_rules import Finding, findings
from crossmod.data.volume import CANONICAL, Volume, Voxels
from crossmod.errors import InputError

Vector = Float[np.ndarray, " n"]

# Approximate number of slices, and of pixels per slice, that are compared with their neighbours.
SLICES, PIXELS = 16, 4096
# Percentiles that values are clipped to: single bright voxels, such as of metal, would outweigh all others.
CLIPPED = (1.0, 99.0)


def neighbour_correlation(voxels: Voxels) -> tuple[float, float]:
    """Correlation of pixels with those beside or below them, whichever is less, and the standard deviation of all.

    The correlation is 1 where all values are one, and in slices of one row or column.
    """
    chosen = np.unique(np.linspace(0, len(voxels) - 1, SLICES).round().astype(int))
    step = max(1, int(math.sqrt(voxels[0].size / PIXELS)))
    seen = voxels[chosen]
    rows, columns = seen.shape[1] - 1, seen.shape[2] - 1
    if min(rows, columns) < 1:
        return 1.0, float(seen.std())
    one = seen[:, :rows:step, :columns:step].astype(np.float64)
    low, high = np.percentile(one, CLIPPED)
    middle = float(np.clip(one, low, high).mean())

    def centred(values: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.clip(values.astype(np.float64), low, high) - middle

    one = centred(one)
    variance = float(np.mean(one**2))
    if not variance:
        return 1.0, 0.0
    beside, below = seen[:, :rows:step, 1::step], seen[:, 1::step, :columns:step]
    return min(float(np.mean(one * centred(other))) / variance for other in (beside, below)), variance**0.5


# Of real and made-up CT, also of every fifth slice and of fields of a quarter of the width, no slice moved this far.
MOST_MOVED = 300.0
# Share of the voxels that must move at least this far, and least number of voxels: a slice of 23 x 23 pixels.
MOVED_SHARE, LEAST_PIXELS = 0.9, 512
# Approximate number of pixels of a slice that are examined.
LOOKED_AT = 4096
# Neighbours that differ less than this show the same; above the limit it is tissue. Padding below air is air.
SAME, TISSUE_ABOVE, LOWEST = 150.0, -500.0, -1024.0
# A slice is blank if this share of its voxels has one value.
BLANK = 0.99


def odd_slices(voxels: Voxels) -> tuple[tuple[int, float], ...]:
    """Index and offset (median change of the voxels) of each slice of a CT in HU that is on another level than the
    others."""
    step = max(1, int(math.sqrt(voxels[0].size / LOOKED_AT)))
    seen = voxels[:, ::step, ::step]
    flat = np.maximum(seen.reshape(len(seen), -1).astype(np.float32), LOWEST)
    if flat.shape[1] < LEAST_PIXELS:
        return ()
    ends = (50 * (1 - BLANK), 100 - 50 * (1 - BLANK))
    informative = [index for index, one in enumerate(flat) if np.ptp(np.percentile(one, ends)) > 0]
    # Levels rise and fall by the steps from slice to slice; those that differ by less than a step that counts are one.
    steps = [_moved(flat[before], flat[after]) for before, after in itertools.pairwise(informative)]
    levels = np.concatenate([[0.0], np.cumsum(steps)])
    most = max(levels, key=lambda level: int(np.count_nonzero(np.abs(levels - level) < MOST_MOVED)))
    away = {at: float(level - most) for at, level in zip(informative, levels, strict=False)}
    odd = {at: far for at, far in away.items() if abs(far) >= MOST_MOVED}
    for before, index, after in zip(informative, informative[1:], informative[2:], strict=False):
        if not {before, index, after} & set(odd):
            mean, same = (flat[before] + flat[after]) / 2, np.abs(flat[after] - flat[before]) < SAME
            # Where both neighbours show the same tissue, and where the same air.
            parts = (same & (mean > TISSUE_ABOVE), same & (mean <= TISSUE_ABOVE))
            moved = max((_moved(mean[where], flat[index][where]) for where in parts), key=abs)
            if moved:
                odd[index] = moved
    return tuple(sorted(odd.items()))


def _moved(before: Vector, after: Vector) -> float:
    """How far the voxels moved, where nearly all of them went the same way by more than anatomy does; else 0."""
    if len(before) < LEAST_PIXELS:
        return 0.0
    change = after - before
    low, middle, high = np.percentile(change, (100 * (1 - MOVED_SHARE), 50, 100 * MOVED_SHARE))
    return float(middle) if low > MOST_MOVED or high < -MOST_MOVED else 0.0


logger = logging.getLogger(__name__)

# A slice of 23 x 23 pixels: shares of less say nothing.
LEAST_VOXELS = 512
# The slices of a file run along which axis, by the axis code of the file, and from where they are counted.
SLICE_AXES = {"S": (0, "feet"), "A": (1, "front"), "R": (2, "right")}
SLICE_AXES |= {"I": SLICE_AXES["S"], "P": SLICE_AXES["A"], "L": SLICE_AXES["R"]}
# Correlation of neighbouring pixels; 0.76 and more in real and made-up scans, 0.24 with noise of 150 HU. Fields within
# one organ, which have no structure either, spread less.
LEAST_ALIKE, LEAST_SPREAD_HU = 0.05, 200.0
# Slices, and cases, that a message names.
NAMED = 6

UNKNOWN = "unknown"
ACCEPTED = "accepted with --accept-units, unit unknown: "
EXPECTED: dict[Modality, str] = {"ct": "CT in HU: air -1000, fat -100, water 0", "mr": "the signal of MR"}


def findings_of(volume: Volume) -> tuple[Finding, ...]:
    """What is odd about a volume: all values, single slices, noise; what is refused comes first.

    Nothing of a few voxels, which show no anatomy.
    """
    if volume.voxels.size < LEAST_VOXELS and volume.stated_unit in (None, "HU"):
        return ()
    found = findings(histogram_of(volume.voxels), volume.modality, volume.stated_unit)
    if any(one.refuse for one in found):
        return found
    slices = _of_slices(volume) if volume.modality == "ct" else ()
    large = volume.voxels[0].size >= LEAST_VOXELS
    alike, spread = neighbour_correlation(volume.voxels) if large else (1.0, 0.0)
    if not (alike < LEAST_ALIKE and (volume.modality == "mr" or spread > LEAST_SPREAD_HU)):
        return (*slices, *found)
    noise = f"pixels that are no more alike than those of noise (correlation of neighbours {alike:.2f})"
    return (*slices, *found, Finding(noise, "Check that it shows a body.", refuse=False))


def _of_slices(volume: Volume) -> Iterator[Finding]:
    """Slices of the file that lie on another scale than those beside them."""
    # The last axis of a file is its slice axis; the canonical order is that of volumes that came from no file.
    axis, where = SLICE_AXES["S" if volume.orientation == CANONICAL else volume.orientation[2]]
    voxels = np.moveaxis(volume.voxels, axis, 0)
    odd = odd_slices(voxels)
    if not odd:
        return
    numbers = [str(index + 1) for index, _ in odd]
    named = ", ".join(numbers[:NAMED]) + (", ..." if len(numbers) > NAMED else "")
    one = len(odd) == 1
    far = median(far for _, far in odd)
    found = (
        f"slice{'' if one else 's'} {named} of {len(voxels)}, counted from the {where}, "
        f"about {abs(far):.0f} {'above' if far > 0 else 'below'} {'its' if one else 'their'} neighbours"
    )
    yield Finding(found, f"Correct the rescaling (slope and intercept) of {'this slice' if one else 'these slices'}.")


def with_checked_units(subject: object, volume: Volume, *, accept: bool = False, advice: str = "") -> Volume:
    """The volume with a note per warning, which is logged too; or with the unit `unknown`, if that is accepted.

    `advice` says how to accept such values here, a whole sentence.

    Raises:
        InputError: values that cannot be HU, or signal of MR, and `accept` is off.
    """
    found = findings_of(volume)
    refused = [one for one in found if one.refuse]
    if refused and not accept:
        do = " ".join(part for part in (refused[0].do, advice) if part)
        raise InputError(subject, found=refused[0].found, expected=EXPECTED[volume.modality], do=do)
    notes = [f"{ACCEPTED}{one.found}" for one in refused] + [one.found for one in found if not one.refuse]
    for note in notes:
        if note not in volume.notes:
            logger.warning("%s: %s", subject, note)
    unit = UNKNOWN if refused and volume.modality == "ct" else None
    return replace(volume, notes=tuple(dict.fromkeys((*volume.notes, *notes))), stated_unit=unit)


def check_stored(subject: object, volume: Volume) -> None:
    """Check a volume of a store, which an older version may have written unchecked; its own notes are not repeated."""
    if volume.unit != UNKNOWN and not any(note.startswith(ACCEPTED) for note in volume.notes):
        advice = "Then prepare the store again; `prepare --accept-units` takes it as it is."
        with_checked_units(subject, volume, advice=advice)


def one_unit(subject: object, cases: Iterable[tuple[str, str]]) -> str:
    """The unit of all cases (name and unit of each) of one modality; CT in HU and in another unit together are refused.

    Warns if the unit is unknown: windows are then not in HU.
    """
    named: dict[str, list[str]] = {}
    for case, unit in cases:
        named.setdefault(unit, []).append(case)
    if len(named) > 1:
        rarer = min((unit for unit in named if unit != "HU"), key=lambda unit: (len(named[unit]), unit))
        some = ", ".join(named[rarer][:NAMED]) + (", ..." if len(named[rarer]) > NAMED else "")
        found = f"CT in {' and in '.join(sorted(named))} units ({rarer}: {some})"
        do = "Prepare these cases again in HU, or leave them out."
        raise InputError(subject, found=found, expected="one unit", do=do)
    if set(named) == {UNKNOWN}:
        logger.warning(
            "%s: CT in an unknown unit: windows are in that unit, and nothing derived from it is in HU", subject
        )
    return next(iter(named), "HU")
