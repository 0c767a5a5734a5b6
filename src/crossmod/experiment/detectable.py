"""Which effect a design can detect, said before days are spent on it.

The variances are those of earlier experiments (docs/log.md, in Dice): between the folds of 14 real patients, where
translators and training sides differ, and, as the other end of the range, on the phantom. Other data, image sizes and
trainings have others: the answer is a range, and not more than a guide.
"""

from dataclasses import dataclass

from crossmod.experiment.plan import Plan
from crossmod.statistics.arm_scores import fold_inflation
from crossmod.statistics.power import Luck, holm_level, smallest_effect

# SD of what the patients of a fold gain in common: least on the phantom, most on real patients.
FOLD_SD = (0.01, 0.06)
# Share of that variance which another seed of the translator changes.
OF_SEED = 0.67
# SD of a patient's own gain, of the luck of a run, and of the rest of a patient in a run.
OWN_SD, RUN_SD, REST_SD = 0.03, 0.01, 0.02
# A fold of fewer patients is no test.
LEAST_PATIENTS = 2


@dataclass(frozen=True)
class Size:
    """How large an experiment is.

    Args:
        patients: tested on, all folds together.
        folds: tested on; 1 also of a split by slice.
        seeds: of an arm in each fold.
        arms: compared with one baseline, at the most.
        retrain: whether each seed has a translator of its own.
    """

    patients: int
    folds: int
    seeds: int
    arms: int
    retrain: bool


def size_of(plan: Plan) -> Size:
    """The size of a planned experiment."""
    baselines = [arm.baseline for arm in plan.arms.values() if arm.baseline is not None]
    return Size(
        patients=len({patient for people, _ in plan.tested.values() for patient in people}),
        folds=len(plan.tested),
        seeds=len(plan.design.seeds),
        arms=max((baselines.count(base) for base in set(baselines)), default=0),
        retrain=plan.design.retrain,
    )


def smallest(size: Size, fold_sd: float) -> float:
    """The smallest difference in Dice that is shown with 80 % power, at Holm's most conservative step.

    Args:
        size: of the experiment; two patients and two seeds or more.
        fold_sd: SD of what the patients of a fold gain in common.
    """
    # Of both arms: the luck of each run, and the rest of each patient in it.
    runs = 2 * (RUN_SD**2 / size.folds + REST_SD**2 / size.patients) / size.seeds
    if size.folds < 2:
        # Of one translator: its luck is no part of what is asked.
        luck = Luck(runs, 2.0 * (size.seeds - 1))
    else:
        averaged = 1 - OF_SEED + OF_SEED / size.seeds if size.retrain else 1.0
        common = fold_sd**2 * averaged / size.folds
        luck = Luck(common + runs, size.folds - 1.0, of_folds=True, inflation=fold_inflation(size.folds))
    return smallest_effect(OWN_SD, size.patients, luck, level=holm_level(size.arms))


def detectable_in_words(size: Size) -> list[str]:
    """Lines for people; none where there is nothing to compare."""
    if not size.arms:
        return []
    if size.seeds < 2 or size.patients < 2:
        few = "one seed an arm" if size.seeds < 2 else "one test patient"
        return [f"No effect can be shown with {few}, however large."]
    count = f"{size.patients} patients, {size.folds} fold{'s' * (size.folds > 1)}, {size.seeds} seeds"
    arms = f", {size.arms} arms after Holm's correction" if size.arms > 1 else ""
    lines = [f"Effects that {count}{arms} show with 80 % power: {_span(size)}. Smaller ones are likely to be missed."]
    if size.folds < 2:
        return [*lines, "With one fold the answer holds for its one trained translator only."]
    more = 2 * size.folds
    if more * LEAST_PATIENTS <= size.patients:
        other = Size(size.patients, more, size.seeds, size.arms, size.retrain)
        lines.append(f"With {more} folds of the same patients: {_span(other)}.")
    low, high = FOLD_SD
    return [
        *lines,
        f"This assumes what earlier experiments had: patients of one fold gain in common with an SD of {low:g} to "
        f"{high:g}, each by itself with {OWN_SD:g}.",
    ]


def _span(size: Size) -> str:
    low, high = (smallest(size, fold_sd) for fold_sd in FOLD_SD)
    if low >= 1:
        return "none, since a difference in 3D Dice is below 1"
    if size.folds < 2:
        return f"3D Dice by {low:.3f} or more"
    return f"3D Dice by {low:.3f} to {'more than 1' if high >= 1 else f'{high:.3f}'} or more"
