"""Which model is nearer to real images, over all metrics, and which differences are not shown.

Notable:
- Models are ranked by each metric's average over layers, and ranks averaged over metrics: metrics have different units,
  and ranks have none. Related metrics (the two distances; the three histogram scores) are counted separately.
- Two models can be paired if they translated the same slices, and were compared with the same real ones in the same
  way: their scores of the same draws of patients are subtracted, draw by draw. Otherwise the overlap of two intervals
  is used, which finds less.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from crossmod import files
from crossmod.errors import InputError
from crossmod.evaluation.artifacts import Draws, load_draws
from crossmod.evaluation.baseline import mean_of_known
from crossmod.evaluation.result import Values, text, values_of
from crossmod.metrics.distribution import METRICS
from crossmod.runs import Run, open_run
from crossmod.settings import pixel_words
from crossmod.statistics.intervals import Estimate, estimate

How = Literal["paired draws", "intervals"]


def signs(metrics: Sequence[str]) -> Float[np.ndarray, " metrics"]:
    """Factors that make lower better for every metric."""
    return np.array([-1.0 if METRICS[name].higher_is_better else 1.0 for name in metrics])


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One model of one result."""

    name: str
    result: str
    card: Mapping[str, Any]
    model: Mapping[str, Any]
    metrics: tuple[str, ...]  # that all compared results have; the columns of `draws`
    draws: Draws | None

    @property
    def values(self) -> dict[str, Values]:
        """What it is ranked by if models cannot be paired: ratios, and the scores of undivided metrics."""
        sides = {name: "ratios" if METRICS[name].divided else "scores" for name in self.metrics}
        return {metric: self.model[side]["average"][metric] for metric, side in sides.items()}


def load_models(results: Sequence[Path]) -> list[ModelResult]:
    """The models of some results, under distinct names."""
    runs: dict[Path, Run] = {path.resolve(): open_run(path, "evaluate") for path in results}
    tables = [model["scores"]["average"] for run in runs.values() for model in run.card["models"].values()]
    metrics = tuple(metric for metric in METRICS if all(metric in table for table in tables))
    found = []
    for path, run in runs.items():
        card = run.card
        names = list(card["models"])
        draws = load_draws(path, names)
        for name in names:
            model = card["models"][name]
            measured = list(model["scores"]["average"])  # the columns of its draws
            own = draws[name][:, [measured.index(metric) for metric in metrics]] if name in draws else None
            found.append(ModelResult(name, path.name, card, model, metrics, own if model["pairing"] else None))
    twice = {model.name for model in found if sum(other.name == model.name for other in found) > 1}
    return [replace(model, name=f"{model.result}: {model.name}") if model.name in twice else model for model in found]


@dataclass(frozen=True)
class Pair:
    """One model against another."""

    first: str
    second: str
    how: How  # from paired draws, or by whether two intervals overlap
    nearer: Mapping[str, str | None]  # metric -> the model shown to be nearer to real; None if no difference is shown
    # metric -> first minus second, of paired draws, in the metric's units; empty without draws
    differences: Mapping[str, Estimate]
    # share of metrics by which the first is nearer, minus the share by which the second is, of paired draws; None
    # without draws
    lead: Estimate | None

    @property
    def sentence(self) -> str:
        """What is shown and what is not."""
        by = "paired draws of patients" if self.how == "paired draws" else "whether intervals overlap, unpaired"
        shown: dict[str, list[str]] = {}
        for metric, name in self.nearer.items():
            if name is not None:
                shown.setdefault(name, []).append(METRICS[metric].title)
        parts = [f"{name} is nearer by {', '.join(metrics)}" for name, metrics in sorted(shown.items())]
        unclear = [METRICS[metric].title for metric, name in self.nearer.items() if name is None]
        if unclear:
            parts.append(f"no difference is shown by {', '.join(unclear)}" if parts else "no difference is shown")
        if self.lead is not None:
            ahead = self.first if self.lead.low > 0 else self.second if self.lead.high < 0 else None
            parts.append(f"over all metrics {ahead} leads" if ahead else "over all metrics no order is shown")
        return f"{self.first} and {self.second}: {'; '.join(parts)} (from {by})."


