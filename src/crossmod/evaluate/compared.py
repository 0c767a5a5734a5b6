"""Arms compared with their baseline by one score: the same way for an experiment and for runs that somebody names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.effects import DRAWS, Effect, effects, wilcoxon
from crossmod.evaluate.facts import Facts
from crossmod.evaluate.statistics import Verdict
from crossmod.evaluate.verdicts import holm, in_words, obstacle, verdict

SEED = 0


@dataclass(frozen=True)
class Metric:
    """A score of a patient, as reports write it.

    Args:
        name: for people.
        unit: where it has one.
        digits: after the point.
        higher_is_better: False for distances and differences.
    """

    name: str
    unit: str = ""
    digits: int = 3
    higher_is_better: bool = True


METRICS: Mapping[str, Metric] = {
    "dice": Metric("3D Dice"),
    "iou": Metric("3D IoU"),
    "hd95": Metric("HD95", "mm", 1, higher_is_better=False),
    "assd": Metric("ASSD", "mm", 1, higher_is_better=False),
    "mssd": Metric("MSSD", "mm", 1, higher_is_better=False),
    "ravd": Metric("RAVD", "%", 1, higher_is_better=False),
    "slice_dice": Metric("slice Dice"),
}


@dataclass(frozen=True)
class Compared:
    """An arm compared with its baseline.

    Args:
        effect: its difference.
        holm: p of the effect after Holm's correction for all arms with the same baseline.
        wilcoxon: p of Wilcoxon's signed-rank test, which knows nothing of the luck of runs.
        wilcoxon_holm: the same after Holm's correction.
        arms: how many arms are compared with the baseline.
        facts: what the verdict has to know beside the numbers.
        verdict: what is shown.
        obstacle: why it cannot be compared; empty where it can.
        sentence: the verdict in words.
    """

    effect: Effect
    holm: float
    wilcoxon: float
    wilcoxon_holm: float
    arms: int
    facts: Facts
    verdict: Verdict
    obstacle: str
    sentence: str


def compare_arms(
    base: ArmScores, arms: Sequence[ArmScores], facts: Sequence[Facts], metric: str, draws: int = DRAWS
) -> list[Compared]:
    """Compare all arms that have one baseline with it, each corrected for the number of all.

    Args:
        base: the baseline.
        arms: the others, by the same patients and folds.
        facts: of each arm.
        metric: a name of `METRICS`.
        draws: of patients and runs, for the intervals.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    how = METRICS[metric]
    better = how.higher_is_better
    found = effects(base, arms, SEED, draws, higher_is_better=better)
    tests = [wilcoxon(base, arm) for arm in arms]
    adjusted, of_tests = holm(np.array([one.p for one in found])), holm(np.array(tests))
    compared = []
    for place, (arm, one, about) in enumerate(zip(arms, found, facts, strict=True)):
        p = float(adjusted[place])
        words = in_words(
            arm.name, one, p, len(arms), about,
            metric=how.name, unit=how.unit, digits=how.digits, higher_is_better=better,
        )  # fmt: skip
        said = verdict(one, p, about, higher_is_better=better)
        more = (tests[place], float(of_tests[place]), len(arms), about, said, obstacle(one, about), words)
        compared.append(Compared(one, p, *more))
    return compared


def failures_in_words(effect: Effect, metric: str) -> str:
    """What the effect is over how many patients, and with the failures; empty where every patient has a score.

    Args:
        effect: of an arm.
        metric: a name of `METRICS`.
    """
    if not effect.left_out:
        return ""
    how = METRICS[metric]
    everyone = effect.patients + effect.left_out
    known = (
        f"{how.name} is defined for {everyone - effect.undefined_base} of {everyone} patients without synthetic slices "
        f"and for {everyone - effect.undefined_arm} with them; compared are the {effect.patients} that have it in both."
    )
    worst = effect.worst
    if worst is None:
        return known
    mean, low, high = (f"{value:+.{how.digits}f}" for value in (worst.mean, worst.low, worst.high))
    ends = f" [{low}, {high}]" if np.isfinite([worst.low, worst.high]).all() else ""
    unit = f" {how.unit}" if how.unit else ""
    return f"{known} With a missing value counted as the worst one: {mean}{ends}{unit} ({worst.patients} patients)."
