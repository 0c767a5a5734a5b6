"""Crop a long CT, such as one of the whole body, to the abdomen.

Measured in HU, on pixels of about 4 mm, which are quick and have little noise:

- body: the largest components above -300 HU, holes filled; arms that hang free are left out;
- lung: in the body, between -940 and -400 HU, in components that extend as high as the largest. Gas in the gut is
  darker, and does not extend as high;
- side bone: above 180 HU and more than 45 mm from the body's middle: ribs, hip bones, thigh bones, no spine.

Going up, the pelvis ends where side bone ends: at the iliac crest, below the waist, where there is none. The lungs
begin where they take a twentieth of the body.

If liver or kidneys are labelled, the labels say where the abdomen is, and 2 cm are kept at both ends; else lungs and
pelvis do, and 4 cm are kept.

- An end that sticks out by less than twice that is kept, so that a scan of the abdomen stays as it is.
- Heights of what is not seen are means: of phantoms for liver, kidneys and lungs (`crossmod.metrics.axial_layers`), of
  textbooks for the pelvis. In 20 real scans the kidneys' lower end was within 5 cm of where the lungs placed it
  (standard deviation 26 mm), and the dome within 4 (17 mm). In 19 of them lungs had to be found by values clipped at
  -125 HU; in another one gas passed for lung, so such scans are refused.
- MR is returned as it is: it is not taken of the whole body here, and its lungs have no HU.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from crossmod.data.volume import Volume, take_slices
from crossmod.errors import InputError

Mask = Bool[np.ndarray, "rows columns"]
PerSlice = Float[np.ndarray, " slices"]

PIXEL_MM = 4.0
BODY_ABOVE, BONE_ABOVE = -300.0, 180.0
LUNG = (-940.0, -400.0)
# Share of the largest piece that another must have to be body (a leg), and to make two legs.
PIECE, LEG = 0.25, 0.5
ASIDE_MM = 45.0

# The lungs begin where they take this share of the body; less than 30 ml are not lungs but cells of the skull's bone.
LEAST_LUNG, LEAST_LUNG_ML = 0.05, 30.0
# A lung has this share of the other's volume, and its top is this near to the other's, mm.
OTHER_LUNG, SAME_TOP = 0.1, 20.0
# Hip bones: area at each side, mm^2, and height, mm; ribs have less, or extend up to the lungs.
LEAST_SIDE, LEAST_PELVIS = 300.0, 40.0
# Least distance of the crest below the lungs, mm.
LUNGS_TO_CREST = 100.0
# Adults' abdomens measure 300 cm^2 and more, heads and necks less; a skull is more bone than any trunk.
LEAST_BODY, MOST_BONE = 20_000.0, 0.12

CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class Profile:
    """Measures of each slice, feet to head: position (mm along the body), cross-section of body, lungs and side bone
    (of the side with less; mm^2), share of the body that is bone, and whether the body is in two.
    """

    z: PerSlice
    body: PerSlice
    lung: PerSlice
    bone: PerSlice
    side_bone: PerSlice
    legs: Bool[np.ndarray, " slices"]

    @property
    def step(self) -> float:
        """Millimetres from slice to slice."""
        return float(self.z[1] - self.z[0]) if len(self.z) > 1 else 1.0

    def lungs_begin(self) -> float | None:
        """Lower end of the lungs, mm; the lowest slice where they are cut off there, None where there are none."""
        # The median, so that one slice in which the wall of a chest was torn does not end it.
        share = ndimage.median_filter(self.lung / np.maximum(self.body, 1.0), 3, mode="nearest")
        runs = _runs(share >= LEAST_LUNG)
        volumes = [self.lung[run].sum() * self.step / 1000 for run in runs]
        if not volumes or max(volumes) < LEAST_LUNG_ML:
            return None
        first = runs[int(np.argmax(volumes))].start
        if first == 0:
            return float(self.z[0])
        before = share[first - 1]
        return float(self.z[first] - self.step * (share[first] - LEAST_LUNG) / (share[first] - before))

    def crest(self) -> float | None:
        """Upper end of the hip bones, mm; None where it is not seen."""
        lungs = self.lungs_begin()
        ceiling = np.inf if lungs is None else lungs - LUNGS_TO_CREST
        for run in reversed(_runs(self.side_bone >= LEAST_SIDE)):
            top = float(self.z[run.stop - 1])
            whole = run.stop < len(self.z) and (run.stop - run.start) * self.step >= LEAST_PELVIS
            if whole and top <= ceiling:
                return top
        return None

    def other_part(self) -> str | None:
        """What a scan without lungs and crest shows, where that is no abdomen."""
        if self.legs.mean() > 0.5:
            return "legs"
        if np.median(self.body) < LEAST_BODY or np.median(self.bone) > MOST_BONE:
            return "a body as thin or as bony as a head or a limb"
        if (self.side_bone >= LEAST_SIDE).mean() > 0.8:
            return "bone at both sides from end to end, as of a pelvis"
        return None


def profile_of(volume: Volume) -> Profile:
    """Measure every slice of a CT in HU that is not clipped above air."""
    merge = tuple(max(int(PIXEL_MM / length), 1) for length in volume.spacing[1:])
    height, width = volume.spacing[1] * merge[0], volume.spacing[2] * merge[1]
    measures, dark = [], []
    for one in volume.voxels:
        hu = _merged(one, merge)
        body, legs = _body(hu > BODY_ABOVE)
        bone, share, side = (hu > BONE_ABOVE) & body, 0.0, 0.0
        if body.any():
            across = (np.arange(body.shape[1]) - float(np.nonzero(body)[1].mean())) * width
            share = float(bone.sum() / body.sum())
            # At the side that has less of it.
            side = min(float(bone[:, across > ASIDE_MM].sum()), float(bone[:, across < -ASIDE_MM].sum()))
        measures.append((body.sum() * height * width, share, side * height * width, float(legs)))
        dark.append(ndimage.binary_opening((hu > LUNG[0]) & (hu < LUNG[1]) & body, CROSS))
    area, bone, side, legs = np.array(measures).T
    lung = _lungs(np.stack(dark), volume.spacing[0]).sum(axis=(1, 2)) * height * width
    return Profile(heights(volume), area, lung, bone, side, legs > 0)


def _lungs(dark: Bool[np.ndarray, "slices rows columns"], step: float) -> Bool[np.ndarray, "slices rows columns"]:
    """The largest connected piece and those beside it that reach as high; `step` is the distance of slices, mm."""
    pieces = np.zeros(dark.shape, np.int32)
    ndimage.label(dark, output=pieces)
    volumes = np.bincount(pieces.ravel())
    volumes[0] = 0
    if volumes.max() == 0:
        return dark
    tops = np.zeros(len(volumes))
    for index, one in enumerate(pieces):
        tops[np.unique(one)] = index * step
    high = tops > tops[np.argmax(volumes)] - SAME_TOP
    return np.isin(pieces, np.flatnonzero(high & (volumes >= OTHER_LUNG * volumes.max())))


def _body(above: Mask) -> tuple[Mask, bool]:
    """The body in a slice, and whether it is in two; the opening takes off the table, which is thin."""
    pieces = np.zeros(above.shape, np.int32)
    # Filled first: the wall of a lean chest is as thin as a table.
    ndimage.label(ndimage.binary_opening(ndimage.binary_fill_holes(above), CROSS), output=pieces)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    if areas.max() == 0:
        return np.zeros(above.shape, dtype=bool), False
    body = np.isin(pieces, np.flatnonzero(areas >= PIECE * areas.max()))
    return body, int((areas >= LEG * areas.max()).sum()) > 1


def _merged(values: np.ndarray, merge: tuple[int, ...]) -> Float[np.ndarray, "rows columns"]:
    """Means over blocks of pixels; what is left over at the far edges is dropped."""
    rows, columns = (length // size for length, size in zip(values.shape, merge, strict=True))
    whole = values[: rows * merge[0], : columns * merge[1]].astype(np.float64)
    return whole.reshape(rows, merge[0], columns, merge[1]).mean(axis=(1, 3))


def _runs(on: Bool[np.ndarray, " slices"]) -> list[slice]:
    """Stretches of slices that are on, from the feet up."""
    edges: Int[np.ndarray, " edges"] = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    return [slice(int(begin), int(stop)) for begin, stop in edges.reshape(-1, 2)]


MARGIN, UNSURE_MARGIN = 20.0, 40.0
# From the kidneys' lower end to the dome, and from there to the other landmarks, mm.
HEIGHT = 200.0
KIDNEYS_TO_LIVER, KIDNEYS_HIGH, KIDNEYS_TO_LUNGS = 34.0, 124.0, 158.0
# The right kidney ends about a finger's breadth above the crest of the hip bone.
CREST_TO_KIDNEYS = 25.0
# A low kidney reaches below it, but hardly by more.
BELOW_CREST = 40.0
# Share of this height that a scan of the abdomen must show.
LEAST_SHOWN = 0.5
# Where a window has cut values off above this, lungs cannot be distinguished from gas.
LEAST_HU = -950.0
# An organ begins at this area, mm^2: single voxels of a wrong label do not count.
LEAST_AREA = 100.0

Rule = Literal["labels", "lungs", "pelvis", "nothing outside of it"]


@dataclass(frozen=True)
class Abdomen:
    """Where the abdomen is, mm along the body as in `Profile.z`: from the kidneys' lower end to the liver's dome.

    `rule` says how it was found; the last: a scan without lungs, pelvis or legs, which is not cut. If the pelvis was
    seen, nothing below the height `floor` in it is kept.
    """

    rule: Rule
    low: float
    high: float
    floor: float = -np.inf


def crop_to_abdomen(volume: Volume, subject: object) -> Volume:
    """Crop a CT to the abdomen; affine and labels follow, and a note says what was kept. MR is returned as it is.

    The volume is in HU; not clipped above air, unless liver or kidneys are labelled.

    Raises:
        InputError: a scan that shows less than half of an abdomen, or none that can be found.
    """
    if volume.modality != "ct":
        return volume
    z = heights(volume)
    abdomen = abdomen_by_labels(volume)
    if abdomen is None:
        lowest = float(volume.voxels.min())
        if lowest > LEAST_HU:
            found = f"no labelled liver or kidneys, and values cut off at {lowest:g} HU, where lung and gas are alike"
            do = "Label them, export it down to -1000 HU, or prepare it without --crop."
            raise InputError(subject, found=found, expected="one of the two, to find the abdomen by", do=do)
        abdomen = abdomen_by_shape(profile_of(volume), subject)
    margin = MARGIN if abdomen.rule == "labels" else UNSURE_MARGIN
    low, high = max(abdomen.low - margin, abdomen.floor), abdomen.high + margin
    # Never looser at the pelvis: it is what the cut is to remove.
    first = low if z[0] < max(low - margin, abdomen.floor) else -np.inf
    last = high if z[-1] > high + margin else np.inf
    kept = np.flatnonzero((z >= first) & (z <= last))
    shown = min(abdomen.high, float(z[-1])) - max(abdomen.low, float(z[0]))
    # Labels end where a scan of the chest cuts the liver: what is seen of it is then compared with a whole abdomen.
    height = HEIGHT if abdomen.rule == "labels" and len(kept) < len(z) else abdomen.high - abdomen.low
    if shown < LEAST_SHOWN * height:
        found = f"{max(shown, 0):.0f} mm of an abdomen of {height:.0f} mm (by {abdomen.rule})"
        raise _no_abdomen(subject, found)
    if len(kept) == len(z):
        return volume
    note = f"cut to the abdomen, by {abdomen.rule}: slices {kept[0] + 1} to {kept[-1] + 1} of {len(z)}, feet first"
    cut = take_slices(volume, kept.tolist())
    return replace(cut, notes=(*cut.notes, note))


def heights(volume: Volume) -> PerSlice:
    """Middle of each slice, mm along the body, feet to head."""
    return float(volume.affine[2, 3]) + volume.spacing[0] * np.arange(len(volume.voxels), dtype=np.float64)


def abdomen_by_labels(volume: Volume) -> Abdomen | None:
    """The abdomen by the extent of liver and kidneys; None where neither is labelled in the scan."""
    liver, kidneys = (_ends(volume, organs) for organs in (("liver",), ("left_kidney", "right_kidney")))
    if liver is not None and kidneys is not None:
        return Abdomen("labels", min(liver[0], kidneys[0]), max(liver[1], kidneys[1]))
    if liver is not None:
        return Abdomen("labels", liver[0] - KIDNEYS_TO_LIVER, liver[1])
    return None if kidneys is None else Abdomen("labels", kidneys[0], kidneys[1] + HEIGHT - KIDNEYS_HIGH)


def abdomen_by_shape(profile: Profile, subject: object) -> Abdomen:
    """The abdomen by where the lungs begin; by the crest of the pelvis where no lungs are seen; or an `InputError`."""
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


def _ends(volume: Volume, organs: tuple[str, ...]) -> tuple[float, float] | None:
    """Lower and upper end of the largest piece of labelled organs, mm; the scan's own end where it cuts them."""
    values = [value for value, name in volume.label_names.items() if name in organs]
    if volume.labels is None:
        return None
    area = np.isin(volume.labels, values).sum(axis=(1, 2)) * (volume.spacing[1] * volume.spacing[2])
    runs = _runs(area >= LEAST_AREA)
    if not runs:
        return None
    z, largest = heights(volume), max(runs, key=lambda run: area[run].sum())
    return float(z[largest][0]), float(z[largest][-1])


def _no_abdomen(subject: object, found: str) -> InputError:
    do = "Leave out this case (--exclude), label its liver or kidneys, or prepare it without --crop."
    return InputError(subject, found=found, expected="a CT that shows the abdomen", do=do)
