"""Words that follow the numbers, where several arms are held against one baseline."""

import numpy as np
from jaxtyping import Float

from crossmod.evaluate.effects import Effect
from crossmod.evaluate.statistics import Verdict

LEVEL = 0.05


def holm(p_values: Float[np.ndarray, " arms"]) -> Float[np.ndarray, " arms"]:
    """P-values that hold for all arms together: Holm's step-down procedure (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is made smaller than the one before, and
    none larger than 1. nan is no test: it stays and is not counted.
    """
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def verdict(found: Effect, holm_p: float, *, higher_is_better: bool = True) -> Verdict:
    """`not shown` unless seeds and patients are two or more, the interval leaves 0 out, and `holm_p` is below 0.05.

    Args:
        found: the effect.
        holm_p: its p after `holm`, over all arms that were held against the same baseline.
        higher_is_better: of the metric; False for distances.
    """
    if not _counts(found) or not _leaves_zero_out(found) or not holm_p < LEVEL:
        return "not shown"
    return "improves" if (found.low > 0) == higher_is_better else "hurts"


def in_words(
    name: str,
    found: Effect,
    holm_p: float,
    arms: int,
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
        holm_p: its p after `holm`.
        arms: how many arms were held against the baseline.
        metric: what was measured.
        unit: of the metric, where it has one.
        digits: after the point.
        higher_is_better: of the metric; False for distances.
    """
    if found.patients < 2:
        return f"{name}: {metric} not shown: {_count(found.patients, 'patient')} shows nothing; hold out more."
    size = _size(found, unit, digits)
    if found.seeds < 2:
        return f"{name}: {metric} not shown: {size}; one seed an arm shows nothing, run more."
    said = verdict(found, holm_p, higher_is_better=higher_is_better)
    if said != "not shown":
        return f"{name}: {said} {metric} by {size}."
    if _leaves_zero_out(found) and arms > 1:
        return f"{name}: {metric} not shown once {arms} arms are counted: {size}, p {holm_p:.2g} after Holm."
    return f"{name}: {metric} not shown: {size}."


def _counts(found: Effect) -> bool:
    return found.seeds >= 2 and found.patients >= 2


def _leaves_zero_out(found: Effect) -> bool:
    return found.low > 0 or found.high < 0


def _size(found: Effect, unit: str, digits: int) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in (found.mean, found.low, found.high))
    without = f", {found.left_out} left out" if found.left_out else ""
    of = f"({_count(found.patients, 'patient')}{without}, {_count(found.seeds, 'seed')})"
    return f"{mean} [{low}, {high}]{f' {unit}' if unit else ''} {of}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
