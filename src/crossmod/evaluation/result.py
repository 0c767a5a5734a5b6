"""The result of an evaluation: its `card.json`, and its text."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from crossmod.data.store import Store
from crossmod.evaluation.baseline import BaselineComparison, Table
from crossmod.evaluation.cases import TAKEN, EvaluationCases, SyntheticModel
from crossmod.evaluation.measure import Measured
from crossmod.files import to_json
from crossmod.metrics.axial_layers import Placed, Sources
from crossmod.metrics.distribution import METRICS
from crossmod.settings import pixel_words
from crossmod.statistics.intervals import Estimate

Verdict = Literal["undefined", "not shown", "not told from real", "further than real", "nearer than real"]

OWN = "S"
"""What found organs where that is the model's own segmentor."""

Values = Sequence[float | None]
"""Score, lower and upper end of its interval; None for what is not known."""


class TableCard(TypedDict):
    """Scores by layer and metric, and their averages over layers by metric."""

    layers: dict[str, dict[str, Values]]
    average: dict[str, Values]


class JumpsCard(TypedDict):
    """Steps from slice to slice of a model's volumes, relative to those of real ones; `real`: of held-out volumes."""

    cases: int
    ratio: float | None
    most: float | None
    real: float | None


class SideCard(TypedDict):
    """The patients, cases and slices of a set."""

    patients: list[str]
    cases: int
    slices: int


class ModelSideCard(SideCard):
    """The origin of a model's images, and the real patients that it was trained on."""

    store: str
    family: str | None
    run: str | None
    weights: list[str]
    reference_trained_on: list[str]
    held_trained_on: list[str]


class ScoresCard(TypedDict):
    """What one model scores; models with equal `pairing` have draws that can be subtracted."""

    scores: TableCard
    ratios: TableCard
    verdicts: dict[str, Verdict]
    pairing: str | None
    jumps: JumpsCard


def values_of(one: Estimate) -> Values:
    """An estimate for JSON, which has neither NaN nor infinity."""
    return to_json([one.value, one.low, one.high])


def table_card(table: Table) -> TableCard:
    """A table for JSON."""
    layers = {str(layer): _row(estimates) for layer, estimates in table.layers.items()}
    return {"layers": layers, "average": _row(table.average)}


def _row(estimates: Mapping[str, Estimate]) -> dict[str, Values]:
    return {metric: values_of(one) for metric, one in estimates.items()}


def verdict(metric: str, score: Values, ratio: Values) -> Verdict:
    """Whether an interval includes what real images score.

    The kernel distance is not divided by its baseline; that of two samples of one distribution is 0 on average.
    """
    expected, (value, low, high) = (1.0, ratio) if METRICS[metric].divided else (0.0, score)
    if value is None:
        return "undefined"
    if low is None or high is None:
        return "not shown"
    if low <= expected <= high:
        return "not told from real"
    return "nearer than real" if (low > expected) == METRICS[metric].higher_is_better else "further than real"


def known_metrics(card: Mapping[str, Any]) -> list[str]:
    """The metrics of a result, in the order of tables: those that are measured here and were measured then."""
    return [metric for metric in METRICS if metric in card["baseline"]["average"]]


def shown_warnings(card: Mapping[str, Any]) -> list[str]:
    """The warnings of a result, and the metrics that cannot be shown here."""
    unknown = [metric for metric in card["baseline"]["average"] if metric not in METRICS]
    more = [f"Not shown: {', '.join(unknown)}, since no installed package measures it."] if unknown else []
    return [*card["warnings"], *more]


def text(values: Values, digits: int = 3) -> str:
    """A score with its interval, for people."""
    value, low, high = values
    if value is None:
        return "undefined"
    ends = "" if low is None or high is None else f" [{low:.{digits}g}, {high:.{digits}g}]"
    return f"{value:.{digits}g}{ends}"


def inputs_of(question: EvaluationCases, sources: Sources, truth: Store | None, finder: object) -> dict[str, object]:
    """Checksums of all cases that determine the numbers, so that changed data is noticed; `finder`: of what finds
    organs."""
    made_from = {r.synthetic.source_sha256 for model in question.models for r in model.records if r.synthetic}
    return {
        "real": {case.id: case.sha256 for case in (*question.reference, *question.held)},
        "synthetic": {model.name: {case.id: case.sha256 for case in model.records} for model in question.models},
        "source": {sources[case][1]: case for case in sorted(made_from & set(sources))},
        "truth": {} if truth is None else {case.id: case.sha256 for case in truth.cases},
        "segmenter": finder,
    }


def model_of(
    comparison: BaselineComparison, pairing: str | None, measured: Mapping[str, Measured], model: SyntheticModel
) -> ScoresCard:
    """What one model scores."""
    scores, ratios = (table_card(side[model.name]) for side in (comparison.scores, comparison.ratios))
    own, real = measured[model.name].jumps, measured["held"].jumps
    return {
        "scores": scores,
        "ratios": ratios,
        "verdicts": {name: verdict(name, scores["average"][name], ratios["average"][name]) for name in METRICS},
        "pairing": pairing,
        "jumps": {
            "cases": len(own),
            "ratio": _median(own),
            "most": max(own.values(), default=None),
            "real": _median(real),
        },
    }


def _median(jumps: Mapping[str, float]) -> float | None:
    return float(np.median(list(jumps.values()))) if jumps else None


