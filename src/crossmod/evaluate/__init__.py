"""Scores, and what they prove.

The scores that a program may want by themselves are names of this package, loaded when they are first used.
"""

from typing import TYPE_CHECKING

from crossmod.lazy import loading

if TYPE_CHECKING:
    from crossmod.data.body_mask import body_mask as body_mask
    from crossmod.evaluate.alignment import shift_between as shift_between
    from crossmod.evaluate.anatomy import organ_changes as organ_changes
    from crossmod.evaluate.detectors import detector as detector
    from crossmod.evaluate.frechet import frechet_distance as frechet_distance
    from crossmod.evaluate.histogram import kl_divergence as kl_divergence
    from crossmod.evaluate.kid import kernel_distance as kernel_distance
    from crossmod.evaluate.overlap import dice as dice
    from crossmod.evaluate.overlap import iou as iou
    from crossmod.evaluate.overlap import volume_difference as volume_difference
    from crossmod.evaluate.paired import paired_scores as paired_scores
    from crossmod.evaluate.surface import surface_distance as surface_distance

_HOMES = {
    "body_mask": "crossmod.data.body_mask",
    "detector": "crossmod.evaluate.detectors",
    "dice": "crossmod.evaluate.overlap",
    "frechet_distance": "crossmod.evaluate.frechet",
    "iou": "crossmod.evaluate.overlap",
    "kernel_distance": "crossmod.evaluate.kid",
    "kl_divergence": "crossmod.evaluate.histogram",
    "organ_changes": "crossmod.evaluate.anatomy",
    "paired_scores": "crossmod.evaluate.paired",
    "shift_between": "crossmod.evaluate.alignment",
    "surface_distance": "crossmod.evaluate.surface",
    "volume_difference": "crossmod.evaluate.overlap",
}
__getattr__ = loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
