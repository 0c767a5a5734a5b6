"""The scores of an arm by patient, run and fold: the variance of differences, and patients without a defined score.

A score is modelled as the mean of the arm, plus a part common to the fold (its translator and training patients), plus
a part of the patient, plus a part that the run has in common for all patients of the fold, plus a residual:

    y[arm, seed, patient] = m[arm] + f[arm, fold] + p[arm, patient] + r[arm, seed, fold] + e[arm, seed, patient]

The mean over the patients with a score flatters an arm that finds nothing in its worst patients. Every comparison
therefore reports how many patients of each arm have no score, whether these numbers differ by more than chance, and the
difference if a missing score counts as the worst one (worst-rank analysis, Lachin 1999).

Notable:
- `r` does not average out over the patients of a fold, since it is the luck of one network. `f` does not average out
  over seeds either; on real patients it was the largest part (docs/log.md). If there are folds, they are the
  independent units.
- Folds are not quite independent: two of K folds have a share (K-2)/(K-1) of their training patients in common. The
  effect of this on all folds cannot be estimated from the folds (Bengio and Grandvalet 2004), so that a correlation is
  assumed; see `fold_inflation`.
- What both arms of a patient have in common, such as how difficult the patient is, cancels in the paired difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from crossmod.errors import InputError

# Between the gains of an arm in two folds. Two thirds of the variance between translators came with their seeds, which
# folds do not share; the training patients decide at most the other third, and two of five folds have three quarters of
# them in common: 1/3 x 3/4.
CORRELATION = 0.25


@dataclass(frozen=True, eq=False)
class ArmScores:
    """One metric of one arm, by seed and test patient."""

    name: str
    # Row `seed` of a fold's patients is from the run (fold, seed); NaN if undefined
    values: Float[np.ndarray, "seeds patients"]
    folds: Int[np.ndarray, " patients"]  # the fold in which each patient was tested

    @property
    def seeds(self) -> int:
        """Runs per fold."""
        return len(self.values)

    @property
    def by_patient(self) -> Float[np.ndarray, " patients"]:
        """The score of each patient, averaged over seeds."""
        return self.values.mean(axis=0)

    @property
    def shares(self) -> Float[np.ndarray, "seeds folds"]:
        """The part of each run in its seed's mean over all patients: the sum of its patients by the number of all."""
        names = np.unique(self.folds)
        member = (self.folds[:, None] == names).astype(np.float64)
        return self.values.astype(np.float64) @ member / max(len(self.folds), 1)

    @property
    def complete(self) -> Bool[np.ndarray, " patients"]:
        """Patients with a defined score in every run."""
        return np.asarray(np.isfinite(self.values).all(axis=0))

    def only(self, patients: Bool[np.ndarray, " patients"]) -> "ArmScores":
        """The scores of some patients."""
        return self if patients.all() else ArmScores(self.name, self.values[:, patients], self.folds[patients])


@dataclass(frozen=True)
class Spread:
    """Variance of a mean paired difference (arm minus base), in parts that add up."""

    patients: float  # from the choice of patients, some of whom gain more than others
    runs: float  # from the luck of the runs and the residual; 0 with one seed, since it is then unknown
    freedom: float  # degrees of freedom of the total; infinite if it is 0
    scale: float  # factor that gives redrawn patients the variance `patients`
    # Variance of the mean difference as estimated from the folds, all parts together, inflated for what folds share;
    # None with one fold
    between: float | None = None
    inflation: float = 1.0  # factor between `between` and the same for independent folds; 1 with one fold

    @property
    def total(self) -> float:
        """Variance of the mean difference."""
        return self.patients + self.runs if self.between is None else self.between

    @property
    def stretch(self) -> float:
        """Factor that gives redrawn patients and runs the total variance."""
        inside = self.patients + self.runs
        return (self.total / inside) ** 0.5 if inside > 0 else 1.0


def paired(base: ArmScores, arms: Sequence[ArmScores]) -> tuple[ArmScores, list[ArmScores], int]:
    """The arms without the patients for whom any of them has an undefined score, and the number of these patients."""
    for arm in arms:
        if not np.array_equal(arm.folds, base.folds):
            raise InputError(
                f"{arm.name} and {base.name}",
                found="different test patients or folds",
                expected="the same in both arms, in the same order",
                do="Use the same --fold, --folds and --split-seed for both.",
            )
    known = np.all([arm.complete for arm in (base, *arms)], axis=0)
    return base.only(known), [arm.only(known) for arm in arms], int((~known).sum())


