"""What an experiment shows: every arm compared with its baseline, as plain values for `findings.json`."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from crossmod.engine.logger import training
from crossmod.experiment.controls import compare_with_controls
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.results import BY_RUN, Result, arm_scores, patients_of
from crossmod.files import to_json
from crossmod.report.experiment.schema import (
    AgainstControls,
    ArmFinding,
    Comparison,
    Findings,
    OrganFinding,
    RunScore,
    SaturationCurve,
    Score,
)
from crossmod.runs import Run
from crossmod.statistics import power
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.baseline_quality import Training, untrained
from crossmod.statistics.intervals import interval
from crossmod.statistics.paired_effects import effects
from crossmod.statistics.saturation import saturation
from crossmod.statistics.verdicts import MAIN, METRICS, Compared, Facts, Origin, compare_arms, shared_by_folds

SEED = 0
# What the findings keep of a planned arm.
OF_PLAN = ("name", "baseline", "segmenter", "translator", "count", "min_consistency", "labelled")

# By metric, by arm.
Scores = Mapping[str, Mapping[str, ArmScores]]
Comparisons = Mapping[str, Mapping[str, Comparison]]


def facts_of(plan: Plan, arm: Arm, why_untrained: str = "") -> Facts:
    """What limits a verdict on an arm; `why_untrained` is about its baseline, empty if that works well enough."""
    origins = []
    for (fold, _), name in arm.runs.items():
        synthetic = plan.jobs[name].needs.get("synthetic")
        if synthetic is not None:
            model = plan.jobs[plan.jobs[synthetic].needs["model"]]
            source = frozenset(model.settings.get("source_patients", ()))
            origins.append(Origin(fold, model.name, model.settings.get("seed"), source))
    return Facts(shared=shared_by_folds(origins, split=plan.design.split), untrained=why_untrained)


def untrained_baselines(results: Sequence[Result]) -> dict[str, str]:
    """By baseline, why it was not trained enough to compare with; empty if it was."""
    trained: dict[str, list[Training]] = {}
    for result in results:
        if result.arm.baseline is None:
            trained.setdefault(result.arm.name, []).append(training(Run(result.run), result.card))
    return {name: untrained(runs) for name, runs in trained.items()}


def compare(plan: Plan, scores: Scores, untrained: Mapping[str, str]) -> dict[str, dict[str, Comparison]]:
    """By metric and arm, the effect, its corrected p values, and what it shows."""
    compared: dict[str, dict[str, Comparison]] = {metric: {} for metric in scores}
    for base, arms in families(plan, scores[MAIN]):
        facts = [facts_of(plan, arm, untrained.get(base, "")) for arm in arms]
        before, *after = (
            {metric: tables[name] for metric, tables in scores.items()} for name in (base, *(arm.name for arm in arms))
        )
        for metric, rows in compare_arms(before, after, facts).items():
            compared[metric] |= {arm.name: comparison(row) for arm, row in zip(arms, rows, strict=True)}
    return compared


def comparison(row: Compared) -> Comparison:
    """As plain values for `findings.json`."""
    own = {key: value for key, value in vars(row).items() if key not in ("effect", "facts")}
    return to_json({**vars(row.effect), **own, "scope": row.facts.scope, **vars(row.facts)})


def families(plan: Plan, scores: Mapping[str, ArmScores]) -> Iterator[tuple[str, list[Arm]]]:
    """Each baseline with results, and the arms with results that are compared with it: at least one."""
    for base in dict.fromkeys(arm.baseline for arm in plan.arms.values() if arm.baseline in scores):
        assert base is not None
        if arms := [arm for arm in plan.arms.values() if arm.baseline == base and arm.name in scores]:
            yield base, arms


def findings(plan: Plan, results: Sequence[Result], draws: int) -> Findings:
    """The statistics of all arms that have results; `draws` are for the share in which each count is the best."""
    scores = {metric: arm_scores(results, metric) for metric in METRICS}
    untrained = untrained_baselines(results)
    compared = compare(plan, scores, untrained)
    facts = {arm.name: facts_of(plan, arm, untrained.get(arm.baseline or "", "")) for arm in plan.arms.values()}
    controls = compare_with_controls(plan, scores[MAIN], facts)
    arms = [arm for arm in plan.arms.values() if arm.name in scores[MAIN]]
    organs = next(iter(plan.design.segmenter_settings.values())).organs
    by_organ = _by_organ(plan, results)
    return {
        "about": plan.design.about.strip(),
        "target": plan.target,
        "organ": organs[0] if len(organs) == 1 else organs_in_words(organs),
        "leaking": plan.design.split == "slice",
        "folds": list(plan.design.chosen_folds),
        "seeds": list(plan.design.seeds),
        "draws": draws,
        "patients": patients_of(results, arms[0].name) if arms else [],
        "arms": [
            _arm(arm, results, scores, compared, controls.get(arm.name), by_organ.get(arm.name, {})) for arm in arms
        ],
        "curves": _curves(plan, scores[MAIN], compared[MAIN], draws),
        "missing": [arm.name for arm in plan.arms.values() if arm.name not in scores[MAIN]],
    }


def organs_in_words(organs: Sequence[str]) -> str:
    """Several organs, such as `liver, left kidney and spleen`."""
    *first, last = (organ.replace("_", " ") for organ in organs)
    return f"{', '.join(first)} and {last}"


def _by_organ(plan: Plan, results: Sequence[Result]) -> dict[str, dict[str, OrganFinding]]:
    """By arm, the 3D Dice of each of several organs; arms of one organ are left out."""
    found: dict[str, dict[str, OrganFinding]] = {}
    for organ in dict.fromkeys(organ for result in results for organ in result.organs):
        scores = arm_scores([result.of_organ(organ) for result in results if organ in result.organs], MAIN)
        changes = {
            arm.name: effect
            for base, arms in families(plan, scores)
            for arm, effect in zip(arms, effects(scores[base], [scores[arm.name] for arm in arms]), strict=True)
        }
        for name, own in scores.items():
            change = changes.get(name)
            row: OrganFinding = {"score": score_of(own), "effect": None if change is None else to_json(vars(change))}
            found.setdefault(name, {})[organ] = row
    return found


def _arm(
    arm: Arm,
    results: Sequence[Result],
    scores: Scores,
    compared: Comparisons,
    controls: AgainstControls | None,
    organs: Mapping[str, OrganFinding],
) -> ArmFinding:
    own = [result for result in results if result.arm.name == arm.name]
    base = scores[MAIN].get(arm.baseline or "")
    scored = scores[MAIN][arm.name]
    needed = power.plan(base, scored, compared[MAIN][arm.name]["arms"]) if base is not None else None
    return to_json(
        {
            **{key: getattr(arm, key) for key in OF_PLAN},
            "slices": _mean_slices(arm) if arm.slices else 0,
            "real_slices": float(np.mean([result.card["data"]["train_slices"] for result in own])),
            "runs": [{"fold": result.fold, "seed": result.seed, "run": result.run.name} for result in own],
            "wanted": len(arm.runs),
            "constant": sum(bool(result.card["scores"]["constant"]) for result in own),
            "scores": {metric: score_of(scores[metric].get(arm.name)) for metric in METRICS},
            "by_run": {metric: _over_runs([result.of_run(metric) for result in own]) for metric in BY_RUN},
            "effects": {metric: compared[metric].get(arm.name) for metric in METRICS},
            "by_patient": scored.by_patient,
            "power": None if needed is None else {**vars(needed), "sentence": power.needed_in_words(needed)},
            "controls": controls,
            "seconds": sum(result.card["seconds"] for result in own),
            **({"organs": organs} if organs else {}),
        }
    )


def score_of(arm: ArmScores | None) -> Score | None:
    """Mean over patients with its interval, and the mean of each seed."""
    if arm is None:
        return None
    known = arm.by_patient[np.isfinite(arm.by_patient)]
    low, high = interval(known)
    return to_json(
        {
            "mean": known.mean() if known.size else None,
            "low": low,
            "high": high,
            "seeds": [np.nanmean(row) if np.isfinite(row).any() else None for row in arm.values],
            "undefined": int((~np.isfinite(arm.by_patient)).sum()),
        }
    )


def _curves(
    plan: Plan, scores: Mapping[str, ArmScores], compared: Mapping[str, Comparison], draws: int
) -> list[SaturationCurve]:
    """The main metric over counts, for each translator, segmenter, filter and number of labelled patients."""
    groups: dict[tuple[str, str | None, float, str], list[Arm]] = {}
    for arm in plan.arms.values():
        if arm.baseline in scores and arm.name in scores:
            groups.setdefault((arm.segmenter, arm.translator, arm.min_consistency, arm.labelled), []).append(arm)
    curves = []
    for (segmenter, translator, least, labelled), arms in groups.items():
        base = arms[0].baseline
        assert base is not None
        by_count = {round(_mean_slices(arm)): arm.name for arm in arms}
        if len(by_count) < 2:
            continue
        shown = [count for count, name in by_count.items() if compared[name]["verdict"] == "improves"]
        own = {0: scores[base], **{count: scores[name] for count, name in by_count.items()}}
        found = saturation(own, shown, SEED, draws)
        curve = {"segmenter": segmenter, "translator": translator, "min_consistency": least, "labelled": labelled}
        curves.append(to_json({**curve, "arms": {0: base, **by_count}, **vars(found)}))
    return curves


def _mean_slices(arm: Arm) -> float:
    return float(np.mean(list(arm.slices.values())))


def _over_runs(values: Sequence[float | None]) -> RunScore:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "least": None, "most": None}
    return {"mean": float(np.mean(known)), "least": min(known), "most": max(known)}
