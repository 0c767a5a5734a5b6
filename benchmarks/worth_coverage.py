"""How often the interval of the worth includes the true worth: the numbers of docs/concepts/evidence.md.

    python benchmarks/worth_coverage.py [EXPERIMENTS]

Each experiment draws MR only with 1, 2, 4, 8 and 10 labelled patients and one arm with synthetic slices, from a known
curve. All arms share the difficulty of patients; each has its own part of a fold, of a patient, of a run, and a
residual. Prints, by design and curve, the true worth and the shares of intervals that include it and exclude 0.
"""

import sys

import numpy as np

from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.worth import Amount, number_reaching, worth

NUMBERS = (1, 2, 4, 8, 10)
CURVES = {
    "rising": (0.5, 0.6, 0.7, 0.75, 0.76),
    "saturating": (0.5, 0.7, 0.75, 0.75, 0.75),
    "flat": (0.7, 0.7, 0.7, 0.7, 0.7),
    "steep": (0.3, 0.5, 0.7, 0.8, 0.82),
}
# Curve, labelled patients, and Dice of the arm.
CASES = (
    ("rising", 2, 0.65), ("rising", 2, 0.6), ("rising", 1, 0.74), ("rising", 4, 0.72), ("rising", 8, 0.7),
    ("rising", 4, 0.8), ("rising", 1, 0.45), ("saturating", 2, 0.73), ("saturating", 4, 0.75), ("steep", 2, 0.6),
    ("flat", 2, 0.7), ("flat", 4, 0.71),
)  # fmt: skip
# Folds, patients.
DESIGNS = ((2, 10), (3, 14), (5, 20))
SEEDS, OWN_SD, RUN_SD, REST_SD = 3, 0.03, 0.01, 0.02


def experiment(
    rng: np.random.Generator, means: dict[float | int, float], dice: float, folds: int, patients: int, fold_sd: float
) -> tuple[dict[float | int, ArmScores], ArmScores]:
    """MR only by number, and the arm; the SDs of folds and patients are those of a difference."""
    where = np.sort(np.arange(patients) % folds)
    difficulty = rng.normal(0, 0.05, patients)

    def arm(name: str, mean: float) -> ArmScores:
        common = rng.normal(0, fold_sd / 2**0.5, folds)[where] + rng.normal(0, OWN_SD / 2**0.5, patients)
        runs = rng.normal(0, RUN_SD, (SEEDS, folds))[:, where] + rng.normal(0, REST_SD, (SEEDS, patients))
        return ArmScores(name, mean + difficulty + common + runs, where)

    return {number: arm(f"MR {number}", mean) for number, mean in means.items()}, arm("arm", dice)


def _end(amount: Amount) -> float:
    return {"=": float(amount.value), "<": -np.inf, ">": np.inf}[amount.relation]


def main(experiments: int) -> None:
    """Print a line per design and case."""
    for folds, patients in DESIGNS:
        for fold_sd in (0.0, 0.03):
            print(f"{folds} folds, {patients} patients, SD of the gain common to a fold {fold_sd:g}", flush=True)
            for name, labelled, dice in CASES:
                curve = np.array(CURVES[name])
                true = float(number_reaching((curve - dice)[:, None], np.array(NUMBERS, float))[0]) - labelled
                ends = []
                for number in range(experiments):
                    rng = np.random.default_rng([number, folds, round(100 * fold_sd)])
                    means = dict(zip(NUMBERS, CURVES[name], strict=True))
                    mr_only, arm = experiment(rng, {**means}, dice, folds, patients, fold_sd)
                    found = worth(mr_only, arm, labelled, draws=1000)
                    ends.append((_end(found.low), _end(found.high)))
                low, high = np.array(ends).T
                inside = np.mean((low <= true + 1e-9) & (true - 1e-9 <= high))
                shown = np.mean((low > 0) | (high < 0))
                where = f"{name}, {labelled} labelled, Dice {dice:g}, true worth {true:.2f}"
                print(f"  {where}: includes it {inside:.1%}, excludes 0 {shown:.1%}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
