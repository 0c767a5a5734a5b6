"""What an arm adds, with its 95 % interval and its p, by redrawing patients and runs.

Notable:
- In simulations of 5 to 40 patients in one to five folds with two or three seeds, skewed, with translators alike and
  not, the intervals held the truth in 91 to 97 %; see docs/concepts/evidence.md.
- With one fold, what all its seeds share, as one translator, is counted no more than a patient's own gain: too little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.evaluate.arms import ArmScores, Spread, paired, spread
from crossmod.evaluate.statistics import CONFIDENCE
from crossmod.seeds import rng

DRAWS = 10_000

# Differences below it are rounding: scores are between 0 and 1, or millimetres.
ROUNDING = 12


@dataclass(frozen=True)
class Effect:
    """A mean paired difference, arm minus base.

    Args:
        mean: over patients and seeds.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of the same draws; nan with fewer than two patients.
        patients: how many it rests on.
        seeds: how many the arm with the fewer has.
        draws: how many the ends rest on.
        left_out: patients without a defined score in some run.
    """

    mean: float
    low: float
    high: float
    p: float
    patients: int
    seeds: int
    draws: int
    left_out: int = 0


def effect(base: ArmScores, arm: ArmScores, seed: int, draws: int = DRAWS) -> Effect:
    """What an arm adds to `base`; see `effects`."""
    return effects(base, [arm], seed, draws)[0]


def effects(base: ArmScores, arms: Sequence[ArmScores], seed: int, draws: int = DRAWS) -> list[Effect]:
    """What each arm adds to `base`, all by the same draws of patients and of the base's runs.

    Args:
        base: the arm that is compared to.
        arms: the same patients and folds; patients that any arm has an undefined score of are left out of all.
        seed: of the draws.
        draws: how many.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    if not arms:
        return []
    base, arms, left_out = paired(base, arms)
    patients = len(base.folds)
    means = [float((arm.by_patient - base.by_patient).mean()) if patients else float("nan") for arm in arms]
    seeds = [min(base.seeds, arm.seeds) for arm in arms]
    if patients < 2:
        ends, p = (float("-inf"), float("inf")), float("nan")
        return [Effect(m, *ends, p, patients, s, draws, left_out) for m, s in zip(means, seeds, strict=True)]
    spreads = [spread(base, arm) for arm in arms]
    moved = deviations(base, arms, spreads, seed, draws)
    found = []
    for arm, mean, count, part, drawn in zip(arms, means, seeds, spreads, moved, strict=True):
        wide = mean + drawn * student(part.freedom, draws, rng(seed, "width", arm.name))
        found.append(Effect(mean, *_ends(wide), _p(wide), patients, count, draws, left_out))
    return found


def deviations(
    base: ArmScores, arms: Sequence[ArmScores], spreads: Sequence[Spread], seed: int, draws: int
) -> Float[np.ndarray, "arms draws"]:
    """By how much redrawn patients and runs move the mean difference of each arm, all arms together.

    Patients are redrawn with repetition, the same in all arms (Efron 1979), and, apart from that, each fold's seeds in
    each arm: the same seeds for all patients of the fold, since a run's luck is theirs in common, others for every
    fold and arm. Redrawing n things moves their mean by (n-1)/n of its variance, so that 3 seeds would show two thirds
    of their luck; each part is stretched to its unbiased variance (Davison and Hinkley 1997, sec. 3.8).

    Where there are folds, the sum is stretched once more, to the variance that the folds' means show: a fold's patients
    share a translator and a training side, which no redrawing of them knows of.

    The two are added and not nested: a run redrawn inside a redrawn patient counts its luck a second time, by which
    Owen's pigeonhole bootstrap (2007) is conservative.
    """
    patients = len(base.folds)
    picked = rng(seed, "patients").multinomial(patients, np.full(patients, 1 / patients), size=draws)
    differences = np.stack([arm.by_patient - base.by_patient for arm in arms])
    differences = differences - differences.mean(axis=1, keepdims=True)
    stretch = np.array([[part.scale] for part in spreads]) * (patients / (patients - 1)) ** 0.5
    of_patients = stretch * (differences @ picked.T) / patients
    of_base = _runs(base, rng(seed, "runs of the base"), draws)
    of_arms = np.stack([_runs(arm, rng(seed, "runs", arm.name), draws) for arm in arms])
    return np.array([[part.stretch] for part in spreads]) * (of_patients + of_arms - of_base)


def _runs(arm: ArmScores, random: np.random.Generator, draws: int) -> Float[np.ndarray, " draws"]:
    """By how much redrawn seeds, for each fold anew, move an arm's mean."""
    if arm.seeds < 2:
        return np.zeros(draws)
    shares = arm.shares - arm.shares.mean(axis=0)
    picked = random.integers(arm.seeds, size=(draws, *shares.shape))
    moved = np.take_along_axis(shares[None], picked, axis=1).mean(axis=1).sum(axis=1)
    return moved * (arm.seeds / (arm.seeds - 1)) ** 0.5


def student(freedom: float, draws: int, random: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """Factors that give a normal draw the tails of Student's t: the variance is itself only known from a few values.

    t = z / sqrt(chi2 / freedom) (Student 1908). Does for the percentiles of draws what Hesterberg's (2015, sec. 5.2)
    expanded levels do, and has ends also where those would lie beyond the outermost draw.
    """
    if not np.isfinite(freedom):
        return np.ones(draws)
    return (freedom / random.chisquare(freedom, draws)) ** 0.5


def _ends(values: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _p(values: Float[np.ndarray, " draws"]) -> float:
    """Twice the smaller share of draws on one side of 0; never 0, since the scores themselves count as a draw.

    (b + 1) / (B + 1) as in Phipson and Smyth 2010, eq. 2.
    """
    tail = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    return min(2 * (tail + 1) / (len(values) + 1), 1.0)


def wilcoxon(base: ArmScores, arm: ArmScores) -> float:
    """P of Wilcoxon's signed-rank test of the patients' differences, averaged over seeds, two-sided.

    A second opinion that asks nothing of the shape of the differences, but knows nothing of the luck of runs: with
    few runs it is too small. Differences of 0 are dropped (Wilcoxon 1945); 1 where all are. Exact for up to 50
    differences without ties, and with ties for up to 13 (SciPy's rule). Of 5 patients the smallest p is 0.0625.
    """
    base, (arm,), _ = paired(base, [arm])
    differences = np.round(arm.by_patient - base.by_patient, ROUNDING)
    differences = differences[differences != 0]
    if not differences.size:
        return 1.0
    found: Any = stats.wilcoxon(differences)
    return float(found.pvalue)
