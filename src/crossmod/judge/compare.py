"""Which model is nearer to real, over all metrics, and which differences are not shown.

Notable:
- Models are ranked by each metric's average over layers, and ranks averaged over metrics: metrics have different units,
  and ranks have none. Some metrics are near kin (the two distances; the three histogram scores), and count apart.
- Two models can be paired where they translated the same slices, and were held against the same real ones in the same
  way: their scores of the same draws of patients are subtracted, draw by draw. Elsewhere all that is left is to ask
  whether two intervals overlap, which finds less.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from crossmod.errors import InputError
from crossmod.judge.card import Values, number, text
from crossmod.judge.pairs import SIGNS, Judged, Pair, judged, mean_of_metrics, pair_of
from crossmod.metrics.distribution import LIMITS, METRICS
from crossmod.settings import pixel_words
from crossmod.statistics.intervals import Estimate, estimate

WIDE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Ranking:
    """Models in order.

    Args:
        models: names, the nearest to real first.
        mean_rank: name -> mean rank over metrics; with an interval where all models can be paired.
        ranks: name -> metric -> rank; of the metrics that all models have.
        scores: name -> metric -> what it was ranked by.
        ranked_by: `scores` where all models can be paired, else `ratios` to each result's baseline.
        pairs: every two models.
        warnings: what makes the models hard to compare.
    """

    models: tuple[str, ...]
    mean_rank: Mapping[str, Estimate]
    ranks: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, Mapping[str, Values]]
    ranked_by: Literal["scores", "ratios"]
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def compare_images(results: Sequence[Path]) -> Ranking:
    """Rank the models of some results.

    Raises:
        InputError: a path that is no finished result of `evaluate images`, fewer than two models, or results of other
            modalities.
    """
    models = judged(results)
    if len(models) < 2:
        found = f"{len(models)} model{'s' * (len(models) != 1)}"
        do = "Judge several synthetic stores in one go, or name several results."
        raise InputError("evaluate compare", found=found, wanted="two models or more", do=do)
    modalities = sorted({model.card["modality"] for model in models})
    if len(modalities) > 1:
        do = "Compare models of one modality."
        raise InputError("evaluate compare", found=f"results of {' and '.join(modalities)}", wanted="one", do=do)
    paired = len({model.model["pairing"] for model in models}) == 1 and all(m.draws is not None for m in models)
    scores, mean_rank, ranks = _by_draws(models) if paired else _by_ratios(models)
    order = sorted((model.name for model in models), key=lambda name: mean_rank[name].value)
    return Ranking(
        models=tuple(order),
        mean_rank=mean_rank,
        ranks=ranks,
        scores=scores,
        ranked_by="scores" if paired else "ratios",
        pairs=tuple(pair_of(a, b) for a, b in itertools.combinations(_in_order(models, order), 2)),
        warnings=tuple(_warnings(models)),
    )


def _in_order(models: Sequence[Judged], order: Sequence[str]) -> list[Judged]:
    return sorted(models, key=lambda model: order.index(model.name))


def _by_draws(
    models: Sequence[Judged],
) -> tuple[dict[str, dict[str, Values]], dict[str, Estimate], dict[str, dict[str, float]]]:
    """Ranks with intervals: models are ranked anew in each draw."""
    names = [model.name for model in models]
    table = np.stack([model.draws for model in models if model.draws is not None])  # models, draws, metrics
    usable = ~np.isnan(table[:, 0]).any(axis=0)
    # Rounded, since equal images may differ in the last digit.
    ranks = rankdata(np.round(table[:, :, usable] * SIGNS[usable], 12), axis=0, nan_policy="omit")
    limits = (1.0, float(len(models)))
    metrics = [METRICS[i] for i in np.flatnonzero(usable)]
    scores = {
        name: {
            metric: _plain(estimate(rows[:, i], "difference", LIMITS.get(metric, WIDE)))
            for i, metric in enumerate(METRICS)
        }
        for name, rows in zip(names, table, strict=True)
    }
    means = {
        name: estimate(mean_of_metrics(rows), "difference", limits) for name, rows in zip(names, ranks, strict=True)
    }
    return scores, means, {n: dict(zip(metrics, r[0].tolist(), strict=True)) for n, r in zip(names, ranks, strict=True)}


def _by_ratios(
    models: Sequence[Judged],
) -> tuple[dict[str, dict[str, Values]], dict[str, Estimate], dict[str, dict[str, float]]]:
    """Ranks without intervals, by what each result says."""
    scores = {model.name: model.values for model in models}
    metrics = [metric for metric in METRICS if all(one[metric][0] is not None for one in scores.values())]
    signs = dict(zip(METRICS, SIGNS, strict=True))
    ranks: dict[str, dict[str, float]] = {model.name: {} for model in models}
    for metric in metrics:
        found = rankdata([signs[metric] * (one[metric][0] or 0.0) for one in scores.values()])
        for name, rank in zip(scores, found, strict=True):
            ranks[name][metric] = float(rank)
    means = {name: Estimate(float(np.mean([*one.values()])) if one else math.nan, *WIDE) for name, one in ranks.items()}
    return scores, means, ranks


def _warnings(models: Sequence[Judged]) -> list[str]:
    found = []
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
            found.append(f"The results have different {what}: a part of any difference is one of how it was measured.")
    if len({model.model["pairing"] for model in models}) > 1:
        found.append(
            "Not all models can be paired, since they did not translate the same slices, or were not judged alike: "
            "they are ranked by their ratios to each result's baseline, without intervals of ranks."
        )
    if any(model.draws is None for model in models):
        found.append("A result holds no draws (--draws 0, or one patient): its differences are not shown.")
    return found


def _plain(one: Estimate) -> Values:
    return [number(one.value), number(one.low), number(one.high)]


def to_json(ranking: Ranking) -> dict[str, Any]:
    """A ranking as plain values."""
    return {
        "models": list(ranking.models),
        "ranked_by": ranking.ranked_by,
        "mean_rank": {name: _plain(one) for name, one in ranking.mean_rank.items()},
        "ranks": {name: dict(one) for name, one in ranking.ranks.items()},
        "scores": {name: {m: list(v) for m, v in one.items()} for name, one in ranking.scores.items()},
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "how": pair.how,
                "nearer": dict(pair.nearer),
                "differences": {metric: _plain(one) for metric, one in pair.differences.items()},
                "lead": None if pair.lead is None else _plain(pair.lead),
                "sentence": pair.sentence,
            }
            for pair in ranking.pairs
        ],
        "warnings": list(ranking.warnings),
    }


def table(ranking: Ranking) -> list[tuple[str, ...]]:
    """Rows for people, the head first: a model a row, the nearest first."""
    metrics = [metric for metric in METRICS if metric in next(iter(ranking.ranks.values()))]
    rows = [("model", "mean rank", *metrics)]
    for name in ranking.models:
        shown = (text(_plain(ranking.mean_rank[name])), *(text(ranking.scores[name][metric]) for metric in metrics))
        rows.append((name, *shown))
    return rows
