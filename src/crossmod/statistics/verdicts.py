"""Verdicts on arms compared with one baseline, the facts that limit them, and their sentences.

An interval resamples folds and runs as if they were independent. That is only true if they were made independently: two
folds whose translators started from one seed, or were trained on the same source patients, share its luck, and no
resampling shows how large that is. A verdict on such slices holds for these translators only.

Notable:
- The main score has Holm's correction over the arms of a baseline. All other scores of these arms are one family of
  secondary tests: Holm's correction over all of them, and none can show anything for an arm whose main test does not.
- Thus any score shows something false in at most 5 % of experiments without any effect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from crossmod.registry import Members
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.paired_effects import Effect, effects, wilcoxon

Mask = Bool[np.ndarray, "slices rows columns"]
Scope = Literal["synthetic slices", "this model", "these models"]

ONE_MODEL = "one trained translator"
ONE_SEED = "the seed of the translators"
ONE_SOURCE = "the source patients"
NOT_BY_PATIENT = "patients: the split is by slice"


@dataclass(frozen=True)
class Facts:
    """What a verdict depends on beside the numbers."""

    # What the synthetic slices of an arm have in common although folds are resampled as independent
    shared: tuple[str, ...] = ()
    untrained: str = ""  # why the baseline does not work well enough to compare with; empty if it does

    @property
    def scope(self) -> Scope:
        """What a verdict holds for."""
        if not self.shared:
            return "synthetic slices"
        return "this model" if ONE_MODEL in self.shared else "these models"


@dataclass(frozen=True)
class Origin:
    """The translator behind the synthetic slices of one run."""

    fold: int  # the run was tested on
    model: str  # any unique name of the trained translator, such as a hash of its weights
    seed: int | None = None  # of its training; None if not recorded
    source: frozenset[str] | None = None  # the source patients (or cases) it was trained on; None if not recorded


def shared_by_folds(origins: Sequence[Origin], *, split: str = "patient") -> tuple[str, ...]:
    """What translators of different folds have in common, for `Facts.shared`; what is not recorded counts as shared.

    With one fold there is one training side, and several trained translators only show the luck of their seeds: the
    source patients are then shared.
    """
    if not origins:
        return ()
    shared = [NOT_BY_PATIENT] if split != "patient" else []
    pairs = [(first, second) for first, second in combinations(origins, 2) if first.fold != second.fold]
    if len({origin.model for origin in origins}) < 2 or any(first.model == second.model for first, second in pairs):
        return (*shared, ONE_MODEL)
    if any(first.seed is None or first.seed == second.seed for first, second in pairs):
        shared.append(ONE_SEED)
    if not pairs or any(first.source is None or first.source == second.source for first, second in pairs):
        shared.append(ONE_SOURCE)
    return tuple(shared)


LEVEL = 0.05


def holm(p_values: Float[np.ndarray, " arms"]) -> Float[np.ndarray, " arms"]:
    """P values corrected for the number of arms: Holm's step-down procedure (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one before, or
    larger than 1. NaN is no test: it is kept and not counted.
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
    """P values of secondary tests, which can show something only if the main test does: none is below `main`.

    Gatekeeping (Dmitrienko and Tamhane 2007): whatever else is tested, at most 5 % of experiments without any effect
    show something false. If `main` is NaN (no main test), nothing is shown. Both are corrected for their number.
    """
    return np.maximum(p_values, main)


def verdict(found: Effect, holm_p: float, facts: Facts, *, higher_is_better: bool = True) -> Verdict:
    """`not comparable` if there is an `obstacle`; otherwise `improves` or `hurts` if an effect is shown.

    Shown: two or more seeds and patients, the interval excludes 0, `holm_p` (corrected over all arms with the same
    baseline) is below 0.05, and the interval also excludes 0, in the same direction, if failures count as the worst
    value. The verdict holds for `Facts.scope`.
    """
    if obstacle(found, facts):
        return "not comparable"
    enough = found.seeds >= 2 and found.patients >= 2
    if not enough or not _excludes_zero(found) or not holm_p < LEVEL or not _holds_with_failures(found):
        return "not shown"
    return "improves" if (found.low > 0) == higher_is_better else "hurts"


def obstacle(found: Effect, facts: Facts) -> str:
    """Why the arms cannot be compared at all; empty if they can."""
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


MAIN = "dice"


@dataclass(frozen=True)
class Metric:
    """A score of a patient, as reports write it.

    Args:
        name: in text.
        unit: empty if it has none.
        digits: after the decimal point.
        higher_is_better: False for distances and differences.
        of: measures an answer against the truth, two boolean volumes `(slice, row, column)`, given the size of a voxel
            in mm; NaN: undefined. None for built-in ones, which `segmentation.predict.score` measures together.
    """

    name: str
    unit: str = ""
    digits: int = 3
    higher_is_better: bool = True
    of: Callable[[Mask, Mask, tuple[float, float, float]], float] | None = None

    def interval(self, mean: float, low: float, high: float) -> str:
        """A change with its interval, if that has ends, and the unit."""
        mean_text, *ends = (f"{value:+.{self.digits}f}" for value in (mean, low, high))
        ends_text = f" [{', '.join(ends)}]" if np.isfinite([low, high]).all() else ""
        return f"{mean_text}{ends_text}{f' {self.unit}' if self.unit else ''}"


DICE = Metric("3D Dice")
IOU = Metric("3D IoU")
HD95 = Metric("HD95", "mm", 1, higher_is_better=False)
ASSD = Metric("ASSD", "mm", 1, higher_is_better=False)
MSSD = Metric("MSSD", "mm", 1, higher_is_better=False)
RAVD = Metric("RAVD", "%", 1, higher_is_better=False)
SLICE_DICE = Metric("slice Dice")