def pair_of(first: ModelResult, second: ModelResult) -> Pair:
    """Which of two models is shown to be nearer to real, by each metric."""
    if first.draws is None or second.draws is None or first.model["pairing"] != second.model["pairing"]:
        both = [m for m in first.metrics if first.values[m][0] is not None and second.values[m][0] is not None]
        apart = {metric: _apart(metric, first, second) for metric in both}
        return Pair(first.name, second.name, "intervals", apart, {}, None)
    differences = first.draws - second.draws
    estimates = {metric: estimate(differences[:, i], "difference") for i, metric in enumerate(first.metrics)}
    known = {metric: one for metric, one in estimates.items() if not math.isnan(one.value)}
    nearer = {metric: _nearer(metric, one, first.name, second.name) for metric, one in known.items()}
    return Pair(first.name, second.name, "paired draws", nearer, known, _lead(differences, signs(first.metrics)))


def _nearer(metric: str, difference: Estimate, first: str, second: str) -> str | None:
    if not (difference.low > 0 or difference.high < 0):
        return None
    return first if (difference.value > 0) == METRICS[metric].higher_is_better else second


def _lead(differences: Float[np.ndarray, "draws metrics"], factors: Float[np.ndarray, " metrics"]) -> Estimate:
    usable = ~np.isnan(differences[0])
    return estimate(mean_of_known(np.sign(differences[:, usable] * -factors[usable])), "difference", (-1.0, 1.0))


def _apart(metric: str, first: ModelResult, second: ModelResult) -> str | None:
    (a, a_low, a_high), (b, b_low, b_high) = first.values[metric], second.values[metric]
    if None in (a, a_low, a_high, b, b_low, b_high):
        return None
    lower = first if a_high < b_low else second if b_high < a_low else None  # pyright: ignore[reportOperatorIssue]
    if lower is None:
        return None
    higher = second if lower is first else first
    return (higher if METRICS[metric].higher_is_better else lower).name


@dataclass(frozen=True)
class Ranking:
    """Models in order."""

    models: tuple[str, ...]  # names, the nearest to real first
    # `scores` if all models can be paired, else `ratios` to each result's baseline
    ranked_by: Literal["scores", "ratios"]
    mean_rank: Mapping[str, Estimate]  # name -> mean rank over metrics; with an interval if all models can be paired
    ranks: Mapping[str, Mapping[str, float]]  # name -> metric -> rank, for the metrics that all models have
    scores: Mapping[str, Mapping[str, Values]]  # name -> metric -> what it was ranked by
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]  # what makes the models hard to compare


def compare_evaluations(results: Sequence[Path]) -> Ranking:
    """Rank the models of some results."""
    models = load_models(results)
    if len(models) < 2:
        found = f"{len(models)} model{'s' * (len(models) != 1)}"
        do = "Evaluate several synthetic stores together, or give several results."
        raise InputError("evaluate compare", found=found, expected="two models or more", do=do)
    modalities = sorted({model.card["modality"] for model in models})
    if len(modalities) > 1:
        do = "Compare models of one modality."
        raise InputError("evaluate compare", found=f"results of {' and '.join(modalities)}", expected="one", do=do)
    paired = len({model.model["pairing"] for model in models}) == 1 and all(m.draws is not None for m in models)
    scores, mean_rank, ranks = _by_draws(models) if paired else _by_ratios(models)
    ordered = sorted(models, key=lambda model: mean_rank[model.name].value)
    return Ranking(
        models=tuple(model.name for model in ordered),
        mean_rank=mean_rank,
        ranks=ranks,
        scores=scores,
        ranked_by="scores" if paired else "ratios",
        pairs=tuple(pair_of(a, b) for a, b in itertools.combinations(ordered, 2)),
        warnings=tuple(_warnings(models)),
    )


# Scores by model and metric, mean ranks by model, ranks by model and metric.
Ranks = tuple[dict[str, dict[str, Values]], dict[str, Estimate], dict[str, dict[str, float]]]


