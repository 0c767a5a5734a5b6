"""Overlap of two masks: Dice and intersection over union."""

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
