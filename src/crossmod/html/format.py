"""Numbers, names and tables as pages show them: an undefined number is called so, and never shown as 0 or nan."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

UNDEFINED = "undefined"


class Cell(NamedTuple):
    """A table cell with more than its text: lines below it, and the verdict that colours it."""

    text: str
    below: Sequence[str] = ()
    verdict: str = ""


class Table(NamedTuple):
    """What the macro `table` shows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    baselines: Collection[int] = ()  # indexes of the rows that stand out as baselines


def number(value: float | int | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number, or `UNDEFINED`; -0 has no sign."""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:{'+' if sign else ''}z.{digits}f}"


def between(
    value: float | int | None,
    ends: Sequence[float | int | None],
    digits: int = 3,
    *,
    sign: bool = False,
    unit: str = "",
    without: str = "",
) -> str:
    """A number with its interval, such as `0.52 [0.48, 0.56]`, or `without` one if an end is None, NaN or infinite."""
    text = number(value, digits, sign=sign)
    if text == UNDEFINED:
        return text
    if any(end is None or not math.isfinite(end) for end in ends):
        return f"{text}{unit}{without}"
    return f"{text}{unit} [{', '.join(number(end, digits, sign=sign) for end in ends)}]"


def with_interval(estimate: Mapping[str, Any] | None, digits: int = 3, *, sign: bool = False) -> str:
    """The mean of an estimate with its 95 % interval."""
    if estimate is None:
        return UNDEFINED
    return between(estimate["mean"], (estimate["low"], estimate["high"]), digits, sign=sign)


def from_to(values: Iterable[float | int], digits: int = 0) -> str:
    """The smallest and the largest of some numbers, or the only one; empty for none."""
    texts = list(dict.fromkeys(f"{value:,.{digits}f}" for value in sorted(values)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}" if texts else ""


def count(items: int, what: str) -> str:
    """A number of things, with the plural where it is due."""
    return f"{items:,} {what}{'' if items == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    several = list(names)
    rest = f" and {len(several) - most} more" if len(several) > most else ""
    return ", ".join(several[:most]) + rest


def duration(seconds: float | int) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def p_value(p: float | None) -> str:
    """A p value; None and NaN: no test was made."""
    return "no test" if p is None or math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
