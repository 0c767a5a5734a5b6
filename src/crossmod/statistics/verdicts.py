"""Verdicts on arms compared with one baseline: what they must know, what hinders them, and their sentences.

An interval resamples folds and runs as if they were independent. That is true only of what was made independently: two
folds whose translators started from one seed, or were trained on the same source patients, share the luck of it, and no
resampling shows how large that luck is. A verdict about such slices speaks of these translators and of no others.

Notable:
- The main score has Holm's correction over the arms of a baseline. All other scores of all these arms are one family of
  secondary tests: Holm's correction over all of them, and none may show anything of an arm whose main test does not.
- So in 5 % of experiments without any effect, at most, is anything false shown by any score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float

from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.paired_effects import Effect, effects, wilcoxon

Scope = Literal["synthetic slices", "this model", "these models"]

ONE_MODEL = "one trained translator"
ONE_SEED = "the seed of the translators"
ONE_SOURCE = "the source patients"
NOT_BY_PATIENT = "patients: the split is by slice"


@dataclass(frozen=True)
class Facts:
    """What a verdict has to know beside the numbers.

    Args:
        shared: what the synthetic slices of an arm have in common although folds are resampled as independent; empty
            where folds share none of it.
        untrained: why the baseline does not work well enough to compare with; empty where it does.
    """

    shared: tuple[str, ...] = ()
    untrained: str = ""

    @property
    def scope(self) -> Scope:
        """What a verdict may speak of."""
        if not self.shared:
            return "synthetic slices"
        return "this model" if ONE_MODEL in self.shared else "these models"


@dataclass(frozen=True)
class Origin:
    """The translator behind the synthetic slices of one run.

    Args:
        fold: what the run was tested on.
        model: the trained translator, by any name that is its own, such as a hash of its weights.
        seed: of its training; None where that is not recorded.
        source: the source patients (or cases) it was trained on; None where that is not recorded.
    """

    fold: int
    model: str
    seed: int | None = None
    source: frozenset[str] | None = None


def shared_by_folds(origins: Sequence[Origin], *, split: str = "patient") -> tuple[str, ...]:
    """What translators of different folds have in common, for `Facts.shared`; what is not recorded counts as shared.

    With one fold there is one training side, and several trained translators tell the luck of their seeds alone: the
    source patients are then shared.

    Args:
        origins: of all runs of an arm with synthetic slices.
        split: `patient`, or how else the sides were divided.
    """
    if not origins:
        return ()
    found = [NOT_BY_PATIENT] if split != "patient" else []
    pairs = [(one, other) for one, other in combinations(origins, 2) if one.fold != other.fold]
    if len({one.model for one in origins}) < 2 or any(one.model == other.model for one, other in pairs):
        return (*found, ONE_MODEL)
    if any(one.seed is None or one.seed == other.seed for one, other in pairs):
        found.append(ONE_SEED)
    if not pairs or any(one.source is None or one.source == other.source for one, other in pairs):
        found.append(ONE_SOURCE)
    return tuple(found)


LEVEL = 0.05


def holm(p_values: Float[np.ndarray, " arms"]) -> Float[np.ndarray, " arms"]:
    """P values that hold for all arms together: Holm's step-down procedure (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is made smaller than the one before, and
    none larger than 1. nan is no test: it stays and is not counted.
    """
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def gated(
    p_values: Float[np.ndarray, " tests"], main: float | Float[np.ndarray, " tests"]
) -> Float[np.ndarray, " tests"]:
    """P values of secondary tests that may show something only where the main test does: none is below `main`.

    Gatekeeping (Dmitrienko and Tamhane 2007): whatever else is tested, no more than 5 % of experiments without any
    effect show something false. nan, where there is no main test, leaves nothing to be shown.

    Args:
        p_values: of the secondary tests, corrected for their number.
        main: of the main test of each, corrected too.
    """
    return np.maximum(p_values, main)


def verdict(found: Effect, holm_p: float, facts: Facts, *, higher_is_better: bool = True) -> Verdict:
    """`not comparable` where `obstacle` names a reason; else `improves` or `hurts` where an effect is shown.

    Shown: two seeds and two patients or more, the interval excludes 0, `holm_p` is below 0.05, and so it is, in the
    same direction, where failures count as the worst value. `Facts.scope` says of what the verdict may speak.

    Args:
        found: the effect.
        holm_p: its p value after `holm`, over all arms that are compared with the same baseline.
        facts: see `Facts`.
        higher_is_better: of the metric; False for distances.
    """
    if obstacle(found, facts):
        return "not comparable"
    if not _counts(found) or not _excludes_zero(found) or not holm_p < LEVEL or not _holds_with_failures(found):
        return "not shown"
    return "improves" if (found.low > 0) == higher_is_better else "hurts"


def obstacle(found: Effect, facts: Facts) -> str:
    """Why the arms cannot be compared at all; empty where they can.

    Args:
        found: the effect.
        facts: see `Facts`.
    """
    if facts.untrained:
        return facts.untrained
    if found.folds_lost:
        return f"no patient of {_count(found.folds_lost, 'fold')} has a value in both arms"
    if found.undefined_p < LEVEL:
        of = found.patients + found.left_out
        return (
            f"undefined in {found.undefined_arm} of {of} patients with synthetic slices, {found.undefined_base} without"
        )
    return ""


def in_words(
    name: str,
    found: Effect,
    holm_p: float,
    tests: int,
    facts: Facts,
    *,
    metric: str = "3D Dice",
    unit: str = "",
    digits: int = 3,
    higher_is_better: bool = True,
) -> str:
    """One sentence on one arm.

    Args:
        name: of the arm.
        found: its effect.
        holm_p: its p value after `holm`.
        tests: how many that correction counts.
        facts: see `Facts`.
        metric: what was measured.
        unit: of the metric, where it has one.
        digits: after the point.
        higher_is_better: of the metric; False for distances.
    """
    why = obstacle(found, facts)
    if why:
        return f"{name}: {metric} not comparable: {why}."
    if found.patients < 2:
        return f"{name}: {metric} not shown: {_count(found.patients, 'patient')} shows nothing; hold out more."
    size = _size(found, unit, digits)
    if found.seeds < 2:
        return f"{name}: {metric} not shown: {size}; one seed an arm shows nothing, run more."
    said = verdict(found, holm_p, facts, higher_is_better=higher_is_better)
    if said != "not shown":
        return f"{name}: {_who(facts, found, said, higher_is_better)} {metric}: {size}.{_limits(facts)}"
    if _excludes_zero(found) and not holm_p < LEVEL:
        return f"{name}: {metric} not shown once all {tests} tests are counted: {size}, p {holm_p:.2g} after Holm."
    if _excludes_zero(found) and holm_p < LEVEL:
        return f"{name}: {metric} not shown once patients without a value count as the worst: {size}."
    return f"{name}: {metric} not shown: {size}."


def _who(facts: Facts, found: Effect, said: Verdict, higher_is_better: bool) -> str:
    """Subject and verb: `synthetic slices improve`, `this model lowers`."""
    if higher_is_better:
        verb = "improve" if said == "improves" else "lower"
    else:
        verb = "lower (improve)" if said == "improves" else "raise (worsen)"
    one = facts.scope == "this model"
    words = " (".join(part + "s" for part in verb.rstrip(")").split(" (")) + ")" * verb.endswith(")") if one else verb
    return f"{facts.scope} {words}"


def _limits(facts: Facts) -> str:
    return f" Folds share {' and '.join(facts.shared)}: another training may do otherwise." if facts.shared else ""


def _counts(found: Effect) -> bool:
    return found.seeds >= 2 and found.patients >= 2


def _excludes_zero(found: Effect) -> bool:
    return found.low > 0 or found.high < 0


def _holds_with_failures(found: Effect) -> bool:
    worst = found.worst
    return worst is None or (found.low > 0 and worst.low > 0) or (found.high < 0 and worst.high < 0)


def _size(found: Effect, unit: str, digits: int) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in (found.mean, found.low, found.high))
    without = f", {found.left_out} left out" if found.left_out else ""
    of = f"({_count(found.patients, 'patient')}{without}, {_count(found.seeds, 'seed')})"
    return f"{mean} [{low}, {high}]{f' {unit}' if unit else ''} {of}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


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
