"""Losses, scores of selection and alarms, separated in a run's metrics."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from crossmod.engine.alarms import Alarm
from crossmod.runs import Run
from crossmod.statistics.baseline_quality import Training

# Numbers of a reading that are no losses.
_NO_LOSS = frozenset({"step", "epoch", "seconds", "steps_per_second", "memory_gb"})
_SELECTION = "select_"


def losses(reading: Mapping[str, Any]) -> dict[str, float]:
    """The losses in one reading, by name; none in a reading of an alarm or of scores alone."""
    return {
        name: float(value)
        for name, value in reading.items()
        if isinstance(value, int | float) and name not in _NO_LOSS and not name.startswith(_SELECTION)
    }


def loss_histories(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Every loss over the steps at which it was read, in the order in which losses first come."""
    histories: dict[str, list[tuple[int, float]]] = {}
    for reading in readings:
        for name, value in losses(reading).items():
            histories.setdefault(name, []).append((reading["step"], value))
    return histories


def score_histories(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Every score on held-out patients over the steps at which it was taken."""
    histories: dict[str, list[tuple[int, float]]] = {}
    for reading in readings:
        for name, value in reading.items():
            if name.startswith(_SELECTION):
                histories.setdefault(f"held out: {name.removeprefix(_SELECTION)}", []).append((reading["step"], value))
    return histories


def alarms(run: Run) -> list[tuple[int, Alarm]]:
    """The alarms of a run's training with the step at which each was raised.

    Those of a finished run stand in its card, and an older card has none; before that they stand in the metrics.
    """
    readings = run.card.get("alarms", []) if run.finished else [r for r in run.metrics() if "alarm" in r]
    return [(r["step"], Alarm(r["alarm"], r["seen"], r["advice"])) for r in readings]


def training(run: Run, card: Mapping[str, Any]) -> Training:
    """How a segmenter trained, and what it and the best fixed mask reach over all tested pixels.

    An earlier version's card holds neither of the two; then 3D Dice, a mean over patients, stands for the first.
    What ran in another program left no losses.
    """
    scores = card["scores"]
    pooled = scores.get("pooled")
    dice = pooled["dice"] if pooled else float(np.mean(list(scores["patient_values"]["dice"].values())))
    readings = [(int(reading["step"]), sum(found.values())) for reading in run.metrics() if (found := losses(reading))]
    return Training(dice, scores.get("trivial_dice"), tuple(readings))