def from_runs(name: str, runs: Mapping[tuple[int, int], Mapping[str, float]]) -> ArmScores:
    """The scores of an arm from those of its runs by fold and seed; seeds may differ between folds.

    Row i holds the runs of each fold's i-th seed. If folds have different numbers of seeds, the surplus is left out.
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
    values = np.ascontiguousarray(np.array(columns, dtype=np.float64).reshape(len(folds), rows).T)
    return ArmScores(name, values, np.array(folds, dtype=np.int64))


def spread(base: ArmScores, arm: ArmScores) -> Spread:
    """The variance of the mean paired difference, by the method of moments; two or more patients, all defined.

    The differences of patients also vary by the luck of the runs behind them, which is subtracted so that it is not
    counted twice (as in two-way clustering, Cameron, Gelbach and Miller 2011, eq. 2.9). Subtracted is the variance over
    patients of each seed's deviation from the mean of seeds; its expected value is exactly the part of the runs in the
    patients' differences. Degrees of freedom by Satterthwaite (1946).

    With two or more folds the total is the variance between the means of folds, with one degree of freedom less than
    folds (Cameron and Miller 2015, eq. 11 with its small-sample factor), times `fold_inflation`. It is valid whatever
    the patients of a fold share.
    """
    patients = len(base.folds)
    differences = arm.by_patient - base.by_patient
    whole = float(np.var(differences, ddof=1)) / patients
    parts: list[tuple[float, int]] = []
    luck = 0.0
    for side in (base, arm):
        if side.seeds < 2:
            continue
        shares = np.var(side.shares, axis=0, ddof=1) / side.seeds
        parts += [(float(share), side.seeds - 1) for share in shares]
        rest = side.values - side.by_patient
        luck += float(np.var(rest, axis=1, ddof=1).sum()) / (side.seeds * (side.seeds - 1) * patients)
    own = max(whole - luck, 0.0)
    runs = sum((part for part, _ in parts), 0.0)
    scale = (own / whole) ** 0.5 if whole > 0 else 0.0
    folds = np.unique(base.folds)
    if len(folds) < 2:
        return Spread(own, runs, satterthwaite([(own, patients - 1), *parts]), scale)
    away = differences - differences.mean()
    shares = np.array([away[base.folds == fold].sum() / patients for fold in folds])
    inflation = fold_inflation(len(folds))
    between = float((shares**2).sum()) * len(folds) / (len(folds) - 1) * inflation
    return Spread(own, runs, float(len(folds) - 1) if between > 0 else float("inf"), scale, between, inflation)


def fold_inflation(folds: int) -> float:
    """The variance of a mean over K folds, divided by that between folds over K.

    If two folds have the correlation rho, the variance between folds shows (1 - rho) of theirs, and that of their mean
    is (1/K + rho/(1 - rho)) times it (Nadeau and Bengio 2003, sec. 3, the corrected resampled t). They set rho to the
    share of test patients, 1/K; that falls with the number of folds, although folds then have more in common. Here rho
    is the same for any number of folds: `CORRELATION`.
    """
    return 1 + folds * CORRELATION / (1 - CORRELATION)


def satterthwaite(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of independent variances, each given with its own (Satterthwaite 1946)."""
    total = sum(part for part, _ in parts)
    return total**2 / sum(part**2 / degrees for part, degrees in parts) if total > 0 else float("inf")


@dataclass(frozen=True)
class Undefined:
    """Patients without a defined score in some run."""

    undefined_base: int  # their number in the base
    undefined_arm: int  # their number in the arm
    # Two-sided p value of McNemar's exact test of the difference of these numbers; 1 if no patient lacks a score in
    # one arm only
    undefined_p: float
    folds_lost: int  # folds that have scores, but no patient with a score in all runs of both arms


def undefined(base: ArmScores, arm: ArmScores) -> Undefined:
    """Count the patients without a score; both arms were tested on the same patients."""
    only_base, only_arm = int((arm.complete & ~base.complete).sum()), int((base.complete & ~arm.complete).sum())
    differ = only_base + only_arm
    p = float(stats.binomtest(only_arm, differ).pvalue) if differ else 1.0
    left = np.unique(arm.folds[base.complete & arm.complete])
    scored = np.unique(arm.folds[_with_some_score(base, arm)])
    return Undefined(int((~base.complete).sum()), int((~arm.complete).sum()), p, len(scored) - len(left))


def _with_some_score(base: ArmScores, arm: ArmScores) -> Bool[np.ndarray, " patients"]:
    """Patients with a score in some run of either arm; about others, whose slices have gaps, nothing is known."""
    return np.asarray(np.isfinite(base.values).any(axis=0) | np.isfinite(arm.values).any(axis=0))


def failures_as_worst(base: ArmScores, arm: ArmScores, worst: float) -> tuple[ArmScores, ArmScores]:
    """Both arms with `worst` for every undefined score, over the patients with a score in some run of either."""
    some = _with_some_score(base, arm)
    before, after = (
        ArmScores(side.name, np.where(np.isfinite(side.values), side.values, worst), side.folds).only(some)
        for side in (base, arm)
    )
    return before, after
