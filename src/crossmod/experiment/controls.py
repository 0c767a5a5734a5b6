"""Arms of networks compared with the same arms of controls: is a network better than trivial sources of more slices?

Notable:
- Each arm of a network is compared with each control, and p values are corrected by Holm's procedure over all these
  comparisons of arms with one baseline. They are tests of their own beside those of arms with baselines: either kind
  shows something false in at most 5 % of experiments without any effect.
- The best control is the one with the largest mean. It was chosen by the scores that it is compared by, so that its
  advantage is too large. That favours the control: an arm is called better than all controls only if it is shown to be
  better than each of them.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from crossmod.experiment.plan import Arm, Plan
from crossmod.files import to_json
from crossmod.report.experiment.schema import AgainstControls, ControlRow
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.paired_effects import Effect, effect
from crossmod.statistics.verdicts import MAIN, METRICS, Facts, holm, obstacle, verdict
from crossmod.synthesis.families import is_control


def compare_with_controls(
    plan: Plan, scores: Mapping[str, ArmScores], facts: Mapping[str, Facts]
) -> dict[str, AgainstControls]:
    """By arm of a network, its comparisons with the controls that were trained alike; only arms with results.

    Args:
        plan: arms and translators.
        scores: the main score by arm.
        facts: by arm, what limits a verdict on it.
    """
    found: dict[str, AgainstControls] = {}
    for base in dict.fromkeys(arm.baseline for arm in plan.arms.values() if arm.baseline is not None):
        pairs = list(_pairs(plan, base, scores))
        effects = [effect(scores[control.name], scores[arm.name]) for arm, control in pairs]
        corrected = holm(np.array([each.p for each in effects]))
        rows: dict[str, list[ControlRow]] = {}
        for (arm, control), each, p in zip(pairs, effects, corrected, strict=True):
            shown = verdict(each, float(p), facts[arm.name])
            rows.setdefault(arm.name, []).append(_row(control, each, float(p), shown, obstacle(each, facts[arm.name])))
        for name, own in rows.items():
            words = in_words(name, own, facts[name].shared)
            found[name] = {"tests": len(pairs), "rows": own, "sentence": words}
    return found


def _pairs(plan: Plan, base: str, scores: Mapping[str, ArmScores]) -> Iterator[tuple[Arm, Arm]]:
    """Arms of networks, each with every control's arm of the same segmenter, count and labels."""
    families = {name: settings.family for name, settings in plan.design.translator_settings.items()}
    arms = [arm for arm in plan.arms.values() if arm.baseline == base and arm.name in scores]
    controls = [arm for arm in arms if arm.translator and is_control(families[arm.translator])]
    for arm in arms:
        if arm not in controls:
            alike = arm.segmenter, arm.count, arm.labelled
            yield from ((arm, own) for own in controls if (own.segmenter, own.count, own.labelled) == alike)


def _row(control: Arm, found: Effect, p: float, shown: Verdict, why: str) -> ControlRow:
    own = {"control": control.translator, "arm": control.name, "holm": p, "verdict": shown, "obstacle": why}
    return to_json({**vars(found), **own})


def in_words(name: str, rows: Sequence[ControlRow], shared: Sequence[str] = ()) -> str:
    """One sentence on an arm and its controls; a second one on what its folds share, if a difference is shown."""
    sentence = _difference_in_words(name, rows)
    if not shared or not any(row["verdict"] in ("improves", "hurts") for row in rows):
        return sentence
    return f"{sentence} Folds share {' and '.join(shared)}: another training may do otherwise."


def _difference_in_words(name: str, rows: Sequence[ControlRow]) -> str:
    known = [row for row in rows if row["verdict"] != "not comparable"]
    if not known:
        return f"{name}: not comparable with {_named(rows)}: {rows[0]['obstacle']}."
    best = min(known, key=lambda row: row["mean"] if row["mean"] is not None else np.inf)
    worse = [row for row in known if row["verdict"] == "hurts"]
    if worse:
        return f"{name} is worse than {_named(worse)} ({_difference(worse)})."
    open_ = [row for row in known if row["verdict"] == "not shown"]
    if open_:
        beaten = [row for row in known if row["verdict"] == "improves"]
        also = f"; it is better than {_named(beaten)}" if beaten else ""
        return f"{name} is not shown to be better than {_named(open_)} ({_difference(open_)}){also}."
    if len(known) == 1:
        return f"{name} is better than {_named(known)} ({_difference(known)})."
    return (
        f"{name} is better than each of {len(known)} controls, and than the best, {_code(best)}, by {_interval(best)}."
    )


def _named(rows: Sequence[ControlRow]) -> str:
    return f"the control{'s' if len(rows) > 1 else ''} {' and '.join(map(_code, rows))}"


def _code(row: ControlRow) -> str:
    return f"`{row['control']}`"


def _difference(rows: Sequence[ControlRow]) -> str:
    return f"difference {'; '.join(map(_interval, rows))}"


def _interval(row: ControlRow) -> str:
    mean, low, high = (np.nan if value is None else float(value) for value in (row["mean"], row["low"], row["high"]))
    return METRICS[MAIN].interval(mean, low, high)
