"""The map of an experiment: what synthetic slices are worth with each number of labelled patients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from crossmod.engine.logger import training
from crossmod.experiment.design import ALL, NONE
from crossmod.experiment.findings import SEED, comparison, facts_of
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.results import Result, arm_scores
from crossmod.files import to_json
from crossmod.html.format import count
from crossmod.report.experiment.schema import (
    ArmFinding,
    Comparison,
    Findings,
    LabelledNumber,
    WorthCurve,
    WorthInPatients,
    WorthMap,
)
from crossmod.report.experiment.schema import WorthPoint as Point
from crossmod.runs import Run
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.baseline_quality import untrained
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.verdicts import DICE, MAIN, compare_arms
from crossmod.statistics.worth import (
    Number,
    falls,
    no_gain_from,
    patients_in_words,
    worth,
    worth_in_words,
)
from crossmod.synthesis.families import is_control

# The control that leaves slices as they are: without labelled patients other arms are compared with it.
SOURCE = "source"

# What the arms of one curve have in common: segmenter, translator (None: MR only), count, smallest consistency.
Key = tuple[str, str | None, str, float]


def worth_map(plan: Plan, results: Sequence[Result], found: Findings, draws: int) -> WorthMap | None:
    """The map of all arms with results; None if the design does not vary the labelled patients.

    With fewer than two numbers of labelled patients it has no curves, and a note says why.
    """
    if plan.design.labelled == (ALL,):
        return None
    target = plan.target.upper()
    arms = {arm["name"]: arm for arm in found["arms"]}
    numbers = _numbers([arm for arm in plan.arms.values() if arm.name in arms])
    if len(numbers) < 2:
        seen = f"only {numbers[0]['labelled']}" if numbers else "none"
        note = (
            f"No map of what the slices are worth: it needs results of two numbers of labelled patients, found {seen}."
        )
        return {"numbers": numbers, "curves": [], "notes": [note], "answer": []}
    scores = arm_scores(results, MAIN)
    without_labels = _against_source(plan, results, scores)
    groups: dict[Key, list[Arm]] = {}
    for arm in plan.arms.values():
        if arm.name in arms:
            groups.setdefault(_key(arm), []).append(arm)
    curves: list[WorthCurve] = []
    for (segmenter, translator, *_), of_curve in groups.items():
        mr_only = {_patients(arm): scores[arm.name] for arm in _mr_only(plan, segmenter, scores)}
        points = [_point(arm, arms[arm.name], without_labels, mr_only, scores, draws) for arm in of_curve]
        points.sort(key=lambda point: point["patients"])
        control = translator is not None and is_control(plan.design.translator_settings[translator].family)
        curves.append(_curve(of_curve[0], points, control, _named(plan, of_curve[0]), target))
    curves.sort(key=lambda curve: (curve["translator"] is not None, curve["control"]))
    answer = [sentence for curve in curves if not curve["control"] for sentence in curve["sentences"]]
    return {"numbers": numbers, "curves": curves, "notes": list(_notes(plan, scores, target)), "answer": answer}


def _mr_only(plan: Plan, segmenter: str, scores: Mapping[str, ArmScores]) -> list[Arm]:
    """The arms of a segmenter without synthetic slices that have results."""
    return [
        arm
        for arm in plan.arms.values()
        if arm.segmenter == segmenter and arm.translator is None and arm.name in scores
    ]


def _key(arm: Arm) -> Key:
    return (arm.segmenter, arm.translator, "0" if arm.translator is None else arm.count, arm.min_consistency)


def _patients(arm: Arm) -> float:
    """Labelled patients, the mean over folds."""
    return float(np.mean([*arm.patients.values()]))


def _numbers(arms: Sequence[Arm]) -> list[LabelledNumber]:
    """The numbers of labelled patients of some arms, rising."""
    by_name: dict[str, list[int]] = {}
    for arm in arms:
        by_name.setdefault(arm.labelled, []).extend(arm.patients.values())
    rows: list[LabelledNumber] = [
        {"labelled": name, "patients": float(np.mean(counts)), "least": min(counts), "most": max(counts)}
        for name, counts in by_name.items()
    ]
    return sorted(rows, key=lambda row: row["patients"])


def _against_source(
    plan: Plan, results: Sequence[Result], scores: Mapping[str, ArmScores]
) -> dict[str, tuple[str, Comparison]]:
    """By arm without labelled patients, the arm of the control `source` with as many slices, and the gain over it."""
    unlabelled = [arm for arm in plan.arms.values() if arm.labelled == NONE and arm.name in scores]
    families = {name: settings.family for name, settings in plan.design.translator_settings.items()}
    compared: dict[str, tuple[str, Comparison]] = {}
    for base in unlabelled:
        arms = [
            arm for arm in unlabelled if arm is not base and (arm.segmenter, arm.count) == (base.segmenter, base.count)
        ]
        if families[base.translator or ""] != SOURCE or not arms:
            continue
        # That a segmenter of source slices finds little in the target is a result; only its loss must have settled.
        own = [training(Run(result.run), result.card) for result in results if result.arm.name == base.name]
        why = untrained([replace(one, dice=1.0, trivial=None) for one in own])
        tables = [{MAIN: scores[arm.name]} for arm in arms]
        rows = compare_arms({MAIN: scores[base.name]}, tables, [facts_of(plan, arm, why) for arm in arms])[MAIN]
        compared |= {arm.name: (base.name, comparison(row)) for arm, row in zip(arms, rows, strict=True)}
    return compared


def _point(
    arm: Arm,
    found: ArmFinding,
    without_labels: Mapping[str, tuple[str, Comparison]],
    mr_only: Mapping[Number, ArmScores],
    scores: Mapping[str, ArmScores],
    draws: int,
) -> Point:
    """One arm: its Dice, its gain over MR only (without labels: over the source), and its worth."""
    gain, against = found["effects"][MAIN], arm.baseline
    if arm.labelled == NONE:
        against, gain = without_labels.get(arm.name, (None, None))
    labelled = _patients(arm)
    value: WorthInPatients | None = None
    if arm.translator is not None and mr_only:
        of_arm = worth(mr_only, scores[arm.name], labelled, seed=SEED, draws=draws)
        value = to_json({**vars(of_arm), "sentence": worth_in_words(of_arm, labelled)})
    return {
        "arm": arm.name,
        "labelled": arm.labelled,
        "patients": labelled,
        "slices": found["slices"],
        "dice": found["scores"][MAIN],
        "gain": gain,
        "against": against if gain is not None else None,
        "worth": value,
    }


def _curve(arm: Arm, points: list[Point], control: bool, name: str, target: str) -> WorthCurve:
    verdicts: dict[Number, Verdict] = {
        point["patients"]: point["gain"]["verdict"]
        for point in points
        if point["labelled"] != NONE and point["gain"] is not None
    }
    from_number = no_gain_from(verdicts)
    # Of several segmenters, each sentence begins with its name.
    short = name.removeprefix(f"{arm.segmenter}, ")
    prefix = f"{arm.segmenter}: " if short != name else ""
    return {
        "name": name,
        "segmenter": arm.segmenter,
        "translator": arm.translator,
        "count": arm.count,
        "min_consistency": arm.min_consistency,
        "control": control,
        "points": points,
        "no_gain_from": from_number,
        "sentences": [
            f"{prefix}{sentence}"
            for sentence in (_sentences(points, verdicts, from_number, short, target) if arm.translator else ())
        ],
    }


def _named(plan: Plan, arm: Arm) -> str:
    """The name of a curve in a legend."""
    d = plan.design
    several = len([count for count in d.counts if str(count) != "0"]) > 1
    parts = [arm.segmenter] if len(d.segmenters) > 1 else []
    if arm.translator is None:
        parts.append(f"{plan.target.upper()} only")
    else:
        parts.append(f"{arm.count} {arm.translator}" if several else arm.translator)
    parts += [f"consistency {arm.min_consistency:g} or more"] if arm.min_consistency else []
    return ", ".join(parts)


def _sentences(
    points: Sequence[Point], verdicts: Mapping[Number, Verdict], none_from: Number | None, name: str, target: str
) -> list[str]:
    """A sentence without labelled patients, and one on the smallest number with a gain, or else the smallest."""
    comparable = not verdicts or set(verdicts.values()) != {"not comparable"}
    said = [_without_labels(point, name, target, comparable) for point in points if point["labelled"] == NONE]
    with_labels = [point for point in points if point["patients"] in verdicts and point["labelled"] != NONE]
    if not with_labels:
        return said
    gaining = [point for point in with_labels if verdicts[point["patients"]] == "improves"]
    point = (gaining or with_labels)[0]
    if gaining and none_from is not None:
        end = f"from {patients_in_words(none_from)} on no gain is shown"
    elif gaining:
        end = f"a gain is shown up to {patients_in_words(max(verdicts))}, all that are available"
    elif not comparable:
        end = "no number of labelled patients can be compared"
    else:
        end = "no gain is shown with any number of labelled patients"
    return [*said, f"{_gain_in_words(point, name)}; {end}."]


def _slices(point: Point, name: str) -> str:
    return f"{count(round(point['slices']), 'slice')} of {name}"


def _without_labels(point: Point, name: str, target: str, comparable: bool) -> str:
    dice, found = point["dice"], point["worth"]
    mean = "an undefined 3D Dice" if dice is None or dice["mean"] is None else f"3D Dice {dice['mean']:.3f}"
    as_much = f", {found['sentence']}" if found and comparable else ""
    gain, against = point["gain"], point["against"]
    over = ""
    if gain is not None and gain["mean"] is not None:
        size = _interval(gain)
        over = f"; {size} against {against} ({gain['verdict']})"
    return f"Without labelled {target} patients, {_slices(point, name)} reach {mean}{as_much}{over}."


def _gain_in_words(point: Point, name: str) -> str:
    gain, found = point["gain"], point["worth"]
    assert gain is not None
    start = f"With {_count_patients(point['patients'])}, {_slices(point, name)}"
    if gain["verdict"] == "not comparable":
        return f"{start}: not comparable: {gain.get('obstacle', '')}"
    return f"{start}: {_interval(gain)}" + (f", {found['sentence']}" if found else "")


def _interval(gain: Comparison) -> str:
    ends = (gain["mean"], gain["low"], gain["high"])
    mean, low, high = (np.nan if end is None else end for end in ends)
    return f"{DICE.name} {DICE.interval(mean, low, high)}"


def _count_patients(patients: Number) -> str:
    """Such as `1 labelled patient`, `9.5 labelled patients`."""
    return f"{patients_in_words(patients)} labelled patient{'' if patients == 1 else 's'}"


def _notes(plan: Plan, scores: Mapping[str, ArmScores], target: str) -> Iterator[str]:
    """What limits the map."""
    for segmenter in plan.design.segmenters:
        mr_only = _mr_only(plan, segmenter, scores)
        who = f"{segmenter}: " if len(plan.design.segmenters) > 1 else ""
        means = {_patients(arm): float(np.nanmean(scores[arm.name].values)) for arm in mr_only}
        if not means:
            yield f"{who}{target} only has no results, so that the worth in labelled patients is not known."
        for fewer, more in falls(means):
            yield (
                f"{who}{target} only falls from {patients_in_words(fewer)} to {_count_patients(more)}. For the worth "
                "the curve is made monotone (isotonic regression): there, worth and gain may contradict each other."
            )
    missing = [arm.name for arm in plan.arms.values() if arm.name not in scores]
    if missing:
        yield f"Not on the map, since no seed is finished in all folds: {', '.join(missing)}."
