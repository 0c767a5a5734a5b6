"""Arms compared with their baseline, the same way for an experiment and for runs named by the user.

Notable:
- The main score has Holm's correction over the arms of a baseline. All other scores of all these arms are one family of
  secondary tests: Holm's correction over all of them, and none may show anything of an arm whose main test does not.
- So in 5 % of experiments without any effect, at most, is anything false shown by any score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.effects import Effect, effects, wilcoxon
from crossmod.evaluate.facts import Facts
from crossmod.evaluate.statistics import Verdict
from crossmod.evaluate.verdicts import gated, holm, in_words, obstacle, verdict

MAIN = "dice"


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
    """An arm compared with its baseline by one score.

    Args:
        effect: its difference.
        holm: p of the effect after correction.
        wilcoxon: p of Wilcoxon's signed-rank test, which knows nothing of the luck of runs.
        wilcoxon_holm: the same after Holm's correction over the arms.
        arms: how many arms are compared with the baseline.
        facts: what the verdict has to know beside the numbers.
        verdict: what is shown.
        obstacle: why it cannot be compared; empty where it can.
        sentence: the verdict in words.
        failures: what is known of patients without a score; empty where all have one.
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
    failures: str


def compare_arms(
    base: Mapping[str, ArmScores], arms: Sequence[Mapping[str, ArmScores]], facts: Sequence[Facts]
) -> dict[str, list[Compared]]:
    """By metric, each arm that has one baseline compared with it.

    Args:
        base: the baseline's scores by metric; the main one among them.
        arms: those of the others, of the same metrics, patients and folds.
        facts: of each arm.

    Raises:
        InputError: the arms were not tested on the same patients in the same folds.
    """
    raw = {metric: _effects(scores, [arm[metric] for arm in arms], metric) for metric, scores in base.items()}
    adjusted = corrected({metric: np.array([one.p for one in own]) for metric, own in raw.items()})
    found: dict[str, list[Compared]] = {}
    for metric, own in raw.items():
        second = [wilcoxon(base[metric], arm[metric]) for arm in arms]
        seconds = holm(np.array(second))
        tests = len(arms) if metric == MAIN else (len(base) - 1) * len(arms)
        better = METRICS[metric].higher_is_better
        for place, (one, about) in enumerate(zip(own, facts, strict=True)):
            p = float(adjusted[metric][place])
            row = Compared(
                one, p, second[place], float(seconds[place]), len(arms), about,
                verdict(one, p, about, higher_is_better=better), obstacle(one, about),
                _sentence(arms[place][metric].name, one, p, tests, about, METRICS[metric]),
                failures_in_words(one, metric),
            )  # fmt: skip
            found.setdefault(metric, []).append(row)
    return found


def corrected(p_values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """P values of all metrics of the arms of one baseline: see the notes of this file.

    Args:
        p_values: by metric, of each arm; the main metric among them.
    """
    main = holm(p_values[MAIN])
    others = [metric for metric in p_values if metric != MAIN]
    if not others:
        return {MAIN: main}
    secondary = holm(np.concatenate([p_values[metric] for metric in others]))
    parts = np.split(secondary, len(others))
    return {MAIN: main, **{metric: gated(part, main) for metric, part in zip(others, parts, strict=True)}}


def _effects(base: ArmScores, arms: Sequence[ArmScores], metric: str) -> list[Effect]:
    return effects(base, arms, higher_is_better=METRICS[metric].higher_is_better)


def _sentence(name: str, one: Effect, p: float, tests: int, facts: Facts, how: Metric) -> str:
    return in_words(
        name, one, p, tests, facts,
        metric=how.name, unit=how.unit, digits=how.digits, higher_is_better=how.higher_is_better,
    )  # fmt: skip


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
