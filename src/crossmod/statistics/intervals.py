"""Confidence intervals, bootstrap over patients, folds and seeds, and prediction bounds of one more patient.

The interval of one arm needs no draws (`evaluate.effects`); which of several arms is the best does.

Notable:
- Patients are drawn, not slices: slices of one patient are alike.
- Draws repeat patients, and sets that hold fewer different ones lie further apart: distances of draws are biased
  upward, often beyond the distance itself. The draws are therefore moved until their median is the score: those of a
  score by a difference, those of a ratio by a factor. In simulations of the Fréchet distance, with 5 to 12 patients a
  side and with near sets and far ones, plain percentiles held a distance's expected value in 33 to 95 % of trials,
  moved ones in 93 to 100 %; a ratio's in 45 to 97 %, moved ones in 87 to 94 %.
- With a handful of patients any bootstrap is rough.
- For n independent draws of a normal distribution the next one lies above mean + t s sqrt(1 + 1/n) with probability
  alpha, where t is the upper quantile of Student's distribution with n - 1 degrees of freedom (Hahn and Meeker,
  Statistical Intervals, 1991, Sec. 4.8). Distances and sizes are taken as logarithms first, since both are positive and
  skewed.
- The largest of n known values is exceeded by the next one with probability 1 / (n + 1) whatever the distribution
  (conformal prediction), so that a bound for one patient in 20 without an assumed distribution needs 19 of them, and
  for several checks at once as many times more. Trainings have fewer: hence Student's bound.
- It needs three values. With few it lies far out, as it must.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.stats import t

from crossmod.seeds import rng
from crossmod.statistics.arm_scores import ArmScores, Spread

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


DRAWS = 10_000


def deviations(
    base: ArmScores, arms: Sequence[ArmScores], spreads: Sequence[Spread], seed: int, draws: int
) -> Float[np.ndarray, "arms draws"]:
    """By how much redrawn patients and runs move the mean difference of each arm, all arms together.

    Patients are redrawn with repetition, the same in all arms (Efron 1979), and, apart from that, each fold's seeds in
    each arm: the same seeds for all patients of the fold, since a run's luck is theirs in common, others for every
    fold and arm. Redrawing n things moves their mean by (n-1)/n of its variance, so that 3 seeds would show two thirds
    of their luck; each part is stretched to its unbiased variance (Davison and Hinkley 1997, sec. 3.8).

    Where there are folds, the sum is stretched once more, to the variance of `spread`: a fold's patients share a
    translator and a training side, which no redrawing of them knows of.

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


# Where fewer of the draws than this have a score, since it needs slices that they left out, there is no interval.
LEAST_DRAWS = 0.5

Move = Literal["difference", "factor"]


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % interval over patients, which has no ends where a set is of one patient.

    nan where there is no score; see `distribution`.
    """

    value: float
    low: float
    high: float


def patient_draws(patients: tuple[str, ...], seed: int, draws: int) -> Float[np.ndarray, "draws slices"]:
    """How often each slice comes in each draw: as often as its patient was drawn.

    The first of `draws` + 1 is the set itself, each slice once. Sets of the same patients are drawn alike, so that
    models are compared on the same draws.

    Args:
        patients: whose each slice is.
        seed: of the draws.
        draws: how many.
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
    """A score and its interval: percentiles of draws that were moved until their median is the score.

    Args:
        values: the score itself, then that of each draw; nan for draws that have none.
        move: by what draws are moved; by a difference also where a factor would change their sign.
        limits: what the score can be at the least and at the most.
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
