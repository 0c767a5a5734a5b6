"""The report of an experiment: its answer, the table of arms, the sections of figures, and the page."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crossmod.html.format import Cell, Table, count, number, p_value, with_interval
from crossmod.html.page import check_free, write_page
from crossmod.progress import track
from crossmod.report.added_sections import added_sections
from crossmod.report.collect import spread_of
from crossmod.report.experiment import data as experiment_warnings
from crossmod.report.experiment import figures
from crossmod.report.experiment import paper as paper_figures
from crossmod.report.experiment.analysis import why_section
from crossmod.report.experiment.data import Experiment, change_of, means_of_seeds, read_experiment
from crossmod.report.experiment.figures import PatientGains, extremes
from crossmod.report.experiment.methods import for_papers
from crossmod.report.experiment.paper import by_run_mean, costs, tables
from crossmod.report.experiment.published import published_section
from crossmod.report.experiment.schema import ArmFinding, OrganFinding, SaturationCurve, Score
from crossmod.report.experiment.worth import worth_section
from crossmod.report.sections import LABELS, verdict_label
from crossmod.statistics.verdicts import MAIN, METRICS, Scope

# Sentences that are read at a glance; of more, those with the largest effects come first.
GLANCE = 8
# The scope of an earlier version's findings: its translators had one seed in all folds.
SCOPE_BEFORE: Scope = "these models"


def answer(experiment: Experiment) -> dict[str, object]:
    """The count of verdicts, and a sentence per arm; of many, those with the largest effects first."""
    arms = [arm for arm in experiment.arms if arm["baseline"] is not None]
    shown = [arm for arm in arms if _verdict(arm) in LABELS] if len(arms) > GLANCE else arms
    largest = sorted(shown, key=lambda arm: -abs(change_of(arm) or 0.0))[:GLANCE]
    effects = [(arm, metric, effect) for arm in arms for metric in METRICS if (effect := arm["effects"].get(metric))]
    return {
        "headline": headline(arms),
        "first": [_sentence(arm) for arm in arms if arm in largest],
        "rest": [_sentence(arm) for arm in arms if arm not in largest],
        "needed": [
            f"{arm['name']}: {power['sentence']}"
            for arm in arms
            if (power := arm.get("power")) and _verdict(arm) != "not comparable"
        ],
        "failures": [f"{arm['name']}: {text}" for arm, _, effect in effects if (text := effect.get("failures"))],
        "others": [effect["sentence"] for _, metric, effect in effects if metric != MAIN],
    }


def sentences(experiment: Experiment) -> list[str]:
    """What each arm adds to its baseline, and how it compares with controls, in a sentence each."""
    return [_sentence(arm) for arm in experiment.arms if arm["baseline"] is not None] + _of_controls(experiment)


def _of_controls(experiment: Experiment) -> list[str]:
    return [found["sentence"] for arm in experiment.arms if (found := arm.get("controls"))]


def against_controls(experiment: Experiment) -> dict[str, object] | None:
    """Every arm of a network compared with every control; None without controls."""
    found = [(arm["name"], own) for arm in experiment.arms if (own := arm.get("controls"))]
    if not found:
        return None
    head = ("Arm", "Control", "Difference of 3D Dice [95 %]", "p (Holm)", "Verdict")
    words = {"improves": "better", "hurts": "worse"}
    rows = [
        [
            name,
            row["control"],
            with_interval(row, sign=True),
            "" if row["verdict"] == "not comparable" else p_value(row["holm"]),
            Cell(words.get(row["verdict"], row["verdict"]), (), row["verdict"]),
        ]
        for name, own in found
        for row in own["rows"]
    ]
    tests = max(own["tests"] for _, own in found)
    return {"table": Table(head, rows), "sentences": _of_controls(experiment), "tests": tests}


def _verdict(arm: ArmFinding) -> str:
    effect = arm["effects"][MAIN]
    return "not compared" if effect is None else effect["verdict"]


def _scope(arm: ArmFinding) -> Scope:
    effect = arm["effects"][MAIN]
    return SCOPE_BEFORE if effect is None else effect.get("scope", SCOPE_BEFORE)


def _sentence(arm: ArmFinding) -> str:
    effect = arm["effects"][MAIN]
    if effect is not None:
        return effect["sentence"]
    return f"{arm['name']}: not compared, since its baseline ({arm['baseline']}) has no results."


def headline(arms: Sequence[ArmFinding]) -> str:
    """How many arms show what; of whom it speaks follows from what their synthetic slices share."""
    if not arms:
        return "No arm with synthetic slices has results yet."
    seen = Counter((_verdict(arm), _scope(arm)) for arm in arms)
    parts = []
    for verdict, verb in (("improves", "improve"), ("hurts", "lower")):
        for scope in ("synthetic slices", "this model", "these models"):
            if seen[verdict, scope]:
                who = f"{scope[0].upper()}{scope[1:]} {verb}{'s' if scope == 'this model' else ''}"
                parts.append(f"{who} 3D Dice ({_of(seen[verdict, scope], len(arms))}).")
    verdicts = Counter(map(_verdict, arms))
    effects = [arm["effects"][MAIN] for arm in arms]
    untrained = sum(bool(effect and effect.get("untrained")) for effect in effects)
    for arms_of_verdict, words, more in (
        (verdicts["not shown"], "No effect shown", "; this does not show that there is none"),
        (untrained, "Not trained enough to compare", ""),
        (verdicts["not comparable"] - untrained, "Not comparable", ""),
        (verdicts["not compared"], "Not compared: the baseline has no results", ""),
    ):
        if arms_of_verdict > 0:
            parts.append(f"{words} ({_of(arms_of_verdict, len(arms))}){more}.")
    return " ".join(parts)


def _of(number: int, total: int) -> str:
    return count(total, "arm") if number == total else f"{number} of {count(total, 'arm')}"


def asked(experiment: Experiment) -> dict[str, str]:
    """The question of the experiment: test patients, folds, seeds and split."""
    found = experiment.findings
    seeds, folds = count(len(found["seeds"]), "seed"), count(len(found["folds"]), "fold")
    how = "slices of patients that were also trained on" if found["leaking"] else "patients that nothing was trained on"
    patients = count(len(found["patients"]), "test patient")
    mean = " All scores are means over these organs." if experiment.several_organs else ""
    return {
        "about": found["about"],
        "line": f"{found['organ'].capitalize()} in {found['target'].upper()}. {patients}, {folds}, {seeds} per arm and "
        f"fold; tested on {how}.{mean}",
    }


def results(experiment: Experiment) -> Table:
    """3D Dice of each arm, and its change against the baseline."""
    head = (
        "Arm", "Real slices", "Synthetic", "3D Dice [95 %]", "Seeds from, to", "Change of 3D Dice [95 %]", "p (Holm)",
        "Wilcoxon's p (Holm)", "Verdict",
    )  # fmt: skip
    rows: list[list[str | Cell]] = []
    for arm in experiment.arms:
        dice, effect, verdict = arm["scores"][MAIN], arm["effects"][MAIN], _verdict(arm)
        change = with_interval(effect, sign=True) if effect else ""
        # The p value of an arm that is not comparable has no meaning.
        tested = effect if verdict != "not comparable" else None
        p_values = [p_value(tested[test]) if tested else "" for test in ("holm", "wilcoxon_holm")]
        label = "baseline" if arm["baseline"] is None else verdict
        if effect is not None:
            label = Cell(verdict_label(effect["verdict"], _scope(arm)), (), verdict)
        slices = [number(arm["real_slices"], 0), number(arm["slices"], 0)]
        rows.append(
            [arm["name"], *slices, with_interval(dice), spread_of(means_of_seeds(arm)), change, *p_values, label]
        )
    return Table(head, rows, _baselines(experiment))


def _baselines(experiment: Experiment) -> list[int]:
    return [place for place, arm in enumerate(experiment.arms) if arm["baseline"] is None]


def organs(experiment: Experiment) -> Table | None:
    """3D Dice of each of several organs in each arm, with its change against the baseline; None for one organ."""
    arms = [arm for arm in experiment.arms if arm.get("organs")]
    names = list(dict.fromkeys(organ for arm in arms for organ in arm.get("organs", {})))
    if not names:
        return None
    rows = [[arm["name"], *(_organ(arm.get("organs", {}).get(organ)) for organ in names)] for arm in arms]
    baselines = [place for place, arm in enumerate(arms) if arm["baseline"] is None]
    return Table(("Arm", *(organ.replace("_", " ") for organ in names)), rows, baselines)


def _organ(found: OrganFinding | None) -> Cell | str:
    if found is None:
        return ""
    effect = found["effect"]
    return Cell(with_interval(found["score"]), (with_interval(effect, sign=True),) if effect else ())


def other_scores(experiment: Experiment) -> Table:
    """Every other score, with the number of its patients if some have none."""
    patients = len(experiment.findings["patients"])
    names = {"iou": "3D IoU", "slice_dice": "Slice Dice"}
    others = [metric for metric in METRICS if metric != MAIN]
    by_run = {"pooled_dice": "Dice, all pixels", "pooled_iou": "IoU, all pixels", "auc": "AUC"}
    rows = [
        [
            arm["name"],
            *(_mean(arm["scores"].get(metric), metric, patients) for metric in others),
            *(number(by_run_mean(arm, metric), 4) for metric in by_run),
        ]
        for arm in experiment.arms
    ]
    head = ("Arm", *(names.get(metric, METRICS[metric].name) for metric in others), *by_run.values())
    return Table(head, rows, _baselines(experiment))


def _mean(score: Score | None, metric: str, patients: int) -> str:
    if score is None or score["mean"] is None:
        return number(None)
    how = METRICS[metric]
    text = number(score["mean"], how.digits) + (f" {how.unit}" if how.unit else "")
    missing = score.get("undefined", 0)
    return f"{text} ({patients - missing} of {patients})" if missing else text


# Panels of patients and curves on a page; of more, those with the largest differences.
PANELS = 6
CURVES = 6


def pictures(experiment: Experiment) -> dict[str, object]:
    """Figures of the arms' changes, of learning curves, patients and seeds."""
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


