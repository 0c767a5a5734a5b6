"""The scores of an arm by patient, run and fold: their spread, and patients without a defined score.

A score is taken to be the arm's mean, plus what the fold has in common (its translator, its training side), plus the
patient's own deviation, plus what its run shares with all patients of the fold, plus a rest:

    y[arm, seed, patient] = m[arm] + f[arm, fold] + p[arm, patient] + r[arm, seed, fold] + e[arm, seed, patient]

The mean over the others flatters an arm that finds nothing in its worst patients. Therefore three things are known of
every comparison: how many patients each arm has no score of, whether these numbers differ by more than chance, and what
the difference is where such a failure counts as the worst score (worst-rank analysis, Lachin 1999).

Notable:
- `r` does not average out over the patients of a fold: it is one network's luck. Nor does `f`, over its seeds either:
  on real patients it was seen to be the largest part (docs/log.md). Folds are what is independent, where there are any.
- Folds are not quite independent either: two of K folds train on mostly the same patients, a share (K-2)/(K-1) of each
  training side. Nothing that is estimated from the folds shows what that puts into all of them (Bengio and Grandvalet
  2004): a correlation is assumed; see `fold_inflation`.
- What is the same in both arms of a patient, as how hard the patient is, is gone from the paired difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from crossmod.errors import InputError

# Of what an arm gains in two folds. Two thirds of the variance between translators came with their seeds, which folds
# do not share; training patients decide the other third at the most, and two of five folds have three quarters of them
# in common: 1/3 x 3/4.
CORRELATION = 0.25


@dataclass(frozen=True, eq=False)
class ArmScores:
    """One metric of one arm, by seed and test patient.

    Args:
        name: what was trained on.
        values: the run of (fold, seed) gave row `seed` of that fold's patients; nan where it is undefined.
        folds: the fold that each patient was tested in.
    """

    name: str
    values: Float[np.ndarray, "seeds patients"]
    folds: Int[np.ndarray, " patients"]

    @property
    def seeds(self) -> int:
        """How many runs a fold has."""
        return len(self.values)

    @property
    def by_patient(self) -> Float[np.ndarray, " patients"]:
        """Each patient's score, averaged over seeds."""
        return self.values.mean(axis=0)

    @property
    def shares(self) -> Float[np.ndarray, "seeds folds"]:
        """What each run adds to its seed's mean over all patients: the sum over its patients, by their total number."""
        names = np.unique(self.folds)
        member = (self.folds[:, None] == names).astype(np.float64)
        return self.values.astype(np.float64) @ member / max(len(self.folds), 1)


@dataclass(frozen=True)
class Spread:
    """Variance of a mean paired difference (arm minus base), in parts that add up.

    Args:
        patients: from the choice of patients: that some gain more than others.
        runs: from the runs: their luck and the rest; 0 with one seed, since it cannot be told.
        freedom: degrees of freedom of the total; infinite where it is 0.
        scale: by what a redrawing of patients is stretched so that its variance is `patients`.
        between: variance of the mean difference as the folds show it, all parts together, inflated for what folds
            share; None with one fold.
        inflation: by what `between` is larger than for independent folds; 1 with one fold.
    """

    patients: float
    runs: float
    freedom: float
    scale: float
    between: float | None = None
    inflation: float = 1.0

    @property
    def total(self) -> float:
        """Variance of the mean difference."""
        return self.patients + self.runs if self.between is None else self.between

    @property
    def stretch(self) -> float:
        """By what redrawn patients and runs are stretched so that their variance is the total."""
        inside = self.patients + self.runs
        return (self.total / inside) ** 0.5 if inside > 0 else 1.0


