"""Whether the values of a volume are what they are called, HU or signal of MR: the same checks for every command.

Notable:
- A file is checked when a store is prepared or a volume translated, a case of a store whenever it is read: stores of
  older versions hold cases that nothing checked.
- What an expert accepts all the same is not called HU: its unit is `unknown`, and a note says why.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from crossmod.config import Modality
from crossmod.data.histogram import histogram_of
from crossmod.data.noise import neighbour_correlation
from crossmod.data.slice_jumps import odd_slices
from crossmod.data.unit_rules import Finding, findings
from crossmod.data.volume import CANONICAL, Volume
from crossmod.errors import InputError

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
WANTED: dict[Modality, str] = {"ct": "CT in HU: air -1000, fat -100, water 0", "mr": "the signal of MR"}


def findings_of(volume: Volume) -> tuple[Finding, ...]:
    """What is odd about a volume, by what it says of itself: about all values, about single slices, about noise.

    None of a few voxels, which show no anatomy. What is refused comes first.
    """
    if volume.voxels.size < LEAST_VOXELS and volume.stated_unit in (None, "HU"):
        return ()
    found = findings(histogram_of(volume.voxels), volume.modality, volume.stated_unit)
    if any(one.refuse for one in found):
        return found
    slices = _of_slices(volume) if volume.modality == "ct" else ()
    return (*slices, *found, *_of_noise(volume))


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


def _of_noise(volume: Volume) -> Iterator[Finding]:
    if volume.voxels[0].size < LEAST_VOXELS:
        return
    alike, spread = neighbour_correlation(volume.voxels)
    if alike < LEAST_ALIKE and (volume.modality == "mr" or spread > LEAST_SPREAD_HU):
        found = f"pixels that are no more alike than those of noise (correlation of neighbours {alike:.2f})"
        yield Finding(found, "Check that it shows a body.", refuse=False)


def with_checked_units(subject: object, volume: Volume, *, accept: bool = False, advice: str = "") -> Volume:
    """The volume with a note for each warning, which is logged too; or with the unit `unknown`, where that is accepted.

    Args:
        subject: whom messages name.
        volume: as read from a file.
        accept: take what cannot be of its unit all the same.
        advice: how to accept it at this place, a whole sentence.

    Raises:
        InputError: values that cannot be HU, or signal of MR, and `accept` is off.
    """
    found = findings_of(volume)
    refused = [one for one in found if one.refuse]
    if refused and not accept:
        raise _refusal(subject, volume.modality, refused[0], advice)
    notes = [f"{ACCEPTED}{one.found}" for one in refused] + [one.found for one in found if not one.refuse]
    for note in notes:
        if note not in volume.notes:
            logger.warning("%s: %s", subject, note)
    unit = UNKNOWN if refused else None
    return replace(
        volume,
        notes=tuple(dict.fromkeys((*volume.notes, *notes))),
        stated_unit=unit if volume.modality == "ct" else None,
    )


def check_stored(subject: object, volume: Volume) -> None:
    """Check a volume of a store, which an older version may have written unchecked; its own notes are not repeated.

    Raises:
        InputError: values that cannot be what the store calls them.
    """
    if volume.unit == UNKNOWN or any(note.startswith(ACCEPTED) for note in volume.notes):
        return
    advice = "Then prepare the store again; `prepare --accept-units` takes it as it is."
    with_checked_units(subject, volume, advice=advice)


def _refusal(subject: object, modality: Modality, finding: Finding, advice: str) -> InputError:
    do = " ".join(part for part in (finding.do, advice) if part)
    return InputError(subject, found=finding.found, wanted=WANTED[modality], do=do)


def one_unit(subject: object, cases: Iterable[tuple[str, str]]) -> str:
    """The unit that all cases share; one that is not known is warned of, since windows are then not in HU.

    Args:
        subject: whom messages name.
        cases: name and unit of each, of one modality.

    Raises:
        InputError: CT in HU and CT in another unit together.
    """
    named: dict[str, list[str]] = {}
    for case, unit in cases:
        named.setdefault(unit, []).append(case)
    if len(named) > 1:
        rarer = min((unit for unit in named if unit != "HU"), key=lambda unit: (len(named[unit]), unit))
        some = ", ".join(named[rarer][:NAMED]) + (", ..." if len(named[rarer]) > NAMED else "")
        found = f"CT in {' and in '.join(sorted(named))} units ({rarer}: {some})"
        do = "Prepare these cases again in HU, or leave them out."
        raise InputError(subject, found=found, wanted="one unit", do=do)
    if set(named) == {UNKNOWN}:
        logger.warning("%s: CT in an unknown unit: windows are in that unit, and nothing made of it is in HU", subject)
    return next(iter(named), "HU")
