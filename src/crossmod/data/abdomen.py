"""Cutting a long CT, such as one of the whole body, to the abdomen: from the kidneys' lower end to the liver's dome.

What is kept is that and a margin at both ends. Where liver or kidneys are labelled, the labels say where it lies, and
the margin is 2 cm; else the lungs and the pelvis do (`crossmod.data.body_shape`), and it is 4.

Notable:
- An end that sticks out by less than twice as much is left, so that a scan of the abdomen stays as it is.
- Heights of what is not seen are means: of phantoms for liver, kidneys and lungs (see `crossmod.evaluate.layers`), of
  textbooks for the pelvis. In 20 real scans the kidneys' lower end lay within 5 cm of where the lungs placed it
  (standard deviation 26 mm), and the dome within 4 (17 mm). In 19 of them lungs had to be told by values cut off at
  -125 HU; in a further one gas passed for lung, for which reason such scans are refused.
- MR is returned as it came: it is not taken of the whole body here, and its lungs have no HU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from crossmod.data.body_shape import Profile, profile_of
from crossmod.data.volume import Volume, label_value, take_slices
from crossmod.errors import InputError

MARGIN, UNSURE_MARGIN = 20.0, 40.0
# From the kidneys' lower end to the dome, and from there to the other landmarks, mm.
HEIGHT = 200.0
KIDNEYS_TO_LIVER, KIDNEYS_HIGH, KIDNEYS_TO_LUNGS = 34.0, 124.0, 158.0
# The right kidney ends about a finger's breadth above the crest of the hip bone.
CREST_TO_KIDNEYS = 25.0
# A low kidney reaches below it, but hardly by more.
BELOW_CREST = 40.0
# Of that way a scan must show so much to be called one of the abdomen.
LEAST_SHOWN = 0.5
# Where a window has cut values off above this, lungs cannot be told from gas.
LEAST_HU = -950.0
# An organ begins where it measures so much, mm^2: single voxels of a wrong label do not count.
LEAST_AREA = 100.0

Rule = Literal["labels", "lungs", "pelvis", "nothing outside of it"]


@dataclass(frozen=True)
class Abdomen:
    """Where the abdomen lies in a scan.

    Args:
        rule: what said so; the last: a scan without lungs, pelvis or legs, which is not cut.
        low: the kidneys' lower end, mm along the body as `Profile.z` counts them.
        high: the liver's dome, mm.
        floor: where the pelvis was seen, the height in it below which nothing is kept, mm.
    """

    rule: Rule
    low: float
    high: float
    floor: float = -np.inf


def crop_to_abdomen(volume: Volume, subject: object) -> Volume:
    """Cut a CT to the abdomen; affine and labels follow, and a note says what was kept.

    Args:
        volume: in HU; down to air, where neither liver nor kidneys are labelled.
        subject: the case, for messages.

    Returns:
        The same volume where nothing sticks out, and where it is MR.

    Raises:
        InputError: a scan that shows less than half of an abdomen, or none that can be told.
    """
    if volume.modality != "ct":
        return volume
    z = heights(volume)
    abdomen = abdomen_by_labels(volume)
    if abdomen is None:
        _refuse_cut_off(volume, subject)
        abdomen = abdomen_by_shape(profile_of(volume), subject)
    kept = kept_slices(z, abdomen)
    shown = min(abdomen.high, float(z[-1])) - max(abdomen.low, float(z[0]))
    # Labels end where a scan of the chest cuts the liver: what is seen of it is then held against a whole abdomen.
    height = HEIGHT if abdomen.rule == "labels" and len(kept) < len(z) else abdomen.high - abdomen.low
    if shown < LEAST_SHOWN * height:
        found = f"{max(shown, 0):.0f} mm of an abdomen of {height:.0f} mm (told by {abdomen.rule})"
        raise _no_abdomen(subject, found)
    if len(kept) == len(z):
        return volume
    note = f"cut to the abdomen, told by {abdomen.rule}: slices {kept[0] + 1} to {kept[-1] + 1} of {len(z)}, feet first"
    cut = take_slices(volume, kept.tolist())
    return replace(cut, notes=(*cut.notes, note))


def heights(volume: Volume) -> Float[np.ndarray, " slices"]:
    """Middle of each slice, mm along the body, feet to head."""
    return float(volume.affine[2, 3]) + volume.spacing[0] * np.arange(len(volume.voxels), dtype=np.float64)


def kept_slices(z: Float[np.ndarray, " slices"], abdomen: Abdomen) -> np.ndarray:
    """Indexes of the slices that are kept, rising."""
    margin = MARGIN if abdomen.rule == "labels" else UNSURE_MARGIN
    low, high = max(abdomen.low - margin, abdomen.floor), abdomen.high + margin
    # Never looser at the pelvis: it is what the cut is to remove.
    first = low if z[0] < max(low - margin, abdomen.floor) else -np.inf
    last = high if z[-1] > high + margin else np.inf
    return np.flatnonzero((z >= first) & (z <= last))


def abdomen_by_labels(volume: Volume) -> Abdomen | None:
    """The abdomen by the extent of liver and kidneys; None where neither is labelled in the scan."""
    if volume.labels is None:
        return None
    pixel = volume.spacing[1] * volume.spacing[2]
    z = heights(volume)
    liver = _ends(z, _area(volume.labels, volume.label_names, ("liver",), pixel))
    kidneys = _ends(z, _area(volume.labels, volume.label_names, ("left_kidney", "right_kidney"), pixel))
    if liver is not None and kidneys is not None:
        return Abdomen("labels", min(liver[0], kidneys[0]), max(liver[1], kidneys[1]))
    if liver is not None:
        return Abdomen("labels", liver[0] - KIDNEYS_TO_LIVER, liver[1])
    if kidneys is not None:
        return Abdomen("labels", kidneys[0], kidneys[1] + HEIGHT - KIDNEYS_HIGH)
    return None


def abdomen_by_shape(profile: Profile, subject: object) -> Abdomen:
    """The abdomen by where the lungs begin; by the crest of the pelvis where no lungs are seen.

    Raises:
        InputError: only a chest, a pelvis, legs or a head, or a long scan without any landmark.
    """
    z = profile.z
    crest = profile.crest()
    floor = -np.inf if crest is None else crest - BELOW_CREST
    lungs = profile.lungs_begin()
    if lungs is not None:
        if lungs <= z[0]:
            raise _no_abdomen(subject, "lungs down to the lowest slice")
        low = lungs - KIDNEYS_TO_LUNGS
        return Abdomen("lungs", low, low + HEIGHT, floor)
    if crest is not None:
        low = crest + CREST_TO_KIDNEYS
        return Abdomen("pelvis", low, low + HEIGHT, floor)
    other = profile.other_part()
    if other is not None:
        raise _no_abdomen(subject, other)
    if z[-1] - z[0] > 2 * HEIGHT:
        raise _no_abdomen(subject, f"{z[-1] - z[0]:.0f} mm without lungs or a pelvis")
    return Abdomen("nothing outside of it", float(z[0]), float(z[-1]))


def _area(
    labels: UInt8[np.ndarray, "slices rows columns"], names: Mapping[int, str], organs: tuple[str, ...], pixel: float
) -> Float[np.ndarray, " slices"]:
    values = [value for value in (label_value(names, organ) for organ in organs) if value is not None]
    return np.isin(labels, values).sum(axis=(1, 2)) * pixel


def _ends(z: Float[np.ndarray, " slices"], area: Float[np.ndarray, " slices"]) -> tuple[float, float] | None:
    """Lower and upper end of the largest piece of an organ; the scan's own where it is cut off."""
    there = np.concatenate([[False], area >= LEAST_AREA, [False]])
    begins, stops = (np.flatnonzero(step) for step in (there[1:] & ~there[:-1], there[:-1] & ~there[1:]))
    if begins.size == 0:
        return None
    largest = int(np.argmax([area[begin:stop].sum() for begin, stop in zip(begins, stops, strict=True)]))
    return float(z[begins[largest]]), float(z[stops[largest] - 1])


def _refuse_cut_off(volume: Volume, subject: object) -> None:
    lowest = float(volume.voxels.min())
    if lowest > LEAST_HU:
        found = f"no labelled liver or kidneys, and values cut off at {lowest:g} HU, where lung and gas are alike"
        do = "Label them, export it down to -1000 HU, or prepare it without --crop."
        raise InputError(subject, found=found, wanted="one of the two, to find the abdomen by", do=do)


def _no_abdomen(subject: object, found: str) -> InputError:
    do = "Leave out this case (--exclude), label its liver or kidneys, or prepare it without --crop."
    return InputError(subject, found=found, wanted="a CT that shows the abdomen", do=do)