def paired(base: ArmScores, arms: Sequence[ArmScores]) -> tuple[ArmScores, list[ArmScores], int]:
    """The arms without the patients that any of them has an undefined score of, and how many those are.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    for arm in arms:
        refuse_other_patients(base, arm)
    known = np.all([np.isfinite(arm.values).all(axis=0) for arm in (base, *arms)], axis=0)
    return _only(base, known), [_only(arm, known) for arm in arms], int((~known).sum())


def refuse_other_patients(base: ArmScores, arm: ArmScores) -> None:
    """Refuse arms that cannot be paired.

    Raises:
        InputError: they were not tested on the same patients in the same folds.
    """
    if not np.array_equal(arm.folds, base.folds):
        raise InputError(
            f"{arm.name} and {base.name}",
            found="different test patients or folds",
            expected="the same in both arms, in the same order",
            do="Use the same --fold, --folds and --split-seed for both.",
        )


def from_runs(name: str, runs: Mapping[tuple[int, int], Mapping[str, float]]) -> ArmScores:
    """The scores of an arm from those of its runs; seeds may differ from fold to fold.

    Row i holds the runs of each fold's i-th seed. Where folds have different numbers of seeds, the ones beyond the
    fold with the fewest are left out.

    Args:
        name: of the arm.
        runs: by fold and seed, the score of each test patient, nan where it is undefined; all seeds of a fold have the
            same patients.

    Raises:
        InputError: two runs of a fold were tested on different patients.
    """
    by_fold: dict[int, list[Mapping[str, float]]] = {}
    for (fold, _), table in sorted(runs.items()):
        by_fold.setdefault(fold, []).append(table)
    rows = min(map(len, by_fold.values()), default=0)
    columns, folds = [], []
    for fold, tables in by_fold.items():
        patients = sorted(tables[0])
        if any(set(table) != set(patients) for table in tables):
            raise InputError(
                f"{name}, fold {fold}",
                found="runs that were tested on different patients",
                expected="the same patients in all runs of a fold",
                do="Use the same --fold, --folds and --split-seed for all.",
            )
        columns += [[table[patient] for table in tables[:rows]] for patient in patients]
        folds += [fold] * len(patients)
    return ArmScores(
        name, np.array(columns, dtype=np.float64).reshape(len(folds), rows).T, np.array(folds, dtype=np.int64)
    )


def _only(arm: ArmScores, known: Bool[np.ndarray, " patients"]) -> ArmScores:
    return arm if known.all() else ArmScores(arm.name, arm.values[:, known], arm.folds[known])


def spread(base: ArmScores, arm: ArmScores) -> Spread:
    """The variance of the mean paired difference, by the method of moments.

    The patients' differences vary by more than the patients: also by the luck of the runs behind them, which is taken
    off so that it is not counted twice (as in clustering two ways, Cameron, Gelbach and Miller 2011, eq. 2.9). What
    is taken off is the variance over patients of each seed's deviation from the mean of seeds, so that its expected
    value is exactly what the runs put into the patients' differences. Degrees of freedom by Satterthwaite (1946).

    With two folds or more the total is the variance between folds' means, with one degree of freedom less than folds
    (Cameron and Miller 2015, eq. 11 with its small-sample factor), times `fold_inflation`: it holds whatever the
    patients of a fold share.

    Args:
        base: two patients or more, all defined.
        arm: the same patients; its seeds need not be as many.
    """
    patients = len(base.folds)
    differences = arm.by_patient - base.by_patient
    whole = float(np.var(differences, ddof=1)) / patients
    parts: list[tuple[float, int]] = []
    luck = 0.0
    for one in (base, arm):
        if one.seeds < 2:
            continue
        shares = np.var(one.shares, axis=0, ddof=1) / one.seeds
        parts += [(float(share), one.seeds - 1) for share in shares]
        rest = one.values - one.by_patient
        luck += float(np.var(rest, axis=1, ddof=1).sum()) / (one.seeds * (one.seeds - 1) * patients)
    own = max(whole - luck, 0.0)
    runs = sum((part for part, _ in parts), 0.0)
    scale = (own / whole) ** 0.5 if whole > 0 else 0.0
    folds = np.unique(base.folds)
    if len(folds) < 2:
        return Spread(own, runs, _freedom([(own, patients - 1), *parts]), scale)
    away = differences - differences.mean()
    shares = np.array([away[base.folds == fold].sum() / patients for fold in folds])
    inflation = fold_inflation(len(folds))
    between = float((shares**2).sum()) * len(folds) / (len(folds) - 1) * inflation
    return Spread(own, runs, float(len(folds) - 1) if between > 0 else float("inf"), scale, between, inflation)


def fold_inflation(folds: int) -> float:
    """By what the variance of a mean over K folds is larger than that between folds divided by K.

    Where two folds correlate by rho, the variance between folds shows (1 - rho) of theirs, and that of their mean is
    (1/K + rho/(1 - rho)) times it (Nadeau and Bengio 2003, sec. 3, the corrected resampled t). They take rho to be the
    test side's share of the patients, 1/K; that is less the more folds there are, while what folds have in common is
    more. Here rho is the same for any number of folds: see `CORRELATION`.
    """
    return 1 + folds * CORRELATION / (1 - CORRELATION)


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Satterthwaite's degrees of freedom of a sum of independent variances."""
    total = sum(part for part, _ in parts)
    return total**2 / sum(part**2 / degrees for part, degrees in parts) if total > 0 else float("inf")


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
