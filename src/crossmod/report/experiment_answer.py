"""What an experiment answers: a sentence an arm, and the table of arms."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from crossmod.report.experiment_data import Experiment, Finding
from crossmod.report.numbers import DIGITS, UNITS, count, from_to, number, with_interval

# So many sentences are read at a glance; of more, those that show most come first.
GLANCE = 8
OTHERS = {"iou": "3D IoU", "hd95": "HD95", "assd": "ASSD", "slice_dice": "slice Dice"}


def answer(experiment: Experiment) -> dict[str, Any]:
    """The count of verdicts, and a sentence an arm; of many, those that show the largest effects first."""
    arms = [arm for arm in experiment.arms if arm["baseline"] is not None]
    shown = [arm for arm in arms if _verdict(arm) in ("improves", "hurts")] if len(arms) > GLANCE else arms
    largest = sorted(shown, key=lambda arm: -abs((arm["effects"]["dice"] or {}).get("mean") or 0.0))[:GLANCE]
    first, rest = ([arm for arm in arms if (arm in largest) == wanted] for wanted in (True, False))
    return {
        "headline": _headline([_verdict(arm) for arm in arms]),
        "first": [_sentence(arm) for arm in first],
        "rest": [_sentence(arm) for arm in rest],
        "needed": [f"{arm['name']}: {arm['power']['sentence']}" for arm in arms if arm.get("power")],
        "others": [
            found["sentence"] for arm in arms for metric in OTHERS if (found := arm["effects"].get(metric)) is not None
        ],
    }


def _verdict(arm: Finding) -> str:
    found = arm["effects"]["dice"]
    return "not compared" if found is None else found["verdict"]


def _sentence(arm: Finding) -> str:
    found = arm["effects"]["dice"]
    if found is not None:
        return found["sentence"]
    return f"{arm['name']}: not compared, since its baseline ({arm['baseline']}) has no results."


def _headline(verdicts: Sequence[str]) -> str:
    if not verdicts:
        return "No arm with synthetic slices has results yet."
    seen = Counter(verdicts)
    parts = []
    if seen["improves"]:
        parts.append(f"{count(seen['improves'], 'arm')} with synthetic slices improve{_s(seen['improves'])} 3D Dice")
    if seen["hurts"]:
        parts.append(f"{count(seen['hurts'], 'arm')} with synthetic slices hurt{_s(seen['hurts'])} 3D Dice")
    if seen["not shown"]:
        parts.append(f"of {count(seen['not shown'], 'arm')} an effect is not shown, which is not to say there is none")
    if seen["not compared"]:
        parts.append(f"{count(seen['not compared'], 'arm')} could not be compared")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _s(number: int) -> str:
    return "s" if number == 1 else ""


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
        "holm": _p(found["holm"]) if found else "",
        "wilcoxon": _p(found["wilcoxon_holm"]) if found else "",
        "verdict": _verdict(arm) if arm["baseline"] is not None else "baseline",
        "style": _verdict(arm).replace(" ", "-") if arm["baseline"] is not None else "",
        **{metric: _mean(scores.get(metric), metric) for metric in OTHERS},
        "auc": number(arm["by_run"]["auc"]["mean"], 4),
        "base": arm["baseline"] is None,
    }


def _mean(score: Finding | None, metric: str) -> str:
    if score is None or score["mean"] is None:
        return number(None)
    return number(score["mean"], DIGITS.get(metric, 3)) + UNITS.get(metric, "")


def _p(value: float | None) -> str:
    return "no test" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
