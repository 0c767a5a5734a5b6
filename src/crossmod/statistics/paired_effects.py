"""The difference between an arm and its baseline, with a 95 % interval and a p value by Student's t over folds.

Notable:
- With two or more folds the variance is that between folds, with one degree of freedom less than folds: it includes
  whatever the patients of a fold share (translator, training patients), and is inflated for what folds share with each
  other; see `spread`. With one fold it is that of patients and runs, and the result holds for that one translator only.
- docs/concepts/evidence.md says how often intervals include the truth and how often something false is shown, as
  measured by benchmarks/coverage.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special, stats

from crossmod.statistics.arm_scores import ArmScores, failures_as_worst, paired, spread, undefined
from crossmod.statistics.intervals import CONFIDENCE

# Decimals; smaller differences are rounding errors, since scores are between 0 and 1 or in millimetres.
ROUNDING = 12


@dataclass(frozen=True)
class Effect:
    """A mean paired difference, arm minus base."""

    mean: float  # over patients and seeds
    low: float  # lower end of the 95 % interval
    high: float
    p: float  # two-sided; NaN with fewer than two patients
    patients: int  # number of patients with a score in both arms
    seeds: int  # of the arm with fewer
    freedom: float  # degrees of freedom of the variance; infinite if the variance is 0
    left_out: int = 0  # patients without a defined score in some run of either arm
    undefined_base: int = 0  # how many of these the base has no score of
    undefined_arm: int = 0  # how many of these the arm has no score of
    undefined_p: float = 1.0  # p value of the difference of these two numbers; see `Undefined`
    folds_lost: int = 0  # folds of which no patient is left
    # The same with missing scores counted as the worst score of any arm; None if none is missing
    worst: "Effect | None" = None


def effect(base: ArmScores, arm: ArmScores, *, higher_is_better: bool = True) -> Effect:
    """The difference of one arm to `base`; see `effects`."""
    return effects(base, [arm], higher_is_better=higher_is_better)[0]


def effects(base: ArmScores, arms: Sequence[ArmScores], *, higher_is_better: bool = True) -> list[Effect]:
    """The difference of each arm to `base`, over the patients with a defined score in both.

    `higher_is_better` decides which score of all arms is the worst. Other patients or
    folds than those of `base` are refused.
    """
    values = np.concatenate([arm.values.ravel() for arm in (base, *arms)])
    values = values[np.isfinite(values)]
    worst = float(values.min() if higher_is_better else values.max()) if values.size else math.nan
    return [_effect(base, arm, worst) for arm in arms]


def _effect(base: ArmScores, arm: ArmScores, worst: float) -> Effect:
    before, (after,), left_out = paired(base, [arm])
    found = _students_t(before, after)
    if not left_out:
        return found
    filled = failures_as_worst(base, arm, worst)
    # If neither arm has a score of any patient that is left out, nothing can be counted as worst.
    some_failed = len(filled[0].folds) > found.patients
    if_failed = _students_t(*filled) if some_failed else None
    return replace(found, left_out=left_out, worst=if_failed, **vars(undefined(base, arm)))


def _students_t(base: ArmScores, arm: ArmScores) -> Effect:
    """The effect of an arm whose scores are all defined: Student's t with the variance of `spread`."""
    patients, seeds = len(base.folds), min(base.seeds, arm.seeds)
    mean = round(float((arm.by_patient - base.by_patient).mean()), ROUNDING) if patients else math.nan
    if patients < 2:
        return Effect(mean, -math.inf, math.inf, math.nan, patients, seeds, math.nan)
    parts = spread(base, arm)
    error = round(parts.total**0.5, ROUNDING)
    if error == 0:
        return Effect(mean, mean, mean, float(mean == 0), patients, seeds, math.inf)
    half = float(special.stdtrit(parts.freedom, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(special.stdtr(parts.freedom, -abs(mean) / error))
    return Effect(mean, mean - half, mean + half, p, patients, seeds, parts.freedom)


def wilcoxon(base: ArmScores, arm: ArmScores) -> float:
    """Two-sided p value of Wilcoxon's signed-rank test of the patients' differences, averaged over seeds.

    It assumes nothing about the shape of the differences, but ignores the luck of runs: with few runs it is too small.
    Differences of 0 are dropped (Wilcoxon 1945); 1 if all are 0. Exact for up to 50 differences without ties, and with
    ties for up to 13 (SciPy's rule). With 5 patients the smallest p is 0.0625.
    """
    base, (arm,), _ = paired(base, [arm])
    differences = np.round(arm.by_patient - base.by_patient, ROUNDING)
    differences = differences[differences != 0]
    if not differences.size:
        return 1.0
    found: Any = stats.wilcoxon(differences)
    return float(found.pvalue)