def _curve(curve: SaturationCurve) -> dict[str, str | None]:
    parts = [
        curve["segmenter"],
        curve["translator"],
        curve["min_consistency"] and f"consistency {curve['min_consistency']:g} or more",
        curve["labelled"] != "all" and f"labelled patients: {curve['labelled']}",
    ]
    name = ", ".join(part for part in parts if part)
    return {"name": name, "figure": figures.saturation(curve), "words": _curve_words(curve)}


def _curve_words(curve: SaturationCurve) -> str:
    """The best number of synthetic slices, and whether it helps; its gain is too large, since it is the largest."""
    best = f"The best mean is at {count(curve['best'], 'synthetic slice')}"
    gain, fitted = curve.get("gain"), curve.get("cross_fitted")
    if fitted is not None:
        best += (
            f": {gain:+.3f}, which is too large, since the best of several was picked; "
            f"{fitted:+.3f} if it is picked without the fold that it is tested on"
        )
    if curve["enough"] is None or not curve.get("shown", True):
        return f"{best}. It is not shown to help: how many are enough is not shown."
    return (
        f"{best}. Enough: {curve['enough']:,}, the fewest that are shown to help and not shown to fall short of the "
        f"best by more than {curve['within']:g}."
    )


def _gains(experiment: Experiment) -> tuple[list[PatientGains], int]:
    """Of the arms with the largest differences; and the number of other arms."""
    arms = [arm for arm in experiment.compared if change_of(arm) is not None]
    largest = sorted(arms, key=lambda arm: -abs(change_of(arm) or 0.0))[:PANELS]
    gains = [_gain(experiment, arm) for arm in arms if arm in largest]
    return [gain for gain in gains if gain is not None], len(arms) - len(largest)


