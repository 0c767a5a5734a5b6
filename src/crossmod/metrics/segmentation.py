"""Segmentation metrics: Dice, IoU, volume difference, surface distances in millimetres, ROC.

Definitions, since tools differ:

- Surface: the object's voxels with a background voxel across one of their faces (6 neighbours in 3D). There is no
  surface at the end of the volume: an organ that the scan cuts off has none there, and a single slice has an outline.
  This is the surface of CHAOS's evaluation code (Kavur et al. 2021), where the erosion continues the object beyond the
  border; MedPy and MONAI treat the outside as background.
- Distance of a surface voxel: from its centre to the nearest surface voxel's centre of the other mask.
- HD95: the larger of the two directed 95th percentiles (linear between ranks), as in MONAI; MedPy takes one percentile
  of both directions together.
- ASSD: the mean over all surface voxels of both masks, as in CHAOS and in MONAI with `symmetric=True`; MedPy gives both
  directions the same weight.
- MSSD: the largest distance of all surface voxels of both masks (the Hausdorff distance), as in CHAOS.
- Both masks empty: 0, since they agree. One without a surface (empty, or filling the volume): NaN, unless both masks
  are equal; CHAOS's code raises an error (Python) or takes a length of the volume in voxels (MATLAB).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

Mask = Bool[np.ndarray, "..."]


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|): 1 if both are empty, since they agree."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 1.0 if total == 0 else 2 * np.count_nonzero(first & second) / total


def iou(first: Mask, second: Mask) -> float:
    """|A and B| / |A or B|: 1 if both are empty, since they agree."""
    union = np.count_nonzero(first | second)
    return 1.0 if union == 0 else np.count_nonzero(first & second) / union


def label_consistency(answer: UInt8[np.ndarray, "rows columns"], truth: UInt8[np.ndarray, "rows columns"]) -> float:
    """Dice between S(G(x)) and the mask of x, averaged over the organs that either shows; 1 if neither shows any."""
    organs = np.union1d(answer, truth)
    return float(np.mean([dice(answer == organ, truth == organ) for organ in organs[organs > 0]] or [1.0]))


def volume_difference(answer: Mask, truth: Mask) -> float:
    """RAVD: | |A| - |T| | / |T|, in percent of the truth (Kavur et al. 2021, CHAOS's evaluation code).

    100 for an empty answer, without an upper limit if the answer is too large. Both empty: 0, since they agree. Empty
    truth only: NaN.
    """
    answered, expected = np.count_nonzero(answer), np.count_nonzero(truth)
    if expected == 0:
        return 0.0 if answered == 0 else float("nan")
    return 100 * abs(answered - expected) / expected


# Name of the 3D Dice of a scan cut to the slices from the first to the last one that shows one of the organs.
CUT_DICE = "dice_cut"
PERCENTILE = 95
# Names of the distances, and their surface. Cards of earlier versions, whose surface included the end of the volume, do
# not name it.
DISTANCES = ("hd95", "assd", "mssd")
SURFACE = "inside the volume"

Volume = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True)
class SurfaceDistance:
    """In millimetres; NaN if one mask has no surface."""

    hd95: float  # the larger directed 95th percentile
    assd: float  # the average over both surfaces
    mssd: float  # the largest distance


def surface_distance(first: Volume, second: Volume, spacing: tuple[float, float, float]) -> SurfaceDistance:
    """HD95, ASSD and MSSD of two masks of the same shape, in either order.

    Args:
        spacing: millimetres between neighbouring slices, rows and columns.
    """
    if np.array_equal(first, second):
        return SurfaceDistance(0.0, 0.0, 0.0)
    box = bounding_box(first | second)
    first, second = surface(first[box]), surface(second[box])
    if not first.any() or not second.any():
        return SurfaceDistance(float("nan"), float("nan"), float("nan"))
    there, back = _directed(first, second, spacing), _directed(second, first, spacing)
    hd95 = max(float(np.percentile(distances, PERCENTILE)) for distances in (there, back))
    both = np.concatenate([there, back])
    return SurfaceDistance(hd95, float(both.mean()), float(both.max()))


def surface(mask: Volume) -> Volume:
    """The voxels of a mask with background across a face; the object continues beyond the border."""
    cross = ndimage.generate_binary_structure(3, 1)
    inside = np.asarray(ndimage.binary_erosion(mask, cross, border_value=1), dtype=np.bool_)
    return mask & ~inside


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The bounding box of a mask, one voxel wider on each side within the volume; the first voxel if it is empty."""
    if not mask.any():
        return (slice(0, 1),) * mask.ndim
    others = [tuple(other for other in range(mask.ndim) if other != axis) for axis in range(mask.ndim)]
    inside = [np.flatnonzero(mask.any(axis=axes)) for axes in others]
    return tuple(slice(max(int(places[0]) - 1, 0), int(places[-1]) + 2) for places in inside)


def _directed(start: Volume, goal: Volume, spacing: tuple[float, float, float]) -> Float[np.ndarray, " voxels"]:
    """Distance from each voxel of `start` to the nearest voxel of `goal`."""
    distance = ndimage.distance_transform_edt(~goal, sampling=spacing)
    assert isinstance(distance, np.ndarray)
    return distance[start]


POINTS = 201


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic."""

    auc: float | None  # area under the curve; None if the truth has one class only
    false_positive_rate: tuple[float, ...]  # rising from 0 to 1, thinned to a few hundred points for drawing
    true_positive_rate: tuple[float, ...]


def roc(probability: Float[np.ndarray, " pixels"], truth: Bool[np.ndarray, " pixels"]) -> Roc:
    """The curve of all thresholds, with straight lines across ties (trapezoids, Fawcett 2006)."""
    positives = int(np.count_nonzero(truth))
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        return Roc(None, (), ())
    order = np.argsort(-probability)
    ends = np.append(np.flatnonzero(np.diff(probability[order])), truth.size - 1)
    hits = np.cumsum(truth[order])[ends]
    tpr = np.concatenate([[0.0], hits / positives])
    fpr = np.concatenate([[0.0], (ends + 1 - hits) / negatives])
    # Points at equal steps of either rate keep the steep beginning of the curve.
    steps = np.linspace(0, 1, POINTS)
    kept = np.unique(np.concatenate([np.searchsorted(fpr, steps), np.searchsorted(tpr, steps), [0, fpr.size - 1]]))
    kept = kept[kept < fpr.size]
    return Roc(float(np.trapezoid(tpr, fpr)), tuple(fpr[kept].tolist()), tuple(tpr[kept].tolist()))
