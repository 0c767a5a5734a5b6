"""What an experiment answers: a sentence an arm, and the table of arms."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from crossmod.html.format import count, from_to, number, p_value, with_interval
from crossmod.report.experiment_data import Experiment, Finding
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
    first, rest = ([arm for arm in arms if (arm in largest) == wanted] for wanted in (True, False))
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
