"""The section of figures: which arms and curves are drawn, and the words beneath that follow their numbers."""

from typing import Any

import numpy as np

from crossmod.html.format import count
from crossmod.report import experiment_figures as figures
from crossmod.report.experiment_data import Experiment, Finding
from crossmod.report.experiment_figures import PatientGains

# Panels of patients, arms and curves that a page holds; of more, those with the largest differences.
PANELS = 6
CURVES = 6


def pictures(experiment: Experiment) -> dict[str, Any]:
    """Forest, curves, patients, and seeds."""
    gains, left_out = _gains(experiment)
    return {
        "forest": figures.forest(experiment.compared),
        "curves": [_curve(curve) for curve in experiment.findings["curves"][:CURVES]],
        "curves_left_out": max(len(experiment.findings["curves"]) - CURVES, 0),
        "patients": figures.patient_gains(gains) if gains else None,
        "patients_left_out": left_out,
        "seeds": figures.seeds(experiment.arms),
        "luck": _luck(experiment),
    }


def _curve(curve: Finding) -> dict[str, str | None]:
    parts = [curve["segmenter"], curve["translator"] or ""]
    parts += [f"consistency {curve['min_consistency']:g} or more"] if curve["min_consistency"] else []
    parts += [f"labelled patients: {curve['labelled']}"] if curve["labelled"] != "all" else []
    return {
        "name": ", ".join(part for part in parts if part),
        "figure": figures.saturation(curve),
        "words": _curve_words(curve),
    }


def _curve_words(curve: Finding) -> str:
    """Where the curve is highest, and whether that helps: the gain there is too large, since the largest was picked."""
    best = f"The best mean is at {count(curve['best'], 'synthetic slice')}"
    if curve.get("cross_fitted") is not None:
        best += (
            f": {curve['gain']:+.3f}, which is too large, since the best of several was picked; "
            f"{curve['cross_fitted']:+.3f} where it is picked without the fold that it is tested on"
        )
    if curve["enough"] is None or not curve.get("shown", True):
        return f"{best}. It is not shown to help: how many are enough is not shown."
    return (
        f"{best}. Enough: {curve['enough']:,}, the fewest that are shown to help and not shown to fall short of the "
        f"best by more than {curve['within']:g}."
    )


def _gains(experiment: Experiment) -> tuple[list[PatientGains], int]:
    """Of the arms with the largest differences; and how many others there are."""
    arms = [arm for arm in experiment.compared if arm["effects"]["dice"]["mean"] is not None]
    largest = sorted(arms, key=lambda arm: -abs(arm["effects"]["dice"]["mean"]))[:PANELS]
    shown = [arm for arm in arms if arm in largest]
    gains = [_gain(experiment, arm) for arm in shown]
    return [one for one in gains if one is not None], len(arms) - len(shown)


def _gain(experiment: Experiment, arm: Finding) -> PatientGains | None:
    base = experiment.arm(arm["baseline"])
    if base is None:
        return None
    old, new = by_seed(experiment, base), by_seed(experiment, arm)
    patients = experiment.findings["patients"]
    before, after = (dict(zip(patients, one["by_patient"], strict=False)) for one in (base, arm))
    known = [name for name in patients if before.get(name) is not None and after.get(name) is not None]
    if not known:
        return None
    known.sort(key=lambda name: after[name] - before[name])
    return PatientGains(
        arm["name"],
        known,
        np.array([after[name] - before[name] for name in known]),
        [
            np.array([new[seed].get(name, np.nan) - old[seed].get(name, np.nan) for name in known])
            for seed in old
            if seed in new and len(old) > 1
        ],
    )


def by_seed(experiment: Experiment, arm: Finding) -> dict[int, dict[str, float]]:
    """For each seed of an arm, 3D Dice by test patient."""
    tables: dict[int, dict[str, float]] = {}
    for (seed, _), run in experiment.runs(arm).items():
        values = run.card["scores"]["patient_values"]["dice"]
        tables.setdefault(seed, {}).update({name: value for name, value in values.items() if value is not None})
    return tables


def _luck(experiment: Experiment) -> str | None:
    """What one seed an arm could have shown of the best arm: anything between these two numbers."""
    best = experiment.best
    base = experiment.arm(best["baseline"]) if best else None
    if best is None or base is None:
        return None
    old, new = ([v for v in arm["scores"]["dice"]["seeds"] if v is not None] for arm in (base, best))
    if len(old) < 2 or len(new) < 2:
        return None
    return (
        f"With one seed an arm, the change by {best['name']} could have come out as anything from "
        f"{min(new) - max(old):+.3f} to {max(new) - min(old):+.3f}; over all seeds it is "
        f"{best['effects']['dice']['mean']:+.3f}."
    )
