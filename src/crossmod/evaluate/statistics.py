"""What a difference between two arms is worth, with patients as the unit and seeds as a source of chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.errors import InputError

Verdict = Literal["improves", "hurts", "not shown", "not comparable"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, new minus old.

    Args:
        mean: over patients and seeds.
        low: lower end of the 95 % interval.
        high: upper end.
        patients: how many it rests on.
        seeds: how many the arm with the fewer has.
    """

    mean: float
    low: float
    high: float
    patients: int
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """`not shown` unless the interval leaves 0 out and there is more than one seed.

        One run an arm proves nothing, however many patients it was tested on: two seeds of one arm often differ by
        more than two arms do.
        """
        if self.seeds < 2 or self.low <= 0 <= self.high:
            return "not shown"
        return "improves" if self.low > 0 else "hurts"


def interval(values: Float[np.ndarray, " patients"]) -> tuple[float, float]:
    """Student's t interval of a mean; without end where there are fewer than two values.

    Not a bootstrap, because the percentile bootstrap of a handful of patients is too narrow.
    """
    if values.size < 2:
        return float("-inf"), float("inf")
    return _around(float(values.mean()), [(float(np.var(values, ddof=1)) / values.size, values.size - 1)])


def paired_difference(old: Sequence[Mapping[str, float]], new: Sequence[Mapping[str, float]]) -> Difference:
    """The difference that an arm makes, over the same patients.

    Its variance has three parts: patients (their paired differences, averaged over seeds), the seeds of the old arm
    and the seeds of the new one (their means over patients). Degrees of freedom by Welch and Satterthwaite (1946).

    Args:
        old: for each seed, score by patient, of the arm that is compared to.
        new: the same of the arm in question; its seeds need not be as many.

    Raises:
        InputError: the two arms were not tested on the same patients.
    """
    tables = [*old, *new]
    patients = sorted(tables[0])
    for table in tables:
        if set(table) != set(patients):
            strange = sorted(set(table) ^ set(patients))
            raise InputError(
                "two arms",
                found=f"different test patients ({', '.join(strange[:5])} in one only)",
                wanted="the same on both sides",
                do="Use the same --fold, --folds and --split-seed for both.",
            )
    before, after = (np.array([[table[p] for p in patients] for table in arm]) for arm in (old, new))
    differences = after.mean(axis=0) - before.mean(axis=0)
    seeds = min(len(old), len(new))
    parts = [(float(np.var(differences, ddof=1)) / len(patients), len(patients) - 1)] if len(patients) > 1 else []
    for arm in (before, after):
        if len(arm) > 1:
            parts.append((float(np.var(arm.mean(axis=1), ddof=1)) / len(arm), len(arm) - 1))
    mean = float(differences.mean())
    low, high = _around(mean, parts) if len(patients) > 1 else (float("-inf"), float("inf"))
    return Difference(mean, low, high, len(patients), seeds)


def _around(mean: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """An interval from the parts of a mean's variance and their degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return mean, mean
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * variance**0.5
    return mean - half, mean + half
