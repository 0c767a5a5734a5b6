"""What a CT shows along the body, slice by slice: how much is lung, and whether hip bones lie at both sides.

It is measured in HU, on pixels of about 4 mm, which are quick and have little noise:

- body: the largest pieces above -300 HU, with all that they enclose; arms that hang free are left out;
- lung: in it, between -940 and -400 HU, in pieces that reach as high as the largest. Gas in the gut is darker, and
  does not reach as high;
- side bone: above 180 HU and more than 45 mm aside from the body's middle: ribs, hip bones, thigh bones, no spine.

Going up, the pelvis ends where side bone ends: at the crest of the hip bones, below the waist, where there is none. The
lungs begin where they take a twentieth of the body.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from crossmod.data.volume import Volume

PIXEL_MM = 4.0
BODY_ABOVE, BONE_ABOVE = -300.0, 180.0
LUNG = (-940.0, -400.0)
# Share of the largest piece that another must have to be body (a leg), and to make two legs.
PIECE, LEG = 0.25, 0.5
ASIDE_MM = 45.0

# The lungs begin where they take so much of the body; less than 30 ml are no lungs but cells of the skull's bone.
LEAST_LUNG, LEAST_LUNG_ML = 0.05, 30.0
# A lung has so much of the other's volume, and reaches up to so near its top, mm.
OTHER_LUNG, SAME_TOP = 0.1, 20.0
# Hip bones: so much at each side, mm^2, over so many mm; ribs are cut in less, or reach up to the lungs.
LEAST_SIDE, LEAST_PELVIS = 300.0, 40.0
# So far below the lungs the crest lies at least, mm.
LUNGS_TO_CREST = 100.0
# Adults' abdomens measure 300 cm^2 and more, heads and necks less; a skull is more bone than any trunk.
LEAST_BODY, MOST_BONE = 20_000.0, 0.12

CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class Profile:
    """Measures of each slice, feet to head.

    Args:
        z: its middle, mm along the body.
        body: cross-section of the body, mm^2.
        lung: cross-section of the lungs, mm^2.
        bone: share of the body that is bone.
        side_bone: bone aside of the spine, of the side that has less, mm^2.
        legs: whether the body is in two.
    """

    z: Float[np.ndarray, " slices"]
    body: Float[np.ndarray, " slices"]
    lung: Float[np.ndarray, " slices"]
    bone: Float[np.ndarray, " slices"]
    side_bone: Float[np.ndarray, " slices"]
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
    """Measure every slice of a CT.

    Args:
        volume: in HU down to those of air, axes as `Volume` has them.
    """
    merge = tuple(max(int(PIXEL_MM / length), 1) for length in volume.spacing[1:])
    pixel = (volume.spacing[1] * merge[0], volume.spacing[2] * merge[1])
    measures, dark = [], []
    for one in volume.voxels:
        hu = _merged(one, merge)
        body, legs = _body(hu > BODY_ABOVE)
        measures.append((body.sum() * pixel[0] * pixel[1], *_bone((hu > BONE_ABOVE) & body, body, pixel), float(legs)))
        dark.append(ndimage.binary_opening((hu > LUNG[0]) & (hu < LUNG[1]) & body, CROSS))
    area, bone, side, legs = np.array(measures).T
    lung = _lungs(np.stack(dark), volume.spacing[0]).sum(axis=(1, 2)) * pixel[0] * pixel[1]
    z = float(volume.affine[2, 3]) + volume.spacing[0] * np.arange(len(volume.voxels), dtype=np.float64)
    return Profile(z, area, lung, bone, side, legs > 0)


def _bone(
    bone: Bool[np.ndarray, "rows columns"], body: Bool[np.ndarray, "rows columns"], pixel: tuple[float, float]
) -> tuple[float, float]:
    """Share of the body that is bone, and bone at the side that has less of it, mm^2."""
    if not body.any():
        return 0.0, 0.0
    across = (np.arange(body.shape[1]) - float(np.nonzero(body)[1].mean())) * pixel[1]
    side = min(float(bone[:, across > ASIDE_MM].sum()), float(bone[:, across < -ASIDE_MM].sum()))
    return float(bone.sum() / body.sum()), side * pixel[0] * pixel[1]


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


def _body(above: Bool[np.ndarray, "rows columns"]) -> tuple[Bool[np.ndarray, "rows columns"], bool]:
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
