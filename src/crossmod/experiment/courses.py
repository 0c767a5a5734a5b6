"""How trainings went: losses of segmenters by arm, and scores of translators on held-out patients."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossmod.engine.logger import loss_histories, score_histories
from crossmod.experiment.collect import Result
from crossmod.experiment.plan import Plan
from crossmod.runs import Run

POINTS = 100
DIGITS = 6

# By name, pairs of step and value.
Histories = Mapping[str, Sequence[tuple[int, float]]]


def courses(plan: Plan, root: Path, results: Sequence[Result]) -> dict[str, Any]:
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
