"""The number of patients needed to show an effect, and the smallest effect that a number of patients can show.

Notable:
- The power is that of the test in use: Student's t over folds with inflated variance (`arm_scores.spread`), at the most
  conservative step of Holm's correction, 5 % divided by the number of arms. An arm has that power whatever the others
  show, and more if others are shown.
- More patients reduce one part of the variance. Only more seeds or folds reduce the luck of folds and runs. If that
  alone hides the effect, no number of patients is enough.
- Variances of a few folds are uncertain: every number comes with its range over the 95 % interval of the variance.
- The measured effect stands for the unknown true one. Effects that were selected because they are large are too large
  (Button et al. 2013), and the number of patients is then too small.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from crossmod.statistics.arm_scores import ArmScores, paired, satterthwaite, spread
from crossmod.statistics.intervals import CONFIDENCE, Estimate

POWER = 0.8

# Patients; a plan for more is not useful.
MOST = 1_000_000


@dataclass(frozen=True)
class Luck:
    """The part of a mean difference's variance that more patients do not reduce."""

    variance: float = 0.0  # of the mean difference, by translators, training sides and runs; 0 ignores it
    freedom: float = math.inf  # its degrees of freedom; infinite if it is known
    of_folds: bool = False  # whether folds are the independent units: the test then has their degrees of freedom
    inflation: float = 1.0  # factor on the total variance; see `arm_scores.fold_inflation`


NO_LUCK = Luck()


@dataclass(frozen=True)
class PowerEstimate:
    """A measured effect, and the patients needed to show it."""

    patients: int
    effect: float  # measured, arm minus base
    sd: float  # of a patient's difference, without the luck of the runs
    luck: Luck  # of folds and runs, at these folds and seeds; none with one fold and one seed, since it is unknown
    arms: int  # number of arms that are compared with the baseline
    # Each at the estimated variance, and its smallest and largest value over the 95 % interval of the variance.
    power: Estimate  # with these patients, for the measured effect
    needed: Estimate  # patients for 80 % power; infinite if no number is enough
    smallest: Estimate  # the effect that these patients show with 80 % power


def plan(base: ArmScores, arm: ArmScores, arms: int) -> PowerEstimate:
    """The patients that the measured effect needs at these folds and seeds, if `arms` are compared with the base."""
    base, (arm,), _ = paired(base, [arm])
    patients = len(base.folds)
    if patients < 2:
        nothing = Estimate(math.nan, math.nan, math.nan)
        return PowerEstimate(patients, math.nan, math.nan, NO_LUCK, arms, nothing, nothing, nothing)
    mean = float((arm.by_patient - base.by_patient).mean())
    parts = spread(base, arm)
    if parts.between is None:
        luck = run_luck(base, arm)
        sd = math.sqrt(max(parts.total - luck.variance, 0.0) * patients)
    else:
        # More patients in the same number of folds do not change what a fold has in common.
        folds, inside = len(np.unique(base.folds)), parts.between / parts.inflation
        luck = Luck(max(inside - parts.patients, 0.0), float(folds - 1), of_folds=True, inflation=parts.inflation)
        sd = math.sqrt(min(parts.patients, inside) * patients)
    level = holm_level(arms)
    factors = (1.0, *variance_factors(parts.freedom))
    cases = [(sd * factor**0.5, replace(luck, variance=luck.variance * factor)) for factor in factors]
    return PowerEstimate(
        patients,
        mean,
        sd,
        luck,
        arms,
        _range([power_of(mean, sd, patients, luck, level) for sd, luck in cases]),
        _range([patients_needed(mean, sd, luck, level=level) for sd, luck in cases]),
        _range([smallest_effect(sd, patients, luck, level=level) for sd, luck in cases]),
    )


def _range(values: list[float]) -> Estimate:
    return Estimate(values[0], min(values), max(values))


def holm_level(arms: int) -> float:
    """The level of the first and most conservative step of Holm's correction."""
    return (1 - CONFIDENCE) / max(arms, 1)


def variance_factors(freedom: float) -> tuple[float, float]:
    """The 95 % interval of a normal variance (chi-squared), divided by its estimate with these degrees of freedom."""
    if not math.isfinite(freedom):
        return 1.0, 1.0
    low, high = freedom / stats.chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], freedom)
    return float(low), float(high)


