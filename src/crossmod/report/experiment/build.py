"""The report of an experiment: its answer, the table of arms, the sections of figures, and the page."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.html.format import count, from_to, number, p_value, with_interval
from crossmod.html.page import check_free, write_page
from crossmod.progress import track
from crossmod.report.experiment import figures
from crossmod.report.experiment import paper as paper_figures
from crossmod.report.experiment import warnings as experiment_warnings
from crossmod.report.experiment.analysis import why_section
from crossmod.report.experiment.data import Experiment, Finding, read_experiment
from crossmod.report.experiment.figures import PatientGains, extremes
from crossmod.report.experiment.methods import for_papers
from crossmod.report.experiment.paper import costs, tables
from crossmod.report.sections import verdict_label
from crossmod.statistics.verdicts import METRICS, Scope

# So many sentences are read at a glance; of more, those that show most come first.
GLANCE = 8
OTHERS = tuple(metric for metric in METRICS if metric != "dice")
# What an earlier version's findings spoke of: its translators had one seed in all folds.
SCOPE_BEFORE: Scope = "these models"


def answer(experiment: Experiment) -> dict[str, Any]:
    """The count of verdicts, and a sentence an arm; of many, those that show the largest effects first."""
    arms = [arm for arm in experiment.arms if arm["baseline"] is not None]
    shown = [arm for arm in arms if _verdict(arm) in ("improves", "hurts")] if len(arms) > GLANCE else arms
    largest = sorted(shown, key=lambda arm: -abs((arm["effects"]["dice"] or {}).get("mean") or 0.0))[:GLANCE]
    first, rest = ([arm for arm in arms if (arm in largest) == expected] for expected in (True, False))
    return {
        "headline": headline(arms),
        "first": [_sentence(arm) for arm in first],
        "rest": [_sentence(arm) for arm in rest],
        "needed": [
            f"{arm['name']}: {arm['power']['sentence']}"
            for arm in arms
            if arm.get("power") and _verdict(arm) != "not comparable"
        ],
        "failures": [f"{arm['name']}: {words}" for arm in arms for words in _failures(arm)],
        "others": [
            found["sentence"] for arm in arms for metric in OTHERS if (found := arm["effects"].get(metric)) is not None
        ],
    }


def sentences(experiment: Experiment) -> list[str]:
    """What each arm adds to its baseline, in a sentence."""
    return [_sentence(arm) for arm in experiment.arms if arm["baseline"] is not None]


def _failures(arm: Finding) -> list[str]:
    """What is known of patients without a score."""
    found = [arm["effects"].get(metric) for metric in METRICS]
    return [one["failures"] for one in found if one is not None and one.get("failures")]


def _verdict(arm: Finding) -> str:
    found = arm["effects"]["dice"]
    return "not compared" if found is None else found["verdict"]


def _scope(arm: Finding) -> Scope:
    found = arm["effects"]["dice"]
    return SCOPE_BEFORE if found is None else found.get("scope", SCOPE_BEFORE)


def _sentence(arm: Finding) -> str:
    found = arm["effects"]["dice"]
    if found is not None:
        return found["sentence"]
    return f"{arm['name']}: not compared, since its baseline ({arm['baseline']}) has no results."


def headline(arms: Sequence[Finding]) -> str:
    """How many arms show what; of whom it speaks follows from what their synthetic slices share."""
    if not arms:
        return "No arm with synthetic slices has results yet."
    seen = Counter((_verdict(arm), _scope(arm)) for arm in arms)
    parts = []
    for verdict, verb in (("improves", "improve"), ("hurts", "lower")):
        for scope in ("synthetic slices", "this model", "these models"):
            found = seen[verdict, scope]
            if found:
                who = f"{scope[0].upper()}{scope[1:]} {verb}{'s' if scope == 'this model' else ''}"
                parts.append(f"{who} 3D Dice ({_of(found, len(arms))}).")
    verdicts = Counter(map(_verdict, arms))
    if verdicts["not shown"]:
        parts.append(
            f"No effect shown ({_of(verdicts['not shown'], len(arms))}); this does not show that there is none."
        )
    if verdicts["not comparable"]:
        untrained = sum(bool((arm["effects"]["dice"] or {}).get("untrained")) for arm in arms)
        if untrained:
            parts.append(f"Not trained enough to compare ({_of(untrained, len(arms))}).")
        if verdicts["not comparable"] > untrained:
            parts.append(f"Not comparable ({_of(verdicts['not comparable'] - untrained, len(arms))}).")
    if verdicts["not compared"]:
        parts.append(f"Not compared: the baseline has no results ({_of(verdicts['not compared'], len(arms))}).")
    return " ".join(parts)


def _of(found: int, total: int) -> str:
    return count(total, "arm") if found == total else f"{found} of {count(total, 'arm')}"


def asked(experiment: Experiment) -> dict[str, str]:
    """What the experiment was, in a line: whom it tested, how often, and how the sides were divided."""
    found = experiment.findings
    seeds, folds = count(len(found["seeds"]), "seed"), count(len(found["folds"]), "fold")
    how = "slices of patients that were also trained on" if found["leaking"] else "patients that nothing was trained on"
    patients = count(len(found["patients"]), "test patient")
    return {
        "about": found["about"],
        "line": f"{found['organ'].capitalize()} in {found['target'].upper()}. {patients}, {folds}, {seeds} an arm and "
        f"fold; tested on {how}.",
    }


def table(experiment: Experiment) -> list[dict[str, Any]]:
    """A row an arm, each baseline before its arms."""
    return [_row(arm) for arm in experiment.arms]


def _row(arm: Finding) -> dict[str, Any]:
    scores, found = arm["scores"], arm["effects"]["dice"]
    seeds = [value for value in (scores["dice"] or {"seeds": []})["seeds"] if value is not None]
    return {
        "arm": arm["name"],
        "real": number(arm["real_slices"], 0),
        "synthetic": number(arm["slices"], 0),
        "dice": with_interval(scores["dice"]),
        "seeds": from_to(seeds, 3) if len(seeds) > 1 else "one seed",
        "difference": with_interval(found, sign=True) if found else "",
        "holm": _p(found, "holm"),
        "wilcoxon": _p(found, "wilcoxon_holm"),
        "verdict": _label(arm) if arm["baseline"] is not None else "baseline",
        "style": _verdict(arm).replace(" ", "-") if arm["baseline"] is not None else "",
        "base": arm["baseline"] is None,
    }


def _p(found: Finding | None, which: str) -> str:
    """A p value of an arm that can be compared: of another it says nothing."""
    return "" if found is None or found["verdict"] == "not comparable" else p_value(found[which])


def _label(arm: Finding) -> str:
    found = arm["effects"]["dice"]
    return "not compared" if found is None else verdict_label(found["verdict"], _scope(arm))


def other_scores(experiment: Experiment) -> list[dict[str, Any]]:
    """A row an arm: every other score, and of how many patients it is the mean where some have none."""
    patients = len(experiment.findings["patients"])
    return [
        {
            "arm": arm["name"],
            "base": arm["baseline"] is None,
            **{metric: _mean(arm["scores"].get(metric), metric, patients) for metric in OTHERS},
            **{metric: number(_by_run(arm, metric), 4) for metric in ("pooled_dice", "pooled_iou", "auc")},
        }
        for arm in experiment.arms
    ]


def _by_run(arm: Finding, metric: str) -> float | None:
    """The mean over runs; None also where an earlier version did not take the score."""
    return (arm["by_run"].get(metric) or {"mean": None})["mean"]


def _mean(score: Finding | None, metric: str, patients: int) -> str:
    if score is None or score["mean"] is None:
        return number(None)
    how = METRICS[metric]
    text = number(score["mean"], how.digits) + (f" {how.unit}" if how.unit else "")
    missing = score.get("undefined", 0)
    return f"{text} ({patients - missing} of {patients})" if missing else text


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


def build_experiment_report(root: Path, out: Path, *, sources: Sequence[Path] = ()) -> list[str]:
    """Write the report of an experiment.

    Args:
        root: the experiment's folder, which has results.
        out: the HTML file.
        sources: stores in which to look for the slices that synthetic ones were made from; those that translators were
            trained on are looked into anyway.

    Returns:
        What each arm adds to its baseline, in a sentence.

    Raises:
        InputError: a file of the experiment is missing or damaged, or `out` is no report.
    """
    check_free(out)
    experiment = read_experiment(root)
    parts: dict[str, Callable[[], object]] = {
        "asked": lambda: asked(experiment),
        "answer": lambda: answer(experiment),
        "warnings": lambda: experiment_warnings.warnings(experiment),
        "failures": lambda: experiment_warnings.failures(experiment),
        "table": lambda: table(experiment),
        "others": lambda: other_scores(experiment),
        "pictures": lambda: pictures(experiment),
        "tables": lambda: tables(experiment),
        "figures": lambda: paper_figures.pictures(experiment, sources),
        "extremes": lambda: extremes(experiment),
        "papers": lambda: for_papers(experiment),
        "costs": lambda: costs(experiment),
        "why": lambda: why_section(experiment.findings),
    }
    made = {name: make() for name, make in track(parts.items(), "Drawing the report")}
    write_page("crossmod.report.experiment", "experiment.html", out, root=root.resolve().name, **made)
    return sentences(experiment)
