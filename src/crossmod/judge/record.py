"""What a result's folder says: what went in, and, in its card, what was compared and what came out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.data.store import Store
from crossmod.evaluate.baseline import Judgement
from crossmod.judge.card import number, plain, verdicts
from crossmod.judge.measure import Measured, layer_counts
from crossmod.judge.question import TAKEN, Model, Question
from crossmod.metrics.slice_positions import Placed, Sources


def inputs_of(question: Question, sources: Sources, truth: Store | None, finder: str | None) -> dict[str, Any]:
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


def numbers_of(judgement: Judgement) -> dict[str, Any]:
    """How many were compared, and what real slices score."""
    return {
        "patients": list(judgement.patients),
        "images": {str(layer): list(count) for layer, count in judgement.images.items()},
        "baseline": plain(judgement.baseline),
    }


def model_of(
    judgement: Judgement, pairing: str | None, measured: Mapping[str, Measured], model: Model
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
    out: Path, question: Question, placed: Mapping[str, Sequence[Placed]], measured: Mapping[str, Measured]
) -> dict[str, Any]:
    """Who was compared, from which stores, and which real patients each model was trained on."""

    def side(name: str) -> dict[str, Any]:
        patients = sorted({case.record.patient for case in placed[name]})
        return {"patients": patients, "cases": len(placed[name]), "slices": len(measured[name].rows)}

    def model_side(model: Model) -> dict[str, Any]:
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
