"""Two models against each other: by the same draws of patients where they can be paired, else by their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from crossmod.evaluate.baseline import UNDIVIDED
from crossmod.judge.card import NAMES, Values
from crossmod.judge.draws import Draws, load_draws
from crossmod.metrics.distribution import HIGHER_IS_BETTER, METRICS
from crossmod.runs import Run, open_run
from crossmod.statistics.intervals import Estimate, estimate

How = Literal["paired draws", "intervals"]

# Better is less: scores that rise with nearness are turned round.
SIGNS = np.array([-1.0 if metric in HIGHER_IS_BETTER else 1.0 for metric in METRICS])


@dataclass(frozen=True, eq=False)
class Judged:
    """One model of one result."""

    name: str
    result: str
    card: Mapping[str, Any]
    model: Mapping[str, Any]
    draws: Draws | None

    @property
    def values(self) -> dict[str, Values]:
        """What it is ranked by where models cannot be paired: ratios, and the score of what has no ratio."""
        average = {side: self.model[side]["average"] for side in ("scores", "ratios")}
        return {metric: average["scores" if metric in UNDIVIDED else "ratios"][metric] for metric in METRICS}


def judged(results: Sequence[Path]) -> list[Judged]:
    """The models of some results, each under a name of its own."""
    runs: dict[Path, Run] = {path.resolve(): open_run(path, "evaluate") for path in results}
    found = []
    for path, run in runs.items():
        card = run.card
        names = list(card["models"])
        draws = load_draws(path, names)
        for name in names:
            pairing = card["models"][name]["pairing"]
            found.append(Judged(name, path.name, card, card["models"][name], draws.get(name) if pairing else None))
    twice = {model.name for model in found if sum(other.name == model.name for other in found) > 1}
    return [replace(model, name=f"{model.result}: {model.name}") if model.name in twice else model for model in found]


@dataclass(frozen=True)
class Pair:
    """One model against another.

    Args:
        first: name.
        second: name.
        how: from paired draws, or by whether two intervals overlap.
        nearer: metric -> the model that is nearer to real, where that is shown; None where it is not.
        differences: metric -> first minus second, of paired draws, in the metric's units; empty without.
        lead: share of metrics by which the first is nearer, less the share by which the second is, of paired draws: 1
            where the first is by all; None without.
    """

    first: str
    second: str
    how: How
    nearer: Mapping[str, str | None]
    differences: Mapping[str, Estimate]
    lead: Estimate | None

    @property
    def sentence(self) -> str:
        """What is shown and what is not."""
        by = "paired draws of patients" if self.how == "paired draws" else "whether intervals overlap, unpaired"
        shown: dict[str, list[str]] = {}
        for metric, name in self.nearer.items():
            if name is not None:
                shown.setdefault(name, []).append(NAMES[metric])
        told = [f"{name} is nearer by {', '.join(metrics)}" for name, metrics in sorted(shown.items())]
        open_ = [NAMES[metric] for metric, name in self.nearer.items() if name is None]
        if open_:
            told.append(f"no difference is shown by {', '.join(open_)}" if told else "no difference is shown")
        if self.lead is not None:
            ahead = self.first if self.lead.low > 0 else self.second if self.lead.high < 0 else None
            told.append(f"over all metrics {ahead} leads" if ahead else "over all metrics no order is shown")
        return f"{self.first} and {self.second}: {'; '.join(told)} (told from {by})."


def pair_of(first: Judged, second: Judged) -> Pair:
    """Which of two models is nearer to real, metric by metric, where that is shown."""
    if first.draws is None or second.draws is None or first.model["pairing"] != second.model["pairing"]:
        both = [m for m in METRICS if first.values[m][0] is not None and second.values[m][0] is not None]
        apart = {metric: _apart(metric, first, second) for metric in both}
        return Pair(first.name, second.name, "intervals", apart, {}, None)
    differences = first.draws - second.draws
    found = {metric: estimate(differences[:, i], "difference") for i, metric in enumerate(METRICS)}
    known = {metric: one for metric, one in found.items() if not math.isnan(one.value)}
    signs = dict(zip(METRICS, SIGNS, strict=True))
    nearer = {metric: _sign(signs[metric], one, first.name, second.name) for metric, one in known.items()}
    return Pair(first.name, second.name, "paired draws", nearer, known, _lead(differences))


def _sign(sign: float, difference: Estimate, first: str, second: str) -> str | None:
    if not (difference.low > 0 or difference.high < 0):
        return None
    return second if sign * difference.value > 0 else first


def _lead(differences: Float[np.ndarray, "draws metrics"]) -> Estimate:
    usable = ~np.isnan(differences[0])
    return estimate(mean_of_metrics(np.sign(differences[:, usable] * -SIGNS[usable])), "difference", (-1.0, 1.0))


def _apart(metric: str, first: Judged, second: Judged) -> str | None:
    (a, a_low, a_high), (b, b_low, b_high) = first.values[metric], second.values[metric]
    if None in (a, a_low, a_high, b, b_low, b_high):
        return None
    lower = first if a_high < b_low else second if b_high < a_low else None  # pyright: ignore[reportOperatorIssue]
    if lower is None:
        return None
    higher = second if lower is first else first
    return (higher if metric in HIGHER_IS_BETTER else lower).name


def mean_of_metrics(rows: Float[np.ndarray, "draws metrics"]) -> Float[np.ndarray, " draws"]:
    """Over the metrics that a draw has; nan where it has none."""
    there = ~np.isnan(rows)
    count = there.sum(axis=1)
    return np.where(count > 0, np.where(there, rows, 0).sum(axis=1) / np.maximum(count, 1), math.nan)
