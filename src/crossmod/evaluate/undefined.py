"""Patients without a defined score, such as a surface distance where nothing was found.

The mean over the others flatters an arm that finds nothing in its worst patients. Therefore three things are known of
every comparison: how many patients each arm has no score of, whether these numbers differ by more than chance, and what
the difference is where such a failure counts as the worst score (worst-rank analysis, Lachin 1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy import stats

from crossmod.evaluate.arms import ArmScores


@dataclass(frozen=True)
class Undefined:
    """Patients without a defined score in some run.

    Args:
        base: how many, of the base.
        arm: how many, of the arm.
        p: that the arms differ in this by chance alone, two-sided: McNemar's exact test, of the patients that one arm
            alone has no score of; 1 where there are none.
        folds_lost: folds that have scores, but no patient with one in all runs of both arms.
    """

    base: int
    arm: int
    p: float
    folds_lost: int


def undefined(base: ArmScores, arm: ArmScores) -> Undefined:
    """Count them; both arms were tested on the same patients."""
    of_base, of_arm = without_score(base), without_score(arm)
    only_base, only_arm = int((of_base & ~of_arm).sum()), int((of_arm & ~of_base).sum())
    differ = only_base + only_arm
    p = float(stats.binomtest(only_arm, differ).pvalue) if differ else 1.0
    left = np.unique(arm.folds[~(of_base | of_arm)])
    scored = np.unique(arm.folds[with_some_score(base, arm)])
    return Undefined(int(of_base.sum()), int(of_arm.sum()), p, len(scored) - len(left))


def without_score(arm: ArmScores) -> Bool[np.ndarray, " patients"]:
    """Patients without a defined score in some run of an arm."""
    return np.asarray(~np.isfinite(arm.values).all(axis=0))


def with_some_score(base: ArmScores, arm: ArmScores) -> Bool[np.ndarray, " patients"]:
    """Patients with a defined score in some run of either arm: of others, whose slices have gaps, nothing is known."""
    return np.asarray(np.isfinite(base.values).any(axis=0) | np.isfinite(arm.values).any(axis=0))


def worst_value(arms: Sequence[ArmScores], *, higher_is_better: bool) -> float:
    """The worst score that any run of these arms has; nan where none has one."""
    values = np.concatenate([arm.values.ravel() for arm in arms])
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan")
    return float(values.min() if higher_is_better else values.max())


def failures_as_worst(base: ArmScores, arm: ArmScores, worst: float) -> tuple[ArmScores, ArmScores]:
    """Both arms with `worst` for every undefined score, over the patients of `with_some_score`.

    Args:
        base: the arm that is compared to.
        arm: the same patients.
        worst: see `worst_value`.
    """
    some = with_some_score(base, arm)
    filled = [
        ArmScores(one.name, np.where(np.isfinite(one.values), one.values, worst)[:, some], one.folds[some])
        for one in (base, arm)
    ]
    return filled[0], filled[1]
