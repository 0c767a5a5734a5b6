"""Patients and runs drawn with repetition, the same in several arms: how their mean differences move together.

The interval of one arm needs no draws (`evaluate.effects`); which of several arms is the best does.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from crossmod.evaluate.arms import ArmScores, Spread
from crossmod.seeds import rng

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
