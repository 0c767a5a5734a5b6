"""Volumes and label maps of one patient on one grid: registered inputs of a network, and labels from elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import affine_transform

from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Affine, Volume
from crossmod.errors import InputError

# Of the first input, inside the other one's field of view. Two scans of one abdomen share nearly all of it.
LEAST_SHARED = 0.5
# Millimetres: grids this alike are the same.
SAME = 1e-2
# Voxels of a grid that are asked whether they lie inside another volume, along each axis.
ASKED = 64
# Millimetres between corners: label maps this near lie on the grid, since programs round affines.
SAME_CORNERS_MM = 0.5
# Of a label map inside the image, or of the image inside the map: programs crop and pad.
LEAST_INSIDE = 0.9
# Decimals of a position in voxels: what lies below is rounding.
DECIMALS = 6

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class RegisteredScans:
    """Cases of one patient, one per input; the first one's grid and labels are those of the group."""

    records: tuple[CaseRecord, ...]

    @property
    def first(self) -> CaseRecord:
        """The case that the others are brought to."""
        return self.records[0]


def group_cases(
    store: Store, cases: Iterable[CaseRecord], inputs: Sequence[Sequence[str | None]]
) -> list[RegisteredScans]:
    """Group the cases of each patient, one per input; a patient who lacks one, or has two for one, is refused.

    `inputs` holds, per input, the sequences it may be of. A single input takes every case separately.
    """
    found = list(cases)
    if len(inputs) == 1:
        return [RegisteredScans((case,)) for case in found]
    groups = []
    for patient in sorted({case.patient for case in found}):
        own = [case for case in found if case.patient == patient]
        records = []
        for names in inputs:
            fitting = [case for case in own if case.sequence in names]
            if len(fitting) != 1:
                found = f"{len(fitting) or 'no'} cases of {' or '.join(map(str, names))}"
                subject = f"{store.path}, patient {patient}"
                do = "Prepare what is missing, or leave the patient out of the store."
                raise InputError(subject, found=found, expected="one of each input", do=do)
            records.append(fitting[0])
        groups.append(RegisteredScans(tuple(records)))
    return groups


def read_input(store: Store, group: RegisteredScans, index: int) -> Volume:
    """One input of a group on the group's grid, with the first one's labels; an `InputError` if it lies elsewhere."""
    first = store.read(group.first.id)
    if index == 0:
        return first
    record = group.records[index]
    volume = resample_to(store.read(record.id), first, subject=f"{store.path}, patient {record.patient}")
    return replace(volume, labels=first.labels, label_names=first.label_names)


def resample_to(volume: Volume, grid: Volume, *, subject: object, outside: float | None = None) -> Volume:
    """A volume at the voxels of `grid`, by both affines, linearly; without labels. It must hold half of the grid.

    `outside` is the value beyond the volume; default: its lowest. `subject` is for messages.
    """
    place = np.linalg.inv(volume.affine) @ grid.affine
    same = volume.voxels.shape == grid.voxels.shape and np.abs(volume.affine - grid.affine).max() < SAME
    if not same:
        inside = _inside(grid.voxels.shape, place, volume.voxels.shape)
        if inside < LEAST_SHARED:
            name, other = (one.sequence or one.modality.upper() for one in (volume, grid))
            other = other if other != name else "the other volume"
            found = f"{name} that holds {inside:.0%} of what {other} shows"
            do = "Register them first, or take them from one examination."
            raise InputError(subject, found=found, expected="volumes that are registered", do=do)
    voxels = volume.voxels
    if not same:
        voxels = affine_transform(
            voxels.astype(np.float32),
            place[:3, :3],
            tuple(place[:3, 3]),  # pyright: ignore[reportArgumentType] - SciPy takes a number per axis
            output_shape=grid.voxels.shape,
            order=1,
            mode="constant",
            cval=float(voxels.min()) if outside is None else outside,
        )
    return replace(volume, voxels=voxels, affine=grid.affine, labels=None, label_names={})