def data_of(
    out: Path, question: EvaluationCases, placed: Mapping[str, Sequence[Placed]], measured: Mapping[str, Measured]
) -> dict[str, object]:
    """Which patients were compared, from which stores, and which real ones each model was trained on."""

    def side(name: str) -> SideCard:
        patients = sorted({case.record.patient for case in placed[name]})
        return {"patients": patients, "cases": len(placed[name]), "slices": len(measured[name].rows)}

    def model_side(model: SyntheticModel) -> ModelSideCard:
        origins = [record.synthetic for record in model.records if record.synthetic]
        return {
            **side(model.name),
            "store": os.path.relpath(model.store.path, out),
            "family": " + ".join(sorted({origin.family for origin in origins})) or None,
            "run": " + ".join(sorted({origin.run for origin in origins})) or None,
            "weights": sorted({origin.model for origin in origins}),
            "reference_trained_on": sorted({case.patient for case in question.reference if model.saw(case)}),
            "held_trained_on": sorted({case.patient for case in question.held if model.saw(case)}),
        }

    return {
        "real": {"store": os.path.relpath(question.real.path, out), **{name: side(name) for name in TAKEN}},
        "models": {model.name: model_side(model) for model in question.models},
    }


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


SHOWN = {"not told from real": "not distinguishable from real"}
"""Verdicts whose name in cards reads oddly."""


def rows(card: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result, header first: averages over layers, one row per model and metric."""
    table: list[tuple[str, ...]] = [("model", "metric", "score [95 %]", "real scores", "ratio [95 %]", "")]
    for name, model in card["models"].items():
        for metric in known_metrics(card):
            score, ratio = (model[side]["average"][metric] for side in ("scores", "ratios"))
            base = card["baseline"]["average"][metric]
            if score[0] is None and base[0] is None:
                continue
            divided = text(ratio) if METRICS[metric].divided else "not divided"
            word: str = model["verdicts"][metric]
            cells = text(score), text([base[0], None, None]), divided, SHOWN.get(word, word)
            table.append((name, METRICS[metric].title, *cells))
    return table


def lines(card: Mapping[str, Any]) -> list[str]:
    """A result for people: the table, organs, steps from slice to slice, the truth, and warnings."""
    real, others = card["patients"]
    printed = [
        f"{card['modality'].upper()}{' ' + card['sequence'] if card['sequence'] else ''}, {card['size']} px "
        f"({pixel_words(card)}); averages over layers; {real} real patients compared with {others} of each other set; "
        f"detector {card['detector']['name']}",
        *columns(rows(card)),
    ]
    for name, model in card["models"].items():
        words = {metric: model["verdicts"][metric] for metric in known_metrics(card)}
        alike = [METRICS[metric].title for metric, word in words.items() if word == "not told from real"]
        worse = all(word == "further than real" for word in words.values())
        summary = "worse than real by every metric" if worse else "not shown to be like real by any metric"
        if alike:
            summary = f"not distinguishable from real by {', '.join(alike)}"
        printed.append(f"{name}: {summary}.")
        printed += [organ_line(name, organ, summary) for organ, summary in model["organs"].items()]
        printed += jump_line(name, model["jumps"])
        if model["truth"]:
            printed.append(truth_line(name, model["truth"]))
    return printed + [f"Warning: {line}" for line in shown_warnings(card)]


def organ_line(name: str, organ: str, summary: Mapping[str, Any]) -> str:
    """How an organ changed."""
    moved = "" if summary["shift_mm"] is None else f", moved by {summary['shift_mm']:.1f} mm"
    grown = "" if summary["growth"] is None else f", {summary['growth']:.2f} of its size"
    fates = f"vanished in {summary['vanished']} and appeared in {summary['appeared']} of {summary['cases']} cases"
    dice = text([summary["dice"], summary["low"], summary["high"]])
    real, mean = on_real(summary), shift_words(summary)
    by = f"what {summary['found_by']} finds{real and f', {real}'}"
    shift = mean and f"; mean shift: {mean}"
    return f"{name}: {organ} Dice {dice} between label and {by}{moved}{grown} (medians){shift}; {fates}."


def on_real(summary: Mapping[str, Any]) -> str:
    """What is known of the Dice that the same segmenter has on real images; empty for the model's own segmentor."""
    if summary["on_real"] is not None:
        return f"{summary['on_real']:.3f} on its real test patients"
    return "" if summary["found_by"] == OWN else "not known on real images"


def shift_words(summary: Mapping[str, Any]) -> str:
    """The mean shift of an organ, with its signs; empty if it is not known, as in results of earlier versions."""
    rows_mm, columns_mm = (summary.get(name) for name in ("rows_mm", "columns_mm"))
    if rows_mm is None or columns_mm is None:
        return ""
    return f"rows {rows_mm:+z.1f} mm, columns {columns_mm:+z.1f} mm"


def jump_line(name: str, jumps: JumpsCard) -> list[str]:
    """How well slices fit together; empty without neighbouring slices."""
    if jumps["ratio"] is None:
        return []
    real = "" if jumps["real"] is None else f"; other real volumes: {jumps['real']:.2f}"
    return [f"{name}: steps from slice to slice are {jumps['ratio']:.2f} times those of real volumes (median){real}."]


def truth_line(name: str, truth: Mapping[str, Any]) -> str:
    """How far the truth is."""
    moved = f"; {truth['moved']} cases on another grid, interpolated" if truth["moved"] else ""
    mae = f"{text(truth['mae'])} {truth['unit']}"
    scores = f"MAE {mae}, PSNR {text(truth['psnr'])} dB, SSIM {text(truth['ssim'])}"
    return f"{name}: inside the body {scores} ({truth['patients']} patients{moved})."
