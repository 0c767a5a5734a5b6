"""How many patients it would take to show an effect, and how small an effect so many patients can show.

Notable:
- Patients make one part of the chance smaller. The luck of the runs stays as large as it is, however many patients are
  tested: only more seeds or folds make it smaller. Where it alone hides the effect, no number of patients is enough.
- The measured effect is put in place of the true one, which nobody knows. Effects that were looked for because they
  were large are too large (Button et al. 2013), and the number of patients is then too small.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from crossmod.evaluate.arms import ArmScores, paired, spread
from crossmod.evaluate.statistics import CONFIDENCE

POWER = 0.8

# More is no plan.
MOST = 1_000_000


@dataclass(frozen=True)
class Luck:
    """The part of a mean difference's variance that patients do not make smaller.

    Args:
        variance: of the mean difference, by translators, training sides and runs; 0 leaves it out.
        freedom: the degrees of freedom that it was told with; infinite where it is known.
        of_folds: whether folds are what is independent: then their degrees of freedom are those of the test.
    """

    variance: float = 0.0
    freedom: float = math.inf
    of_folds: bool = False


NO_LUCK = Luck()


@dataclass(frozen=True)
class Plan:
    """What was measured, and what it would take.

    Args:
        patients: that there are.
        effect: measured, arm minus base.
        sd: of a patient's difference, the luck of the runs left out.
        luck: of folds and runs, at these folds and seeds; with one fold and one seed nothing, since it cannot be told.
        needed: patients for 80 % power at two-sided 5 %; infinite where no number is enough.
        smallest: the effect that the patients there are show with 80 % power.
    """

    patients: int
    effect: float
    sd: float
    luck: Luck
    needed: float
    smallest: float


def plan(base: ArmScores, arm: ArmScores) -> Plan:
    """Patients that the measured effect needs, with as many folds and seeds as there are.

    Args:
        base: the arm that is compared to.
        arm: the same patients and folds.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    base, (arm,), _ = paired(base, [arm])
    patients = len(base.folds)
    if patients < 2:
        return Plan(patients, math.nan, math.nan, NO_LUCK, math.nan, math.inf)
    mean = float((arm.by_patient - base.by_patient).mean())
    parts = spread(base, arm)
    if parts.between is None:
        luck = run_luck(base, arm)
        sd = math.sqrt(max(parts.total - luck.variance, 0.0) * patients)
    else:
        # More patients in as many folds: what a fold has in common stays as large.
        luck = Luck(max(parts.between - parts.patients, 0.0), float(len(np.unique(base.folds)) - 1), of_folds=True)
        sd = math.sqrt(parts.patients * patients)
    return Plan(patients, mean, sd, luck, patients_needed(mean, sd, luck), smallest_effect(sd, patients, luck))


def run_luck(base: ArmScores, arm: ArmScores) -> Luck:
    """The runs' part of the variance of the mean difference, less what it holds of the rest.

    Of one run, the mean over m patients varies by r^2 + e^2 / m; e^2 is told by how a seed's deviations differ among
    the patients of a fold. Where each fold has one patient they cannot be told apart, and all is taken to be luck.

    Args:
        base: two patients or more, all defined.
        arm: the same patients.
    """
    variance, parts = 0.0, []
    for one in (base, arm):
        if one.seeds < 2:
            return NO_LUCK
        runs = np.var(one.shares, axis=0, ddof=1) / one.seeds
        parts += [(float(run), one.seeds - 1) for run in runs]
        variance += float(runs.sum()) - _rest(one) / (one.seeds * len(one.folds))
    whole = sum(part for part, _ in parts)
    freedom = whole**2 / sum(part**2 / degrees for part, degrees in parts) if whole > 0 else math.inf
    return Luck(max(variance, 0.0), freedom)


def _rest(arm: ArmScores) -> float:
    """e^2: the variance of seeds' deviations within a fold; 0 where each fold has one patient."""
    rest = arm.values - arm.by_patient
    squares, degrees = 0.0, 0
    for fold in np.unique(arm.folds):
        inside = rest[:, arm.folds == fold]
        squares += float(((inside - inside.mean(axis=1, keepdims=True)) ** 2).sum())
        degrees += (inside.shape[1] - 1) * (arm.seeds - 1)
    return squares / degrees if degrees else 0.0


def power_of(effect: float, sd: float, patients: int, luck: Luck = NO_LUCK) -> float:
    """Probability that the two-sided t test at 5 % leaves 0 out (Cohen 1988; noncentral t).

    Args:
        effect: the true mean difference.
        sd: of a patient's difference.
        patients: how many, 2 or more.
        luck: of the runs; without it, this is the paired t test.
    """
    of_patients = sd**2 / patients
    variance = of_patients + luck.variance
    if variance == 0:
        return float(effect != 0)
    doubt = of_patients**2 / (patients - 1) + luck.variance**2 / luck.freedom
    freedom = luck.freedom if luck.of_folds else variance**2 / doubt if doubt > 0 else math.inf
    limit = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    away = abs(effect) / math.sqrt(variance)
    # The tail on the wrong side is 0 to many digits there, and SciPy's noncentral t may be nan that far out.
    wrong = float(stats.nct.cdf(-limit, freedom, away)) if away < 5 else 0.0
    return float(stats.nct.sf(limit, freedom, away)) + wrong


def patients_needed(effect: float, sd: float, luck: Luck = NO_LUCK, power: float = POWER) -> float:
    """The smallest number of patients, 2 or more, that shows an effect with this power; infinite where none does."""
    if effect == 0 or power_of(effect, sd, MOST, luck) < power:
        return math.inf
    few, many = 1, 2
    while power_of(effect, sd, many, luck) < power:
        few, many = many, min(2 * many, MOST)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power_of(effect, sd, middle, luck) >= power else (middle, many)
    return float(many)


def smallest_effect(sd: float, patients: int, luck: Luck = NO_LUCK, power: float = POWER) -> float:
    """The effect that so many patients show with this power; infinite with fewer than two."""
    if patients < 2:
        return math.inf
    error = math.sqrt(sd**2 / patients + luck.variance)
    if error == 0:
        return 0.0
    upper = error
    while power_of(upper, sd, patients, luck) < power:
        upper *= 2
    found = optimize.root_scalar(lambda effect: power_of(effect, sd, patients, luck) - power, bracket=(0.0, upper))
    return float(found.root)


def needed_in_words(found: Plan) -> str:
    """One sentence."""
    if found.patients < 2:
        return "How many patients would be needed cannot be told from fewer than two."
    if math.isinf(found.needed):
        why = " in as few folds and runs" if found.luck.variance > 0 else ""
        return f"No number of patients{why} would show an effect of {found.effect:+.3f}."
    without = "" if found.luck.variance > 0 else ", the luck of folds and runs left out"
    return (
        f"An effect of {found.effect:+.3f} would need {found.needed:.0f} patients ({POWER:.0%} power{without}); "
        f"{found.patients} show one of {found.smallest:.3f}."
    )