def _by_draws(models: Sequence[ModelResult]) -> Ranks:
    """Ranks with intervals: models are ranked in each draw."""
    names, columns = [model.name for model in models], models[0].metrics
    table = np.stack([model.draws for model in models if model.draws is not None])  # models, draws, metrics
    usable = np.asarray(~np.isnan(table[:, 0]).any(axis=0))
    # Rounded, since equal images may differ in the last digit.
    ranks = rankdata(np.round(table[:, :, usable] * signs(columns)[usable], 12), axis=0, nan_policy="omit")
    limits = (1.0, float(len(models)))
    metrics = [metric for metric, use in zip(columns, usable, strict=True) if use]
    scores = {
        name: {m: values_of(estimate(rows[:, i], "difference", METRICS[m].limits)) for i, m in enumerate(columns)}
        for name, rows in zip(names, table, strict=True)
    }
    means = {name: estimate(mean_of_known(rows), "difference", limits) for name, rows in zip(names, ranks, strict=True)}
    return scores, means, {n: dict(zip(metrics, r[0].tolist(), strict=True)) for n, r in zip(names, ranks, strict=True)}


def _by_ratios(models: Sequence[ModelResult]) -> Ranks:
    """Ranks without intervals, by the ratios in each result."""
    scores = {model.name: model.values for model in models}
    ranks: dict[str, dict[str, float]] = {model.name: {} for model in models}
    metrics = models[0].metrics
    for metric, sign in zip(metrics, signs(metrics), strict=True):
        if all(one[metric][0] is not None for one in scores.values()):
            in_order = rankdata([sign * (one[metric][0] or 0.0) for one in scores.values()]).tolist()
            for name, rank in zip(scores, in_order, strict=True):
                ranks[name][metric] = rank
    means = {name: float(np.mean([*one.values()])) if one else math.nan for name, one in ranks.items()}
    return scores, {name: Estimate(mean, -math.inf, math.inf) for name, mean in means.items()}, ranks


def _warnings(models: Sequence[ModelResult]) -> list[str]:
    warnings = []
    cards = [model.card for model in models]
    for what, values in (
        ("detectors", [card["detector"]["sha256"][:12] for card in cards]),
        ("sizes", [str(card["size"]) for card in cards]),
        ("pixels in millimetres, or frames", [pixel_words(card) for card in cards]),
        ("sequences", [str(card["sequence"]) for card in cards]),
        ("real reference patients", [" ".join(card["data"]["real"]["reference"]["patients"]) for card in cards]),
        ("intensities", [str([card["settings"][name] for name in ("window", "percentiles")]) for card in cards]),
        ("histograms (whole slices, or the body)", [str(card["settings"]["inside"]) for card in cards]),
    ):
        if len(set(values)) > 1:
            warnings.append(f"The results have different {what}: part of any difference is due to that.")
    if len({model.model["pairing"] for model in models}) > 1:
        warnings.append(
            "Not all models can be paired, since they did not translate the same slices, or were evaluated otherwise: "
            "they are ranked by their ratios to each result's baseline, without intervals of ranks."
        )
    measured = {metric for model in models for metric in model.model["scores"]["average"]}
    if left_out := sorted(measured - set(models[0].metrics)):
        warnings.append(
            f"Left out of the ranking: {', '.join(left_out)}. Not all results have it, or no installed package "
            "measures it."
        )
    if any(model.draws is None for model in models):
        warnings.append("A result has no draws (--draws 0, or one patient): its differences are not shown.")
    return warnings


def to_json(ranking: Ranking) -> object:
    """A ranking for JSON."""
    pairs = [
        {
            **vars(pair),
            "differences": {metric: values_of(one) for metric, one in pair.differences.items()},
            "lead": pair.lead and values_of(pair.lead),
            "sentence": pair.sentence,
        }
        for pair in ranking.pairs
    ]
    mean_rank = {name: values_of(one) for name, one in ranking.mean_rank.items()}
    return files.to_json({**vars(ranking), "mean_rank": mean_rank, "pairs": pairs})


def table(ranking: Ranking) -> list[tuple[str, ...]]:
    """Rows for people, header first: one row per model, the nearest first."""
    metrics = [metric for metric in METRICS if metric in next(iter(ranking.ranks.values()))]
    rows = [("model", "mean rank", *metrics)]
    for name in ranking.models:
        shown = (text(values_of(ranking.mean_rank[name])), *(text(ranking.scores[name][metric]) for metric in metrics))
        rows.append((name, *shown))
    return rows
