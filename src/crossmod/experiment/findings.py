"""What an experiment shows: every arm compared with its baseline, as plain values for `findings.json`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmod.engine.logger import training
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.results import BY_PATIENT, BY_RUN, Result, arm_scores, patients_of
from crossmod.runs import Run
from crossmod.statistics import power
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.baseline_quality import Training, untrained
from crossmod.statistics.intervals import interval
from crossmod.statistics.paired_effects import effects
from crossmod.statistics.saturation import saturation
from crossmod.statistics.verdicts import MAIN, Compared, Facts, Origin, compare_arms, holm, shared_by_folds


def facts_of(plan: Plan, arm: Arm, why_untrained: str = "") -> Facts:
    """What a verdict on an arm has to know of its synthetic slices.

    Args:
        plan: with the jobs of all runs.
        arm: one with synthetic slices, or a baseline.
        why_untrained: why its baseline does not work well enough to compare with; empty where it does.
    """
    return Facts(shared=shared_by_folds(origins(plan, arm), split=plan.design.split), untrained=why_untrained)


def origins(plan: Plan, arm: Arm) -> list[Origin]:
    """The translator behind each run of an arm; none of a baseline."""
    found = []
    for (fold, _), name in arm.runs.items():
        synthetic = plan.jobs[name].needs.get("synthetic")
        if synthetic is not None:
            model = plan.jobs[plan.jobs[synthetic].needs["model"]]
            source = frozenset(model.settings.get("source_patients", ()))
            found.append(Origin(fold, model.name, model.settings.get("seed"), source))
    return found


def untrained_baselines(results: Sequence[Result]) -> dict[str, str]:
    """By baseline, why it was not trained enough to compare with; empty where it was.

    Args:
        results: of the finished segmenters.
    """
    trained: dict[str, list[Training]] = {}
    for one in results:
        if one.arm.baseline is None:
            trained.setdefault(one.arm.name, []).append(training(Run(one.run), one.card))
    return {name: untrained(runs) for name, runs in trained.items()}


# By metric, by arm.
Scores = Mapping[str, Mapping[str, ArmScores]]


def compare(plan: Plan, scores: Scores, untrained: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By metric and arm, the effect, its corrected p values, and what it shows.

    Args:
        plan: with the arms and their jobs.
        scores: of all arms with results; the main metric among them.
        untrained: by baseline, why it does not work well enough to compare with; empty or left out where it does.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {metric: {} for metric in scores}
    for base, arms in families(plan, scores[MAIN]):
        facts = [facts_of(plan, arm, untrained.get(base, "")) for arm in arms]
        rows = compare_arms(_of(scores, base), [_of(scores, arm.name) for arm in arms], facts)
        for metric, own in rows.items():
            found[metric] |= {arm.name: _row(one) for arm, one in zip(arms, own, strict=True)}
    return found


def _of(scores: Scores, arm: str) -> dict[str, ArmScores]:
    return {metric: tables[arm] for metric, tables in scores.items()}


def _row(one: Compared) -> dict[str, Any]:
    return {
        **finite(asdict(one.effect)),
        "holm": number(one.holm),
        "wilcoxon": number(one.wilcoxon),
        "wilcoxon_holm": number(one.wilcoxon_holm),
        "arms": one.arms,
        "verdict": one.verdict,
        "scope": one.facts.scope,
        "shared": list(one.facts.shared),
        "untrained": one.facts.untrained,
        "obstacle": one.obstacle,
        "sentence": one.sentence,
        "failures": one.failures,
    }


def families(plan: Plan, scores: Mapping[str, ArmScores]) -> Iterator[tuple[str, list[Arm]]]:
    """Each baseline with results, and the arms with results that are compared with it."""
    for base in dict.fromkeys(arm.baseline for arm in plan.arms.values() if arm.baseline in scores):
        assert base is not None
        yield base, [arm for arm in plan.arms.values() if arm.baseline == base and arm.name in scores]


def main_p_values(plan: Plan, scores: Mapping[str, ArmScores]) -> dict[str, float]:
    """By arm, the corrected p value of the main score: the gate of all further tests.

    Args:
        plan: with the arms.
        scores: the main metric by arm.
    """
    found: dict[str, float] = {}
    for base, arms in families(plan, scores):
        p_values = holm(np.array([one.p for one in effects(scores[base], [scores[arm.name] for arm in arms])]))
        found |= {arm.name: float(p) for arm, p in zip(arms, p_values, strict=True)}
    return found


def number(value: float) -> float | None:
    """JSON knows neither nan nor infinity."""
    return float(value) if math.isfinite(value) else None


def finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON takes them."""
    return {
        name: finite(value) if isinstance(value, Mapping) else number(value) if isinstance(value, float) else value
        for name, value in fields.items()
    }


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
