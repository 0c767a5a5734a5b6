"""The result of an evaluation: its folder, its `card.json`, and its text."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossmod.data.store import Store
from crossmod.evaluation.baseline import UNDIVIDED, BaselineComparison, Table
from crossmod.evaluation.cases import TAKEN, EvaluationCases, SyntheticModel
from crossmod.evaluation.measure import Measured, layer_counts
from crossmod.metrics.distribution import HIGHER_IS_BETTER, METRICS
from crossmod.metrics.slice_positions import Placed, Sources
from crossmod.settings import pixel_words
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


def inputs_of(question: EvaluationCases, sources: Sources, truth: Store | None, finder: str | None) -> dict[str, Any]:
    """Checksums of all cases that decide the numbers, so that changed data is noticed.

    Args:
        question: both sides.
        sources: the scans that are at hand; of them those count that a synthetic case was made from.
        truth: store of the truth, where one was given.
        finder: hash of the segmenter that looks for organs, where one was given.
    """
    made_from = {r.synthetic.source_sha256 for model in question.models for r in model.records if r.synthetic}
    return {
        "real": {case.id: case.sha256 for case in (*question.reference, *question.held)},
        "synthetic": {model.name: {case.id: case.sha256 for case in model.records} for model in question.models},
        "source": {sources[case][1]: case for case in sorted(made_from & set(sources))},
        "truth": {} if truth is None else {case.id: case.sha256 for case in truth.cases},
        "segmenter": finder,
    }


def numbers_of(judgement: BaselineComparison) -> dict[str, Any]:
    """How many were compared, and what real slices score."""
    return {
        "patients": list(judgement.patients),
        "images": {str(layer): list(count) for layer, count in judgement.images.items()},
        "baseline": plain(judgement.baseline),
    }


def model_of(
    judgement: BaselineComparison, pairing: str | None, measured: Mapping[str, Measured], model: SyntheticModel
) -> dict[str, Any]:
    """What one model scores; `pairing` tells whose draws it can be paired with."""
    scores, ratios = (plain(side[model.name]) for side in (judgement.scores, judgement.ratios))
    jumps = {name: measured[name].jumps for name in ("held", model.name)}
    return {
        "scores": scores,
        "ratios": ratios,
        "verdicts": verdicts(scores["average"], ratios["average"]),
        "pairing": pairing,
        "jumps": {
            "cases": len(jumps[model.name]),
            "ratio": number(_median(jumps[model.name])),
            "most": number(max(jumps[model.name].values(), default=float("nan"))),
            "real": number(_median(jumps["held"])),
        },
    }


def _median(jumps: Mapping[str, float]) -> float:
    return float(np.median(list(jumps.values()))) if jumps else float("nan")


def data_of(
    out: Path, question: EvaluationCases, placed: Mapping[str, Sequence[Placed]], measured: Mapping[str, Measured]
) -> dict[str, Any]:
    """Who was compared, from which stores, and which real patients each model was trained on."""

    def side(name: str) -> dict[str, Any]:
        patients = sorted({case.record.patient for case in placed[name]})
        return {"patients": patients, "cases": len(placed[name]), "slices": len(measured[name].rows)}

    def model_side(model: SyntheticModel) -> dict[str, Any]:
        made = [record.synthetic for record in model.records if record.synthetic]
        return {
            **side(model.name),
            "store": os.path.relpath(model.store.path, out),
            "family": " + ".join(sorted({one.family for one in made})) or None,
            "run": " + ".join(sorted({one.run for one in made})) or None,
            "weights": sorted({one.model for one in made}),
            "reference_trained_on": sorted({case.patient for case in question.reference if model.saw(case)}),
            "held_trained_on": sorted({case.patient for case in question.held if model.saw(case)}),
        }

    return {
        "real": {"store": os.path.relpath(question.real.path, out), **{name: side(name) for name in TAKEN}},
        "models": {model.name: model_side(model) for model in question.models},
    }


def layers_of(placed: Mapping[str, Sequence[Placed]], common: frozenset[int]) -> dict[str, Any]:
    """How many slices lie in each layer, and by which rule each case was placed."""
    return {
        "common": sorted(common),
        "counts": {name: layer_counts(cases) for name, cases in placed.items()},
        "rules": {name: {case.record.id: case.rule for case in cases} for name, cases in placed.items()},
    }


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of words as lines in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def rows(card: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result, its head first: averages over layers, a row a model and metric."""
    found = [("model", "metric", "score [95 %]", "real scores", "ratio [95 %]", "")]
    for name, model in card["models"].items():
        for metric in METRICS:
            score, ratio = (model[side]["average"][metric] for side in ("scores", "ratios"))
            base = card["baseline"]["average"][metric]
            if score[0] is None and base[0] is None:
                continue
            shown = "not divided" if metric in UNDIVIDED else text(ratio)
            found.append(
                (name, NAMES[metric], text(score), text([base[0], None, None]), shown, model["verdicts"][metric])
            )
    return found


def lines(card: Mapping[str, Any]) -> list[str]:
    """What is told of a result: the table, organs, steps from slice to slice, the truth, and warnings."""
    real, others = card["patients"]
    told = [
        f"{card['modality'].upper()}{' ' + card['sequence'] if card['sequence'] else ''}, {card['size']} px "
        f"({pixel_words(card)}); averages over layers; {real} real patients against {others} of each other set; "
        f"detector {card['detector']['name']}",
        *columns(rows(card)),
    ]
    for name, model in card["models"].items():
        alike = [NAMES[metric] for metric, word in model["verdicts"].items() if word == "not told from real"]
        told.append(f"{name}: not told from real by {', '.join(alike) or 'none of them'}.")
        told += [organ_line(name, organ, one) for organ, one in model["organs"].items()]
        told += jump_line(name, model["jumps"])
        if model["truth"]:
            told.append(truth_line(name, model["truth"]))
    return told + [f"Note: {line}" for line in card["warnings"]]


def organ_line(name: str, organ: str, one: Mapping[str, Any]) -> str:
    """What became of an organ."""
    moved = "" if one["shift_mm"] is None else f", moved by {one['shift_mm']:.1f} mm"
    grown = "" if one["growth"] is None else f", {one['growth']:.2f} of its size"
    fates = f"vanished in {one['vanished']} and appeared in {one['appeared']} of {one['cases']} cases"
    dice = text([one["dice"], one["low"], one["high"]])
    real = "" if one["on_real"] is None else f", {one['on_real']:.3f} on its real test patients"
    by = f"what {one['found_by']} finds{real}"
    return f"{name}: {organ} Dice {dice} between label and {by}{moved}{grown} (medians); {fates}."


def jump_line(name: str, jumps: Mapping[str, Any]) -> list[str]:
    """How well slices fit together; nothing where there are no neighbours."""
    if jumps["ratio"] is None:
        return []
    real = "" if jumps["real"] is None else f"; of other real volumes {jumps['real']:.2f}"
    return [f"{name}: steps from slice to slice are {jumps['ratio']:.2f} of those of real volumes (median){real}."]


def truth_line(name: str, truth: Mapping[str, Any]) -> str:
    """How near the truth is."""
    moved = f"; {truth['moved']} cases on another grid, interpolated" if truth["moved"] else ""
    mae = f"{text(truth['mae'])} {truth['unit']}"
    scores = f"MAE {mae}, PSNR {text(truth['psnr'])} dB, SSIM {text(truth['ssim'])}"
    return f"{name}: inside the body {scores} ({truth['patients']} patients{moved})."
