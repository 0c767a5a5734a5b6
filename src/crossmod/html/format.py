"""Numbers of an experiment as text; what is not there is said, and never shown as 0 or nan."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

UNDEFINED = "undefined"


def number(value: float | int | None, digits: int = 3) -> str:
    """A number, or that there is none."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def with_interval(found: Mapping[str, Any] | None, digits: int = 3, *, sign: bool = False) -> str:
    """A mean and its 95 % interval, where it has ends."""
    if found is None or found["mean"] is None:
        return UNDEFINED
    form = f"{'+' if sign else ''}.{digits}f"
    if found["low"] is None or found["high"] is None:
        return format(found["mean"], form)
    return f"{found['mean']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"


def from_to(values: Iterable[float | int], digits: int = 0) -> str:
    """The smallest and the largest of some numbers, or the one that they all are; empty of none."""
    texts = list(dict.fromkeys(f"{value:,.{digits}f}" for value in sorted(values)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}" if texts else ""


def count(items: int, what: str) -> str:
    """So many of something."""
    return f"{items:,} {what}{'' if items == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a row, the first few of many."""
    several = list(names)
    rest = f" and {len(several) - most} more" if len(several) > most else ""
    return ", ".join(several[:most]) + rest


def length(seconds: float | int) -> str:
    """A time, as long times are said."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def p_value(p: float | None) -> str:
    """A p value; None and nan are no test."""
    return "no test" if p is None or math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
