"""What an experiment shows: every arm held against its baseline, as plain values for `findings.json` and the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmod.evaluate import power
from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.compared import Compared, compare_arms, failures_in_words
from crossmod.evaluate.facts import Facts
from crossmod.evaluate.saturation import saturation
from crossmod.evaluate.statistics import interval
from crossmod.experiment.collect import BY_PATIENT, BY_RUN, Result, arm_scores, patients_of
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.shared import facts_of_arms

MAIN = "dice"
# More than a hundred arms are a table for a program, and 10,000 draws of each take their time.
SEED = 0


def findings(plan: Plan, results: list[Result], draws: int) -> dict[str, Any]:
    """Statistics of all arms of which there are results.

    Args:
        plan: what was asked.
        results: of the finished segmenters.
        draws: of patients and runs, for the intervals.
    """
    scores = {metric: arm_scores(results, metric) for metric in BY_PATIENT}
    facts = facts_of_arms(plan, results)
    compared = {metric: _compare(plan, facts, scores[metric], metric, draws) for metric in BY_PATIENT}
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
        "curves": _curves(plan, scores[MAIN], draws),
        "missing": [arm.name for arm in plan.arms.values() if arm.name not in scores[MAIN]],
    }


def _compare(
    plan: Plan, facts: Mapping[str, Facts], scores: Mapping[str, ArmScores], metric: str, draws: int
) -> dict[str, dict[str, Any]]:
    """By arm, its effect: all arms of one baseline by the same draws, and corrected for their number."""
    found: dict[str, dict[str, Any]] = {}
    bases = dict.fromkeys(arm.baseline for arm in plan.arms.values() if arm.baseline in scores)
    for base in bases:
        assert base is not None
        names = [arm.name for arm in plan.arms.values() if arm.baseline == base and arm.name in scores]
        about = [facts[name] for name in names]
        rows = compare_arms(scores[base], [scores[name] for name in names], about, metric, draws)
        found |= {name: _plain(one, metric) for name, one in zip(names, rows, strict=True)}
    return found


def _plain(one: Compared, metric: str) -> dict[str, Any]:
    return {
        **_finite(asdict(one.effect)),
        "holm": _number(one.holm),
        "wilcoxon": _number(one.wilcoxon),
        "wilcoxon_holm": _number(one.wilcoxon_holm),
        "arms": one.arms,
        "verdict": one.verdict,
        "scope": one.facts.scope,
        "shared": list(one.facts.shared),
        "untrained": one.facts.untrained,
        "obstacle": one.obstacle,
        "sentence": one.sentence,
        "failures": failures_in_words(one.effect, metric),
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
    needed = power.plan(base, mine) if base is not None else None
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
        "by_patient": [_number(value) for value in mine.by_patient],
        "power": None if needed is None else {**_finite(asdict(needed)), "sentence": power.needed_in_words(needed)},
        "seconds": sum(one.card["seconds"] for one in own),
    }


def _score(arm: ArmScores | None) -> dict[str, Any] | None:
    """Mean over patients with its interval, and each seed's mean: what one lucky run could have shown."""
    if arm is None:
        return None
    known = arm.by_patient[np.isfinite(arm.by_patient)]
    low, high = interval(known)
    of_seeds = [_number(float(np.nanmean(row))) if np.isfinite(row).any() else None for row in arm.values]
    return {
        "mean": _number(float(known.mean())) if known.size else None,
        "low": _number(low),
        "high": _number(high),
        "seeds": of_seeds,
        "undefined": int((~np.isfinite(arm.by_patient)).sum()),
    }


def _curves(plan: Plan, scores: Mapping[str, ArmScores], draws: int) -> list[dict[str, Any]]:
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
        found = saturation({0: scores[base], **{count: scores[name] for count, name in by_count.items()}}, SEED, draws)
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
                        "best": _number(point.best),
                        "effect": None if point.effect is None else _finite(asdict(point.effect)),
                    }
                    for point in found.points
                ],
                "best": found.best,
                "enough": found.enough,
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


def _number(value: float) -> float | None:
    """JSON knows no nan and no infinity."""
    return float(value) if math.isfinite(value) else None


def _finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _finite(value) if isinstance(value, Mapping) else _number(value) if isinstance(value, float) else value
        for name, value in fields.items()
    }
