"""How far apart the surfaces of two masks lie, in millimetres.

Definitions, since tools differ:

- Surface: the object's voxels with a background voxel across one of their faces (6 neighbours in 3D). What lies outside
  the volume is background, as in MedPy and MONAI; but across an axis of one voxel nothing lies, so that a single slice
  has an outline and is not all surface.
- Distance of a surface voxel: from its centre to the nearest surface voxel's centre of the other mask.
- HD95: the larger of the two directed 95th percentiles (linear between ranks), as in MONAI; MedPy takes one percentile
  of both directions together.
- ASSD: the mean over all surface voxels of both masks, as in MONAI with `symmetric=True`; MedPy gives both directions
  the same weight.
- Both masks empty: 0, since they agree. One empty: nan, since no distance says how far away nothing is.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

PERCENTILE = 95

Volume = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True)
class SurfaceDistance:
    """In millimetres; nan where one mask is empty.

    Args:
        hd95: the larger directed 95th percentile.
        assd: the average over both surfaces.
    """

    hd95: float
    assd: float


def surface_distance(first: Volume, second: Volume, spacing: tuple[float, float, float]) -> SurfaceDistance:
    """HD95 and ASSD of two masks; symmetric in them.

    Args:
        first: a mask.
        second: another of the same shape.
        spacing: millimetres between neighbouring slices, rows and columns.
    """
    if not first.any() and not second.any():
        return SurfaceDistance(0.0, 0.0)
    if not first.any() or not second.any():
        return SurfaceDistance(float("nan"), float("nan"))
    # Neither the surfaces nor the nearest of their voxels lie outside the box that holds both.
    box = _box(first | second)
    flat = tuple(length == 1 for length in first.shape)
    one, other = surface(first[box], flat), surface(second[box], flat)
    there, back = _directed(one, other, spacing), _directed(other, one, spacing)
    hd95 = max(float(np.percentile(distances, PERCENTILE)) for distances in (there, back))
    return SurfaceDistance(hd95, float(np.concatenate([there, back]).mean()))


def surface(mask: Volume, flat: tuple[bool, ...] = (False, False, False)) -> Volume:
    """The voxels of a mask with background, or the outside, across a face.

    Args:
        mask: an object.
        flat: the axes across which nothing lies.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    for axis, alone in enumerate(flat):
        if alone:
            cross[tuple(slice(None) if other != axis else [0, 2] for other in range(3))] = False
    inside = np.asarray(ndimage.binary_erosion(mask, cross), dtype=np.bool_)
    return mask & ~inside


def _box(mask: Volume) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask that is not empty."""
    others = ((1, 2), (0, 2), (0, 1))
    inside = [np.flatnonzero(mask.any(axis=axes)) for axes in others]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in inside)


def _directed(start: Volume, goal: Volume, spacing: tuple[float, float, float]) -> Float[np.ndarray, " voxels"]:
    """From each voxel of `start` to the nearest of `goal`, which is not empty."""
    distance = ndimage.distance_transform_edt(~goal, sampling=spacing)
    assert isinstance(distance, np.ndarray)
    return distance[start]
