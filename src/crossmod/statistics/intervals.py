"""Confidence intervals, bootstrap over patients, folds and seeds, and prediction bounds for one more patient.

The interval of one arm needs no draws (`paired_effects.effects`); the choice of the best of several arms does.

Notable:
- Patients are drawn, not slices: slices of one patient are alike.
- Draws repeat patients, and sets of fewer different patients are further apart: distances of draws are biased upward,
  often beyond the distance itself. The draws are therefore shifted until their median is the score: those of a score by
  a difference, those of a ratio by a factor. In simulations of the Fréchet distance, with 5 to 12 patients per side and
  with near and far sets, plain percentiles included the expected value of a distance in 33 to 95 % of trials, shifted
  ones in 93 to 100 %; of a ratio in 45 to 97 %, shifted ones in 87 to 94 %.
- With a handful of patients any bootstrap is rough.
- After n independent draws of a normal distribution the next one is above mean + t s sqrt(1 + 1/n) with probability
  alpha, where t is the upper quantile of Student's distribution with n - 1 degrees of freedom (Hahn and Meeker,
  Statistical Intervals, 1991, Sec. 4.8). Callers pass logarithms of distances and sizes, which are positive and skewed.
- The next value exceeds the largest of n known ones with probability 1 / (n + 1) for any distribution (conformal
  prediction), so that a bound for one patient in 20 without an assumed distribution needs 19 patients, and several
  times more for several checks at once. Trainings have fewer, so that the bound is Student's.
- It needs three values. With few values it is far out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.seeds import rng
from crossmod.statistics.arm_scores import ArmScores, Spread

Verdict = Literal["improves", "hurts", "not shown", "not comparable"]
CONFIDENCE = 0.95


def interval(values: Float[np.ndarray, " patients"]) -> tuple[float, float]:
    """Student's t interval of a mean; infinite ends with fewer than two values.

    Not a bootstrap, since the percentile bootstrap of a handful of patients is too narrow.
    """
    if values.size < 2:
        return float("-inf"), float("inf")
    mean, error = float(values.mean()), float(np.std(values, ddof=1)) / values.size**0.5
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1)) * error
    return mean - half, mean + half


DRAWS = 10_000


def deviations(
    base: ArmScores, arms: Sequence[ArmScores], spreads: Sequence[Spread], seed: int, draws: int
) -> Float[np.ndarray, "arms draws"]:
    """Changes of the mean difference of each arm by redrawn patients and runs, the same draws for all arms.

    Patients are redrawn with replacement, the same in all arms (Efron 1979). Independently of that, the seeds of each
    fold and arm are redrawn: the same seeds for all patients of the fold, since they share the luck of a run. Redrawing
    n items varies their mean by (n-1)/n of its variance, so that 3 seeds would show two thirds of their luck; each part
    is scaled to its unbiased variance (Davison and Hinkley 1997, sec. 3.8).

    If there are folds, the sum is scaled once more, to the variance of `spread`: the patients of a fold share a
    translator and a training side, which redrawing them does not show.

    The two are added and not nested: a run redrawn inside a redrawn patient counts its luck twice, which makes Owen's
    pigeonhole bootstrap (2007) conservative.
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
    """Changes of an arm's mean by seeds that are redrawn in each fold."""
    if arm.seeds < 2:
        return np.zeros(draws)
    shares = arm.shares - arm.shares.mean(axis=0)
    picked = random.integers(arm.seeds, size=(draws, *shares.shape))
    moved = np.take_along_axis(shares[None], picked, axis=1).mean(axis=1).sum(axis=1)
    return moved * (arm.seeds / (arm.seeds - 1)) ** 0.5


def student(freedom: float, draws: int, random: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """Factors that give normal draws the tails of Student's t, since the variance is estimated from few values.

    t = z / sqrt(chi2 / freedom) (Student 1908). It has the effect of Hesterberg's (2015, sec. 5.2) expanded levels on
    percentiles of draws, and also gives ends that would be beyond the outermost draw.
    """
    if not np.isfinite(freedom):
        return np.ones(draws)
    return (freedom / random.chisquare(freedom, draws)) ** 0.5


# Share of draws that must have a score for an interval; a draw may leave out the slices that the score needs.
LEAST_DRAWS = 0.5

Move = Literal["difference", "factor"]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; of a score infinite ends if a set has one patient, NaN without a score."""

    value: float
    low: float
    high: float


def patient_draws(patients: tuple[str, ...], seed: int, draws: int) -> Float[np.ndarray, "draws slices"]:
    """The number of times that each slice occurs in each draw: as often as its patient was drawn.

    The first of `draws` + 1 rows is the set itself, each slice once. Sets of the same patients have the same draws, so
    that models are compared on them.
    """
    names, which = np.unique(np.array(patients, dtype=np.str_), return_inverse=True)
    many = len(names)
    drawn = rng(seed, "bootstrap", *names.tolist()).multinomial(many, np.full(many, 1 / many), size=draws)
    return np.concatenate([np.ones((1, many)), drawn])[:, which]


def estimate(
    values: Float[np.ndarray, " draws"],
    move: Move,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """A score and its interval: percentiles of draws that were shifted until their median is the score.

    `values` are the score itself, then that of each draw, NaN for draws without one; `limits` are the smallest and the
    largest possible score. Draws are moved by a difference also if a factor would change their sign.
    """
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    if len(drawn) == 0 or len(drawn) < LEAST_DRAWS * (len(values) - 1):
        return Estimate(value, -math.inf, math.inf)
    tail = 50 * (1 - CONFIDENCE)
    low, middle, high = (float(end) for end in np.percentile(drawn, [tail, 50, 100 - tail]))
    if move == "factor" and value * middle > 0:
        low, high = low * value / middle, high * value / middle
    else:
        low, high = low + value - middle, high + value - middle
    return Estimate(value, max(low, limits[0]), min(high, limits[1]))


# Values that a bound needs.
LEAST_VALUES = 3


def upper_bound(values: Sequence[float], alpha: float, least_spread: float = 0.0) -> float | None:
    """What the next of three or more about normal values exceeds with probability `alpha`; None for fewer."""
    known = np.asarray(values, dtype=np.float64)
    n = len(known)
    if n < LEAST_VALUES:
        return None
    spread = max(float(known.std(ddof=1)), least_spread)
    return float(known.mean() + stats.t.ppf(1 - alpha, n - 1) * spread * np.sqrt(1 + 1 / n))


def both_bounds(values: Sequence[float], alpha: float, least_spread: float = 0.0) -> tuple[float, float] | None:
    """Bounds that the next draw exceeds with probability `alpha`, half on either side; None of fewer than three."""
    high = upper_bound(values, alpha / 2, least_spread)
    low = upper_bound([-value for value in values], alpha / 2, least_spread)
    return None if high is None or low is None else (-low, high)