def _gain(experiment: Experiment, arm: ArmFinding) -> PatientGains | None:
    base = experiment.baseline(arm)
    if base is None:
        return None
    old, new = by_seed(experiment, base), by_seed(experiment, arm)
    patients = experiment.findings["patients"]
    gains = {
        name: after - before
        for name, before, after in zip(patients, base["by_patient"], arm["by_patient"], strict=False)
        if before is not None and after is not None
    }
    if not gains:
        return None
    known = sorted(gains, key=lambda name: gains[name])
    return PatientGains(
        arm["name"],
        known,
        np.array([gains[name] for name in known]),
        [
            np.array([new[seed].get(name, np.nan) - old[seed].get(name, np.nan) for name in known])
            for seed in old
            if seed in new and len(old) > 1
        ],
    )


def by_seed(experiment: Experiment, arm: ArmFinding) -> dict[int, dict[str, float]]:
    """For each seed of an arm, 3D Dice by test patient."""
    tables: dict[int, dict[str, float]] = {}
    for (seed, _), run in experiment.runs(arm).items():
        values = run.card["scores"]["patient_values"]["dice"]
        tables.setdefault(seed, {}).update({name: value for name, value in values.items() if value is not None})
    return tables


def _luck(experiment: Experiment) -> str | None:
    """The range of changes that single seeds of the best arm and its baseline give."""
    best = experiment.best
    base = experiment.baseline(best)
    if best is None or base is None:
        return None
    old, new = (means_of_seeds(arm) for arm in (base, best))
    if len(old) < 2 or len(new) < 2:
        return None
    return (
        f"With one seed per arm, the change by {best['name']} could have been anything from "
        f"{min(new) - max(old):+.3f} to {max(new) - min(old):+.3f}; over all seeds it is "
        f"{change_of(best):+.3f}."
    )


def build_experiment_report(root: Path, out: Path, *, sources: Sequence[Path] = ()) -> list[str]:
    """Write the report of the experiment in `root`, which has results; gives a sentence per compared arm."""
    check_free(out)
    experiment = read_experiment(root)
    parts: dict[str, Callable[[], object]] = {
        "asked": lambda: asked(experiment),
        "worth": lambda: worth_section(experiment),
        "answer": lambda: answer(experiment),
        "warnings": lambda: experiment_warnings.warnings(experiment),
        "failures": lambda: experiment_warnings.failures(experiment),
        "results": lambda: results(experiment) if experiment.arms else None,
        "organs": lambda: organs(experiment),
        "controls": lambda: against_controls(experiment),
        "others": lambda: other_scores(experiment),
        "published": lambda: published_section(experiment),
        "pictures": lambda: pictures(experiment),
        "tables": lambda: tables(experiment),
        "figures": lambda: paper_figures.pictures(experiment, sources),
        "extremes": lambda: extremes(experiment),
        "papers": lambda: for_papers(experiment),
        "costs": lambda: costs(experiment),
        "why": lambda: why_section(experiment.findings),
        "added": lambda: added_sections([root]),
    }
    content = {name: make() for name, make in track(parts.items(), "Drawing the report")}
    write_page("crossmod.report", "experiment.html", out, root=root.resolve().name, **content)
    return sentences(experiment)
