"""The interval of one arm's mean over patients, and what a comparison of arms may conclude."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

Verdict = Literal["improves", "hurts", "not shown", "not comparable"]
CONFIDENCE = 0.95


def interval(values: Float[np.ndarray, " patients"]) -> tuple[float, float]:
    """Student's t interval of a mean; without end where there are fewer than two values.

    Not a bootstrap, because the percentile bootstrap of a handful of patients is too narrow.
    """
    if values.size < 2:
        return float("-inf"), float("inf")
    mean, error = float(values.mean()), float(np.std(values, ddof=1)) / values.size**0.5
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1)) * error
    return mean - half, mean + half
