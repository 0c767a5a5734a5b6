"""What an arm adds, with its 95 % interval and its p, by redrawing patients and runs.

Notable:
- In simulations of 5 to 40 patients in one to five folds with two or three seeds, skewed, with translators alike and
  not, the intervals held the truth in 91 to 97 %; see docs/concepts/evidence.md.
- With one fold, what all its seeds share, as one translator, is counted no more than a patient's own gain: too little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.evaluate.arms import ArmScores, Spread, paired, refuse_other_patients, spread
from crossmod.evaluate.statistics import CONFIDENCE
from crossmod.evaluate.undefined import failures_as_worst, undefined, without_score, worst_value
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
        left_out: patients without a defined score in some run of either arm.
        undefined_base: how many of these the base has no score of.
        undefined_arm: how many of these the arm has no score of.
        undefined_p: that the two numbers differ by chance alone; see `Undefined`.
        folds_lost: folds of which no patient is left.
        worst: the same with failures counted as the worst score of any arm; None where there is no failure.
    """

    mean: float
    low: float
    high: float
    p: float
    patients: int
    seeds: int
    draws: int
    left_out: int = 0
    undefined_base: int = 0
    undefined_arm: int = 0
    undefined_p: float = 1.0
    folds_lost: int = 0
    worst: "Effect | None" = None


def effect(base: ArmScores, arm: ArmScores, seed: int, draws: int = DRAWS, *, higher_is_better: bool = True) -> Effect:
    """What an arm adds to `base`; see `effects`."""
    return effects(base, [arm], seed, draws, higher_is_better=higher_is_better)[0]


def effects(
    base: ArmScores, arms: Sequence[ArmScores], seed: int, draws: int = DRAWS, *, higher_is_better: bool = True
) -> list[Effect]:
    """What each arm adds to `base`, each over the patients with a defined score in both.

    Args:
        base: the arm that is compared to.
        arms: the same patients and folds.
        seed: of the draws; arms with the same patients are drawn together.
        draws: how many.
        higher_is_better: of the metric; False for distances. It decides what the worst score is.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    worst = worst_value([base, *arms], higher_is_better=higher_is_better)
    together: dict[bytes, list[int]] = {}
    for place, arm in enumerate(arms):
        refuse_other_patients(base, arm)
        together.setdefault((without_score(base) | without_score(arm)).tobytes(), []).append(place)
    found: dict[int, Effect] = {}
    for places in together.values():
        complete, chosen, left_out = paired(base, [arms[place] for place in places])
        for place, one in zip(places, _effects(complete, chosen, seed, draws), strict=True):
            found[place] = _with_failures(one, left_out, base, arms[place], worst, seed) if left_out else one
    return [found[place] for place in range(len(arms))]


def _with_failures(found: Effect, left_out: int, base: ArmScores, arm: ArmScores, worst: float, seed: int) -> Effect:
    """The effect with what there is to know of patients without a score."""
    counts = undefined(base, arm)
    filled = failures_as_worst(base, arm, worst)
    # Where both arms failed in all runs of all that are left out, nothing is added by counting them.
    told = len(filled[0].folds) > found.patients
    return replace(
        found,
        left_out=left_out,
        undefined_base=counts.base,
        undefined_arm=counts.arm,
        undefined_p=counts.p,
        folds_lost=counts.folds_lost,
        worst=_effects(filled[0], [filled[1]], seed, found.draws)[0] if told else None,
    )


def _effects(base: ArmScores, arms: Sequence[ArmScores], seed: int, draws: int) -> list[Effect]:
    """The effects of arms whose scores are all defined, by the same draws of patients and of the base's runs."""
    patients = len(base.folds)
    means = [float((arm.by_patient - base.by_patient).mean()) if patients else float("nan") for arm in arms]
    seeds = [min(base.seeds, arm.seeds) for arm in arms]
    if patients < 2:
        ends, p = (float("-inf"), float("inf")), float("nan")
        return [Effect(m, *ends, p, patients, s, draws) for m, s in zip(means, seeds, strict=True)]
    spreads = [spread(base, arm) for arm in arms]
    moved = deviations(base, arms, spreads, seed, draws)
    found = []
    for arm, mean, count, part, drawn in zip(arms, means, seeds, spreads, moved, strict=True):
        wide = mean + drawn * student(part.freedom, draws, rng(seed, "width", arm.name))
        found.append(Effect(mean, *_ends(wide), _p(wide), patients, count, draws))
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