def run_luck(base: ArmScores, arm: ArmScores) -> Luck:
    """The runs' part of the variance of the mean difference, without the residual; all scores defined.

    The mean of one run over m patients varies by r^2 + e^2 / m; e^2 follows from how a seed's deviations differ among
    the patients of a fold. If each fold has one patient they cannot be separated, and all counts as luck.
    """
    variance, parts = 0.0, []
    for side in (base, arm):
        if side.seeds < 2:
            return NO_LUCK
        runs = np.var(side.shares, axis=0, ddof=1) / side.seeds
        parts += [(float(run), side.seeds - 1) for run in runs]
        variance += float(runs.sum()) - _residual_variance(side) / (side.seeds * len(side.folds))
    return Luck(max(variance, 0.0), satterthwaite(parts))


def _residual_variance(arm: ArmScores) -> float:
    """e^2: the variance of seeds' deviations within a fold; 0 if each fold has one patient."""
    rest = arm.values - arm.by_patient
    squares, degrees = 0.0, 0
    for fold in np.unique(arm.folds):
        inside = rest[:, arm.folds == fold]
        squares += float(((inside - inside.mean(axis=1, keepdims=True)) ** 2).sum())
        degrees += (inside.shape[1] - 1) * (arm.seeds - 1)
    return squares / degrees if degrees else 0.0


def power_of(effect: float, sd: float, patients: int, luck: Luck = NO_LUCK, level: float = 1 - CONFIDENCE) -> float:
    """Probability that the two-sided t test at a level excludes 0 (Cohen 1988; noncentral t); `sd` of patients."""
    of_patients = sd**2 / patients
    variance = (of_patients + luck.variance) * luck.inflation
    if variance == 0:
        return float(effect != 0)
    doubt = of_patients**2 / (patients - 1) + luck.variance**2 / luck.freedom
    freedom = luck.freedom if luck.of_folds else (of_patients + luck.variance) ** 2 / doubt if doubt > 0 else math.inf
    limit = float(stats.t.ppf(1 - level / 2, freedom))
    away = abs(effect) / math.sqrt(variance)
    # Further out the tail on the wrong side is 0 to many digits, and SciPy's noncentral t may be NaN.
    wrong = float(stats.nct.cdf(-limit, freedom, away)) if away < 5 else 0.0
    return float(stats.nct.sf(limit, freedom, away)) + wrong


def patients_needed(
    effect: float, sd: float, luck: Luck = NO_LUCK, power: float = POWER, level: float = 1 - CONFIDENCE
) -> float:
    """The smallest number of patients, 2 or more, that shows an effect with this power; infinite if none does."""
    if effect == 0 or power_of(effect, sd, MOST, luck, level) < power:
        return math.inf
    few, many = 1, 2
    while power_of(effect, sd, many, luck, level) < power:
        few, many = many, min(2 * many, MOST)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power_of(effect, sd, middle, luck, level) >= power else (middle, many)
    return float(many)


def smallest_effect(
    sd: float, patients: int, luck: Luck = NO_LUCK, power: float = POWER, level: float = 1 - CONFIDENCE
) -> float:
    """The effect that this number of patients shows with this power; infinite with fewer than two."""
    if patients < 2:
        return math.inf
    error = math.sqrt((sd**2 / patients + luck.variance) * luck.inflation)
    if error == 0:
        return 0.0
    # In units of the standard error the root depends on few numbers, and is never tiny.
    upper = 1.0
    while power_of(upper * error, sd, patients, luck, level) < power:
        upper *= 2
    found = optimize.root_scalar(
        lambda away: power_of(away * error, sd, patients, luck, level) - power, bracket=(0.0, upper)
    )
    return float(found.root) * error


def needed_in_words(found: PowerEstimate) -> str:
    """The estimate in one sentence."""
    if found.patients < 2:
        return "How many patients would be needed cannot be estimated from fewer than two."
    arms = f", {found.arms} arms after Holm" if found.arms > 1 else ""
    without = "" if found.luck.variance > 0 else ", the luck of folds and runs left out"
    needed, least = found.needed, found.smallest
    if math.isinf(needed.value):
        why = " in as few folds and runs" if found.luck.variance > 0 else ""
        some = f" (at best {needed.low:.0f})" if math.isfinite(needed.low) else ""
        first = f"No number of patients{why} would show an effect of {found.effect:+.3f}{some}"
    else:
        most = f"to {needed.high:.0f}" if math.isfinite(needed.high) else "or more, or no number is enough"
        first = f"An effect of {found.effect:+.3f} would need {needed.value:.0f} patients ({needed.low:.0f} {most})"
    return (
        f"{first}; {found.patients} show one of {least.value:.3f} ({least.low:.3f} to {least.high:.3f}), each with "
        f"{POWER:.0%} power{arms}{without}. Ranges: 95 % of the variance."
    )
