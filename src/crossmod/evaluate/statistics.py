"""What a difference between two arms is worth, with patients as the unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from crossmod.errors import InputError

Verdict = Literal["improves", "hurts", "not shown"]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, new minus old.

    Args:
        mean: over patients.
        low: lower end of the 95 % interval.
        high: upper end.
        patients: how many it rests on.
    """

    mean: float
    low: float
    high: float
    patients: int

    @property
    def verdict(self) -> Verdict:
        """`not shown` unless the interval leaves 0 out."""
        if self.low > 0:
            return "improves"
        return "hurts" if self.high < 0 else "not shown"


def interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean; without end where there are fewer than two values.

    Chosen over a bootstrap for now because a percentile bootstrap of a handful of patients is too narrow.
    """
    if values.size < 2:
        return float("-inf"), float("inf")
    half = stats.t.ppf((1 + confidence) / 2, values.size - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def paired_difference(old: Mapping[str, float], new: Mapping[str, float]) -> Difference:
    """The difference that an arm makes, over the same patients.

    Args:
        old: score by patient, of the arm that is compared to.
        new: score by patient.

    Raises:
        InputError: the two arms were not tested on the same patients.
    """
    if set(old) != set(new):
        strange = sorted(set(old) ^ set(new))
        raise InputError(
            "two arms",
            found=f"different test patients ({', '.join(strange[:5])} in one only)",
            wanted="the same on both sides",
            do="Use the same --fold, --folds and --split-seed for both.",
        )
    differences = np.array([new[patient] - old[patient] for patient in sorted(old)])
    return Difference(float(differences.mean()), *interval(differences), len(differences))
