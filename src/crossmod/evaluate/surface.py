"""Distances between the surfaces of two masks, in millimetres.

Definitions, since tools differ:

- Surface: the object's voxels with a background voxel across one of their faces (6 neighbours in 3D). Where the volume
  ends, no surface is seen: an organ that the scan cuts off has none there, and a single slice has an outline. This is
  the surface of CHAOS's evaluation code (Kavur et al. 2021), where the erosion continues the object beyond the border;
  MedPy and MONAI take what lies outside for background.
- Distance of a surface voxel: from its centre to the nearest surface voxel's centre of the other mask.
- HD95: the larger of the two directed 95th percentiles (linear between ranks), as in MONAI; MedPy takes one percentile
  of both directions together.
- ASSD: the mean over all surface voxels of both masks, as in CHAOS and in MONAI with `symmetric=True`; MedPy gives both
  directions the same weight.
- MSSD: the largest distance of all surface voxels of both masks (the Hausdorff distance), as in CHAOS.
- Both masks empty: 0, since they agree. One without a surface (empty, or filling the volume): nan, unless both masks
  are equal; CHAOS's code stops with an error there (Python) or takes a length of the volume in voxels (MATLAB).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

PERCENTILE = 95
# Names of the distances, and which surface they are of: the cards of earlier versions, whose surface went along the
# end of the volume too, name none.
DISTANCES = ("hd95", "assd", "mssd")
SURFACE = "inside the volume"

Volume = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True)
class SurfaceDistance:
    """In millimetres; nan where one mask has no surface.

    Args:
        hd95: the larger directed 95th percentile.
        assd: the average over both surfaces.
        mssd: the largest distance.
    """

    hd95: float
    assd: float
    mssd: float


def surface_distance(first: Volume, second: Volume, spacing: tuple[float, float, float]) -> SurfaceDistance:
    """HD95, ASSD and MSSD of two masks; symmetric in them.

    Args:
        first: a mask.
        second: another of the same shape.
        spacing: millimetres between neighbouring slices, rows and columns.
    """
    if np.array_equal(first, second):
        return SurfaceDistance(0.0, 0.0, 0.0)
    box = _box(first | second)
    one, other = surface(first[box]), surface(second[box])
    if not one.any() or not other.any():
        return SurfaceDistance(float("nan"), float("nan"), float("nan"))
    there, back = _directed(one, other, spacing), _directed(other, one, spacing)
    hd95 = max(float(np.percentile(distances, PERCENTILE)) for distances in (there, back))
    both = np.concatenate([there, back])
    return SurfaceDistance(hd95, float(both.mean()), float(both.max()))


def surface(mask: Volume) -> Volume:
    """The voxels of a mask with background across a face; beyond the border the object is taken to go on."""
    cross = ndimage.generate_binary_structure(3, 1)
    inside = np.asarray(ndimage.binary_erosion(mask, cross, border_value=1), dtype=np.bool_)
    return mask & ~inside


def _box(mask: Volume) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask that is not empty, and the voxels around it as far as there are any."""
    others = ((1, 2), (0, 2), (0, 1))
    inside = [np.flatnonzero(mask.any(axis=axes)) for axes in others]
    return tuple(slice(max(int(places[0]) - 1, 0), int(places[-1]) + 2) for places in inside)


def _directed(start: Volume, goal: Volume, spacing: tuple[float, float, float]) -> Float[np.ndarray, " voxels"]:
    """From each voxel of `start` to the nearest of `goal`, which is not empty."""
    distance = ndimage.distance_transform_edt(~goal, sampling=spacing)
    assert isinstance(distance, np.ndarray)
    return distance[start]
