"""A judgement as plain values: what `card.json` holds, and the words that follow its numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from crossmod.evaluate.baseline import UNDIVIDED, Table
from crossmod.metrics.distribution import HIGHER_IS_BETTER, METRICS
from crossmod.statistics.intervals import Estimate

NAMES: Mapping[str, str] = {
    "frechet": "Fréchet distance",
    "kid": "kernel distance",
    "kl_256": "KL, 256 bins",
    "kl_3": "KL, 3 bins",
    "correlation": "histogram correlation",
    "intersection": "histogram intersection",
    "spectrum": "spectral correlation",
}

Verdict = Literal["undefined", "not shown", "not told from real", "further than real", "nearer than real"]

Values = Sequence[float | None]
"""Score, lower and upper end of its interval; None for what is not there."""


def number(value: float) -> float | None:
    """JSON knows no nan and no infinity."""
    return value if math.isfinite(value) else None


def plain(table: Table) -> dict[str, Any]:
    """A table of estimates: `layers` -> layer -> metric -> [score, low, high], and `average`."""
    return {
        "layers": {str(layer): _row(estimates) for layer, estimates in table.layers.items()},
        "average": _row(table.average),
    }


def _row(estimates: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    return {metric: [number(one.value), number(one.low), number(one.high)] for metric, one in estimates.items()}


def plain_fields(summary: object) -> dict[str, Any]:
    """A dataclass of numbers and words."""
    fields = asdict(summary)  # pyright: ignore[reportArgumentType] - a dataclass
    return {name: _plain_field(value) for name, value in fields.items()}


def _plain_field(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain_field(one) for one in value]
    return number(value) if isinstance(value, float) else value


def verdict(metric: str, score: Values, ratio: Values) -> Verdict:
    """What an interval says of a model: whether it holds what real images score.

    The kernel distance is not divided by its baseline; that of two samples of one distribution is 0 on average.
    """
    expected = 0.0 if metric in UNDIVIDED else 1.0
    value, low, high = score if metric in UNDIVIDED else ratio
    if value is None:
        return "undefined"
    if low is None or high is None:
        return "not shown"
    if low <= expected <= high:
        return "not told from real"
    return "nearer than real" if (low > expected) == (metric in HIGHER_IS_BETTER) else "further than real"


def verdicts(scores: Mapping[str, Values], ratios: Mapping[str, Values]) -> dict[str, Verdict]:
    """A verdict for every metric, by the averages over layers."""
    return {metric: verdict(metric, scores[metric], ratios[metric]) for metric in METRICS}


def text(values: Values, digits: int = 3) -> str:
    """A score with its interval, for people."""
    value, low, high = values
    if value is None:
        return "undefined"
    ends = "" if low is None or high is None else f" [{low:.{digits}g}, {high:.{digits}g}]"
    return f"{value:.{digits}g}{ends}"