METRICS = Members[Metric]("segmentation_metric")
"""Every score of a patient by its name, in the order of tables; docs/how-to/extend.md shows how to add one."""


def in_words(name: str, found: Effect, holm_p: float, tests: int, facts: Facts, metric: Metric = DICE) -> str:
    """One sentence on one arm; `tests` is the number that the correction of its p value counts."""
    why = obstacle(found, facts)
    if why:
        return f"{name}: {metric.name} not comparable: {why}."
    start = f"{name}: {metric.name} not shown"
    if found.patients < 2:
        return f"{start}: {_count(found.patients, 'patient')} shows nothing; hold out more."
    without = f", {found.left_out} left out" if found.left_out else ""
    size = (
        f"{metric.interval(found.mean, found.low, found.high)} "
        f"({_count(found.patients, 'patient')}{without}, {_count(found.seeds, 'seed')})"
    )
    if found.seeds < 2:
        return f"{start}: {size}; one seed per arm shows nothing, run more."
    shown = verdict(found, holm_p, facts, higher_is_better=metric.higher_is_better)
    if shown != "not shown":
        sentence = f"{name}: {_subject_and_verb(facts, shown, metric)} {metric.name}: {size}."
        shared = " and ".join(facts.shared)
        return f"{sentence} Folds share {shared}: another training may do otherwise." if shared else sentence
    if _excludes_zero(found) and not holm_p < LEVEL:
        return f"{start} once all {tests} tests are counted: {size}, p {holm_p:.2g} after Holm."
    if _excludes_zero(found) and holm_p < LEVEL:
        return f"{start} once patients without a value count as the worst: {size}."
    return f"{start}: {size}."


def _subject_and_verb(facts: Facts, shown: Verdict, metric: Metric) -> str:
    """Such as `synthetic slices improve`, `this model lowers (improves)`."""
    if metric.higher_is_better:
        verbs = ["improve" if shown == "improves" else "lower"]
    else:
        verbs = ["lower", "improve"] if shown == "improves" else ["raise", "worsen"]
    verb, *meaning = (f"{verb}s" if facts.scope == "this model" else verb for verb in verbs)
    return f"{facts.scope} {verb}" + "".join(f" ({word})" for word in meaning)


def _excludes_zero(found: Effect) -> bool:
    return found.low > 0 or found.high < 0


def _holds_with_failures(found: Effect) -> bool:
    worst = found.worst
    return worst is None or (found.low > 0 and worst.low > 0) or (found.high < 0 and worst.high < 0)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Compared:
    """An arm compared with its baseline by one score."""

    effect: Effect
    holm: float  # p of the effect after correction
    wilcoxon: float  # p of Wilcoxon's signed-rank test, which ignores the luck of runs
    wilcoxon_holm: float  # the same after Holm's correction over the arms
    arms: int  # number of arms that are compared with the baseline
    facts: Facts
    verdict: Verdict
    obstacle: str  # why it cannot be compared; empty if it can
    sentence: str
    failures: str  # a sentence on patients without a score; empty if all have one


def compare_arms(
    base: Mapping[str, ArmScores], arms: Sequence[Mapping[str, ArmScores]], facts: Sequence[Facts]
) -> dict[str, list[Compared]]:
    """By metric, the main one included, each arm compared with one baseline; all of the same patients and folds."""
    raw = {
        name: effects(scores, [arm[name] for arm in arms], higher_is_better=METRICS[name].higher_is_better)
        for name, scores in base.items()
    }
    adjusted = corrected({name: np.array([effect.p for effect in own]) for name, own in raw.items()})
    compared: dict[str, list[Compared]] = {}
    for name, own in raw.items():
        metric = METRICS[name]
        ranks = [wilcoxon(base[name], arm[name]) for arm in arms]
        ranks_holm = holm(np.array(ranks))
        tests = len(arms) if name == MAIN else (len(base) - 1) * len(arms)
        for place, (effect, about) in enumerate(zip(own, facts, strict=True)):
            p = float(adjusted[name][place])
            row = Compared(
                effect, p, ranks[place], float(ranks_holm[place]), len(arms), about,
                verdict(effect, p, about, higher_is_better=metric.higher_is_better), obstacle(effect, about),
                in_words(arms[place][name].name, effect, p, tests, about, metric),
                failures_in_words(effect, metric),
            )  # fmt: skip
            compared.setdefault(name, []).append(row)
    return compared


def corrected(p_values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Corrected p values of all metrics of the arms of one baseline: see the notes of this file."""
    main = holm(p_values[MAIN])
    others = [name for name in p_values if name != MAIN]
    if not others:
        return {MAIN: main}
    secondary = np.split(holm(np.concatenate([p_values[name] for name in others])), len(others))
    return {MAIN: main, **{name: gated(part, main) for name, part in zip(others, secondary, strict=True)}}


def failures_in_words(effect: Effect, metric: Metric) -> str:
    """The number of patients with a score, and the effect if failures count; empty if every patient has a score."""
    if not effect.left_out:
        return ""
    everyone = effect.patients + effect.left_out
    known = (
        f"{metric.name} is defined for {everyone - effect.undefined_base} of {everyone} patients without synthetic "
        f"slices and for {everyone - effect.undefined_arm} with them; compared are the {effect.patients} that have it "
        "in both."
    )
    worst = effect.worst
    if worst is None:
        return known
    change = metric.interval(worst.mean, worst.low, worst.high)
    return f"{known} With a missing value counted as the worst one: {change} ({worst.patients} patients)."