def labels_on_grid(
    labels: UInt8[np.ndarray, "a b c"], affine: Affine, shape: Shape, grid: Affine, *, subject: object
) -> tuple[UInt8[np.ndarray, "slices rows columns"], bool]:
    """A label map at the voxels of a grid, and whether it was on another one; `subject` is for messages.

    A map on the grid itself is left as it is. One that was cropped, padded, turned or resampled is read at the nearest
    of its voxels, in millimetres, and is 0 beyond its ends: exact if its voxels are those of the grid, else to half of
    its voxel.

    Args:
        labels: with the axes of a `Volume`.
        affine: of the labels.
        shape: of the grid.
        grid: affine of the grid.

    Raises:
        InputError: the map lies elsewhere: it has the grid's size in another place, or shares too little with it.
    """
    apart = np.linalg.norm(_corners(shape, grid)[:, None] - _corners(labels.shape, affine), axis=-1)
    if labels.shape == shape and apart.diagonal().max() <= SAME_CORNERS_MM:
        return labels, False
    away = float(apart.min(axis=1).max())
    do = "Segment the image itself, and keep the position in its header."
    # A part of the image is smaller than it, and a grid of other voxels has another number of them.
    if sorted(labels.shape) == sorted(shape) and away > SAME_CORNERS_MM:
        found = f"a label map of the image's size, {away:.1f} mm away from it"
        expected = f"the image's position, to {SAME_CORNERS_MM:g} mm"
        raise InputError(subject, found=found, expected=expected, do=do)
    there = np.linalg.inv(affine) @ grid
    shares = _inside(labels.shape, np.linalg.inv(there), shape), _inside(shape, there, labels.shape)
    if max(shares) < LEAST_INSIDE:
        middles = (_corners(labels.shape, affine).mean(axis=0), _corners(shape, grid).mean(axis=0))
        found = (
            f"a label map of which {shares[0]:.0%} lies inside the image and which holds {shares[1]:.0%} of it; their "
            f"middles are {np.linalg.norm(middles[1] - middles[0]):.0f} mm apart"
        )
        raise InputError(subject, found=found, expected=f"{LEAST_INSIDE:.0%} or more of either", do=do)
    return _nearest(labels, there, shape), True


def _corners(shape: tuple[int, ...], affine: Affine) -> Float[np.ndarray, "8 3"]:
    """The centres of the eight outermost voxels, RAS+ millimetres."""
    ends = (np.array(shape) - 1) * np.array(list(np.ndindex(2, 2, 2)))
    return ends @ affine[:3, :3].T + affine[:3, 3]


def _inside(shape: tuple[int, ...], place: Affine, other: tuple[int, ...]) -> float:
    """The share of the voxels of a grid that lie inside another one, whose indexes `place` gives."""
    asked = (np.arange(0, n, max(1, n // ASKED)) for n in shape)
    at = np.stack(np.meshgrid(*asked, indexing="ij"), axis=-1) @ place[:3, :3].T + place[:3, 3]
    return float(((at > -0.5) & (at < np.array(other) - 0.5)).all(axis=-1).mean())


def _nearest(
    labels: UInt8[np.ndarray, "a b c"], place: Affine, shape: Shape
) -> UInt8[np.ndarray, "slices rows columns"]:
    """The label of the voxel that holds the middle of each voxel of a grid; `place` gives indexes of the labels."""
    made = np.zeros(shape, np.uint8)
    rows_columns = np.stack(np.meshgrid(*(np.arange(n) for n in shape[1:]), indexing="ij"), axis=-1)
    # Slice by slice: positions take 24 times the memory of labels.
    for number, one in enumerate(made):
        at = rows_columns @ place[:3, 1:3].T + place[:3, 0] * number + place[:3, 3]
        index = np.floor(np.round(at, DECIMALS) + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < labels.shape)).all(axis=-1)
        one[inside] = labels[tuple(index[inside].T)]
    return made
