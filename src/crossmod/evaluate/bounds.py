"""How far the next patient may lie from those that are known: prediction bounds of one more draw.

Notable:
- For n independent draws of a normal distribution the next one lies above mean + t s sqrt(1 + 1/n) with probability
  alpha, where t is the upper quantile of Student's distribution with n - 1 degrees of freedom (Hahn and Meeker,
  Statistical Intervals, 1991, Sec. 4.8). Distances and sizes are taken as logarithms first, since both are positive and
  skewed.
- The largest of n known values is exceeded by the next one with probability 1 / (n + 1) whatever the distribution
  (conformal prediction), so that a bound for one patient in 20 without an assumed distribution needs 19 of them, and
  for several checks at once as many times more. Trainings have fewer: hence Student's bound.
- It needs three values. With few it lies far out, as it must.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

# With fewer values there is no bound.
LEAST_VALUES = 3


def upper_bound(values: Sequence[float], alpha: float, least_spread: float = 0.0) -> float | None:
    """What the next draw exceeds with probability `alpha`; None of fewer than three values.

    Args:
        values: of independent patients, about normal.
        alpha: 0 to 1.
        least_spread: standard deviation below which no set of patients is believed.
    """
    known = np.asarray(values, dtype=np.float64)
    n = len(known)
    if n < LEAST_VALUES:
        return None
    spread = max(float(known.std(ddof=1)), least_spread)
    return float(known.mean() + t.ppf(1 - alpha, n - 1) * spread * np.sqrt(1 + 1 / n))


def both_bounds(values: Sequence[float], alpha: float, least_spread: float = 0.0) -> tuple[float, float] | None:
    """Between what the next draw lies, but for probability `alpha`, half on either side; None of fewer than three."""
    high = upper_bound(values, alpha / 2, least_spread)
    low = upper_bound([-value for value in values], alpha / 2, least_spread)
    return None if high is None or low is None else (-low, high)
