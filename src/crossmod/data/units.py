"""Whether the values of a volume are what they are called, HU or signal of MR: the same checks for every command.

Notable:
- A file is checked when a store is prepared or a volume translated, a case of a store whenever it is read: stores of
  older versions hold cases that nothing checked.
- What an expert accepts all the same is not called HU: its unit is `unknown`, and a note says why.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

from crossmod.config import Modality
from crossmod.data.histogram import histogram_of
from crossmod.data.unit_rules import Finding, findings
from crossmod.data.volume import Volume
from crossmod.errors import InputError

logger = logging.getLogger(__name__)

# A slice of 23 x 23 pixels: shares of less say nothing.
LEAST_VOXELS = 512

UNKNOWN = "unknown"
ACCEPTED = "accepted with --accept-units, unit unknown: "
WANTED: dict[Modality, str] = {"ct": "CT in HU: air -1000, fat -100, water 0", "mr": "the signal of MR"}


def findings_of(volume: Volume) -> tuple[Finding, ...]:
    """`findings` of a volume by what it says of itself; none of a few voxels, which show no anatomy."""
    if volume.voxels.size < LEAST_VOXELS and volume.stated_unit in (None, "HU"):
        return ()
    return findings(histogram_of(volume.voxels), volume.modality, volume.stated_unit)


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


def one_unit(subject: object, units: Iterable[str]) -> str:
    """The unit that all cases share; one that is not known is warned of, since windows are then not in HU.

    Args:
        subject: whom messages name.
        units: of the cases, of one modality.

    Raises:
        InputError: CT in HU and CT in another unit together.
    """
    found = sorted(set(units))
    if len(found) > 1:
        do = "Prepare them again, all in HU."
        raise InputError(subject, found=f"CT in {' and in '.join(found)} units", wanted="one unit", do=do)
    if found == [UNKNOWN]:
        logger.warning("%s: CT in an unknown unit: windows are in that unit, and nothing made of it is in HU", subject)
    return found[0] if found else "HU"
