"""What an experiment shows: every arm held against its baseline, as plain values for `findings.json` and the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmod.experiment.collect import BY_PATIENT, BY_RUN, Result, arm_scores, patients_of
from crossmod.experiment.compared import compare, finite, number
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.shared import untrained_baselines
from crossmod.statistics import power
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import interval
from crossmod.statistics.saturation import saturation
from crossmod.statistics.verdicts import MAIN

SEED = 0


def findings(plan: Plan, results: list[Result], draws: int) -> dict[str, Any]:
    """Statistics of all arms of which there are results.

    Args:
        plan: what was asked.
        results: of the finished segmenters.
        draws: of patients and runs, for how often each count is the best.
    """
    scores = {metric: arm_scores(results, metric) for metric in BY_PATIENT}
    compared = compare(plan, scores, untrained_baselines(results))
    arms = [arm for arm in plan.arms.values() if arm.name in scores[MAIN]]
    return {
        "about": plan.design.about.strip(),
        "target": plan.target,
        "organ": next(iter(plan.design.segmenter_settings.values())).organs[0],
        "leaking": plan.design.split == "slice",
        "folds": list(plan.design.chosen_folds),
        "seeds": list(plan.design.seeds),
        "draws": draws,
        "patients": patients_of(results, arms[0].name) if arms else [],
        "arms": [_arm(plan, arm, results, scores, compared) for arm in arms],
        "curves": _curves(plan, scores[MAIN], compared[MAIN], draws),
        "missing": [arm.name for arm in plan.arms.values() if arm.name not in scores[MAIN]],
    }


def _arm(
    plan: Plan,
    arm: Arm,
    results: Sequence[Result],
    scores: Mapping[str, Mapping[str, ArmScores]],
    compared: Mapping[str, Mapping[str, dict[str, Any]]],
) -> dict[str, Any]:
    own = [result for result in results if result.arm.name == arm.name]
    base = scores[MAIN].get(arm.baseline or "")
    mine = scores[MAIN][arm.name]
    needed = power.plan(base, mine, compared[MAIN][arm.name]["arms"]) if base is not None else None
    return {
        "name": arm.name,
        "baseline": arm.baseline,
        "segmenter": arm.segmenter,
        "translator": arm.translator,
        "count": arm.count,
        "slices": _mean(list(arm.slices.values())) if arm.slices else 0,
        "real_slices": _mean([result.card["data"]["train_slices"] for result in own]),
        "min_consistency": arm.min_consistency,
        "labelled": arm.labelled,
        "runs": [{"fold": one.fold, "seed": one.seed, "run": one.run.name} for one in own],
        "wanted": len(arm.runs),
        "constant": sum(bool(one.card["scores"]["constant"]) for one in own),
        "scores": {metric: _score(scores[metric].get(arm.name)) for metric in BY_PATIENT},
        "by_run": {metric: _runs([one.of_run(metric) for one in own]) for metric in BY_RUN},
        "effects": {metric: compared[metric].get(arm.name) for metric in BY_PATIENT},
        "by_patient": [number(value) for value in mine.by_patient],
        "power": None if needed is None else {**finite(asdict(needed)), "sentence": power.needed_in_words(needed)},
        "seconds": sum(one.card["seconds"] for one in own),
    }


def _score(arm: ArmScores | None) -> dict[str, Any] | None:
    """Mean over patients with its interval, and each seed's mean: what one lucky run could have shown."""
    if arm is None:
        return None
    known = arm.by_patient[np.isfinite(arm.by_patient)]
    low, high = interval(known)
    of_seeds = [number(float(np.nanmean(row))) if np.isfinite(row).any() else None for row in arm.values]
    return {
        "mean": number(float(known.mean())) if known.size else None,
        "low": number(low),
        "high": number(high),
        "seeds": of_seeds,
        "undefined": int((~np.isfinite(arm.by_patient)).sum()),
    }


def _curves(
    plan: Plan, scores: Mapping[str, ArmScores], compared: Mapping[str, Mapping[str, Any]], draws: int
) -> list[dict[str, Any]]:
    """The main metric over counts: a curve for each translator, segmenter, filter and number of labelled patients."""
    groups: dict[tuple[str, str | None, float, str], list[Arm]] = {}
    for arm in plan.arms.values():
        if arm.baseline in scores and arm.name in scores:
            groups.setdefault((arm.segmenter, arm.translator, arm.min_consistency, arm.labelled), []).append(arm)
    curves = []
    for (segmenter, translator, least, labelled), arms in groups.items():
        base = arms[0].baseline
        assert base is not None
        by_count = {round(_mean(list(arm.slices.values()))): arm.name for arm in arms}
        if len(by_count) < 2:
            continue
        shown = [count for count, name in by_count.items() if compared[name]["verdict"] == "improves"]
        own = {0: scores[base], **{count: scores[name] for count, name in by_count.items()}}
        found = saturation(own, shown, SEED, draws)
        curves.append(
            {
                "segmenter": segmenter,
                "translator": translator,
                "min_consistency": least,
                "labelled": labelled,
                "arms": {str(count): name for count, name in {0: base, **by_count}.items()},
                "points": [
                    {
                        "count": point.count,
                        "best": number(point.best),
                        "effect": None if point.effect is None else finite(asdict(point.effect)),
                    }
                    for point in found.points
                ],
                "best": found.best,
                "shown": found.shown,
                "enough": found.enough,
                "gain": number(found.gain),
                "cross_fitted": number(found.cross_fitted),
                "within": found.within,
            }
        )
    return curves


def _mean(values: Sequence[float | int]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _runs(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "least": None, "most": None}
    return {"mean": float(np.mean(known)), "least": min(known), "most": max(known)}
