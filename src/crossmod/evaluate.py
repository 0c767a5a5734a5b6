"""Scores on arrays, each loaded on first use.

    first, second = np.zeros((2, 8, 8, 8), bool)
    first[2:6, 2:6, 2:6] = second[2:6, 2:6, 3:7] = True
    crossmod.evaluate.dice(first, second)  # 0.75

Arrays are NumPy's; the arguments say which shapes and units they take.
"""

from typing import TYPE_CHECKING

from crossmod.lazy import loading

if TYPE_CHECKING:
    from crossmod.data.body_mask import body_mask as body_mask
    from crossmod.metrics.features import detector as detector
    from crossmod.metrics.features import frechet_distance as frechet_distance
    from crossmod.metrics.features import kernel_distance as kernel_distance
    from crossmod.metrics.histograms import kl_divergence as kl_divergence
    from crossmod.metrics.organs import organ_changes as organ_changes
    from crossmod.metrics.paired import paired_scores as paired_scores
    from crossmod.metrics.paired import shift_between as shift_between
    from crossmod.metrics.segmentation import dice as dice
    from crossmod.metrics.segmentation import iou as iou
    from crossmod.metrics.segmentation import surface_distance as surface_distance
    from crossmod.metrics.segmentation import volume_difference as volume_difference

_MODULES = {
    "crossmod.data.body_mask": "body_mask",
    "crossmod.metrics.features": "detector frechet_distance kernel_distance",
    "crossmod.metrics.histograms": "kl_divergence",
    "crossmod.metrics.organs": "organ_changes",
    "crossmod.metrics.paired": "paired_scores shift_between",
    "crossmod.metrics.segmentation": "dice iou surface_distance volume_difference",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
__getattr__ = loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
