"""Verdicts and sentences that follow the numbers, where several arms are compared with one baseline."""

import numpy as np
from jaxtyping import Float

from crossmod.evaluate.effects import Effect
from crossmod.evaluate.facts import Facts
from crossmod.evaluate.statistics import Verdict

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
