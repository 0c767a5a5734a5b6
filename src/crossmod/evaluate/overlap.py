"""Overlap and volume of two masks: Dice, intersection over union, relative absolute volume difference."""

import numpy as np
from jaxtyping import Bool

Mask = Bool[np.ndarray, "..."]


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|): 1 where both are empty, since they agree."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 1.0 if total == 0 else 2 * np.count_nonzero(first & second) / total


def iou(first: Mask, second: Mask) -> float:
    """|A and B| / |A or B|: 1 where both are empty, since they agree."""
    union = np.count_nonzero(first | second)
    return 1.0 if union == 0 else np.count_nonzero(first & second) / union


def volume_difference(answer: Mask, truth: Mask) -> float:
    """RAVD: | |A| - |T| | / |T|, in percent of the truth (Kavur et al. 2021, CHAOS's evaluation code).

    100 where nothing is found of something; without an upper end where too much is found. Both empty: 0, since they
    agree. Something found of nothing: nan, since no percentage says how much that is.
    """
    found, wanted = np.count_nonzero(answer), np.count_nonzero(truth)
    if wanted == 0:
        return 0.0 if found == 0 else float("nan")
    return 100 * abs(found - wanted) / wanted
