"""Why synthetic slices help or do not: where the gain lies, what it goes with, and learning curves."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossmod.engine.logger import loss_histories, score_histories
from crossmod.errors import InputError
from crossmod.experiment.analysis.slices import truths
from crossmod.experiment.analysis.strata import by_area, by_layer, by_patient, where_nothing_is
from crossmod.experiment.analysis.synthetic_quality import quality
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result
from crossmod.runs import Run

POINTS = 100
DIGITS = 6

# By name, pairs of step and value.
Histories = Mapping[str, Sequence[tuple[int, float]]]


def learning_curves(plan: Plan, root: Path, results: Sequence[Result]) -> dict[str, Any]:
    """Curves over the steps of training, averaged over folds and seeds, with the least and the most of them."""
    runs: dict[str, list[Histories]] = {}
    for result in results:
        runs.setdefault(result.arm.name, []).append(loss_histories(Run(result.run).metrics()))
    made: dict[str, list[Histories]] = {}
    for name, trained in _translators(plan, results).items():
        made[name] = [score_histories(Run(plan.jobs[job].folder(root)).metrics()) for job in trained]
    return {
        "segmenters": {name: together(histories) for name, histories in runs.items()},
        "translators": {name: found for name, histories in made.items() if (found := together(histories))},
    }


def together(histories: Iterable[Histories]) -> dict[str, dict[str, Any]]:
    """By name, the curves of several runs as one: `POINTS` at most, between which the runs go in straight lines."""
    curves: dict[str, list[Float[np.ndarray, "_ 2"]]] = {}
    for history in histories:
        for name, pairs in history.items():
            known = np.array([pair for pair in pairs if np.isfinite(pair[1])], dtype=np.float64).reshape(-1, 2)
            if len(known):
                curves.setdefault(name, []).append(known)
    return {name: _one(own) for name, own in curves.items()}


def _one(curves: Sequence[Float[np.ndarray, "_ 2"]]) -> dict[str, Any]:
    """Beyond its own end a run says nothing: the longest ones go on alone."""
    every = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    steps = every if len(every) <= POINTS else np.linspace(every[0], every[-1], POINTS)
    values = np.stack([np.interp(steps, *curve.T, left=np.nan, right=np.nan) for curve in curves])
    # Between the last reading of one run and the first of another, there may be none.
    there = np.isfinite(values).any(axis=0)
    steps, values = steps[there], values[:, there]
    bands = {"mean": np.nanmean(values, axis=0), "low": np.nanmin(values, axis=0), "high": np.nanmax(values, axis=0)}
    return {
        "runs": len(curves),
        "steps": [round(float(step)) for step in steps],
        **{name: [float(f"{value:.{DIGITS}g}") for value in band] for name, band in bands.items()},
    }


def _translators(plan: Plan, results: Sequence[Result]) -> dict[str, list[str]]:
    """By translator, the jobs that trained it for these results."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        made = plan.jobs[result.run.name].needs.get("synthetic")
        if made is not None and result.arm.translator is not None:
            found.setdefault(result.arm.translator, {})[plan.jobs[made].needs["model"]] = None
    return {name: list(jobs) for name, jobs in found.items()}


def explain_gain(plan: Plan, root: Path, results: Sequence[Result]) -> dict[str, Any]:
    """Strata of the gains, quality of the synthetic slices, and curves of the trainings, as plain values.

    What cannot be read any more is left out, and `notes` says so: an experiment is not lost with it.

    Args:
        plan: what was asked.
        root: the experiment's folder.
        results: of the finished segmenters.
    """
    notes: list[str] = []
    own = list(results)
    parts: dict[str, Callable[[], Any]] = {
        "strata": lambda: _strata(plan, own),
        "quality": lambda: quality(plan, root, own),
        "curves": lambda: learning_curves(plan, root, own),
    }
    found = {name: _or_note(name, make, notes) if own else None for name, make in parts.items()}
    return _plain({**found, "notes": notes})


def _strata(plan: Plan, results: list[Result]) -> dict[str, Any]:
    tested, placed = truths(plan, results)
    rules = [one.rule for one in placed]
    return {
        "layer": {
            **by_layer(plan, results, tested),
            "rules": {rule: rules.count(rule) for rule in dict.fromkeys(rules)},
        },
        "area": by_area(plan, results, tested),
        "empty": where_nothing_is(plan, results, tested),
        "patient": by_patient(plan, results, tested),
    }


WORDS = {
    "strata": "Where the gain lies is left out: a store of real cases or predictions of a run cannot be read.",
    "quality": "The quality of synthetic slices is left out: one of their stores cannot be read.",
    "curves": "Curves of the trainings are left out: they cannot be read.",
}


def _or_note(name: str, make: Callable[[], Any], notes: list[str]) -> Any:
    try:
        return make()
    except (InputError, OSError):
        notes.append(WORDS[name])
        return None


def _plain(value: Any) -> Any:
    """Values that JSON knows: neither nan nor infinity."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
