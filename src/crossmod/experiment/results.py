"""The results of an experiment's runs: tables for people, and arrays for statistics."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossmod.experiment.plan import Arm, Plan
from crossmod.files import write_text
from crossmod.metrics.segmentation import DISTANCES, SURFACE
from crossmod.report.collect import Card
from crossmod.runs import Run
from crossmod.statistics.arm_scores import ArmScores, from_runs
from crossmod.statistics.verdicts import METRICS

log = logging.getLogger(__name__)

# Of all tested pixels together, and means over slices that show the organ.
BY_RUN = ("pooled_dice", "pooled_iou", "slice_dice", "slice_iou", "auc")


@dataclass(frozen=True)
class Result:
    """The scores of one finished segmenter."""

    arm: Arm
    fold: int  # it was tested on
    seed: int
    run: Path
    card: Card
    patients: Mapping[str, str]  # by case, its patient
    distances: bool = True  # whether its surface distances are of the same surface as those of the other results

    @property
    def organs(self) -> tuple[str, ...]:
        """Several organs, each with scores of its own; empty for one."""
        return tuple(self.card["scores"].get("organs", ()))

    def of_organ(self, organ: str) -> "Result":
        """The scores of one of several organs."""
        return replace(self, card={**self.card, "scores": self.card["scores"]["organs"][organ]})

    def of_patients(self, metric: str) -> dict[str, float]:
        """A score by test patient.

        NaN if it is undefined, such as a surface distance to nothing, or if an earlier version did not measure it, or
        measured it at another surface than that of other results.
        """
        table = self.card["scores"]["patient_values"]
        if metric == "slice_dice":
            slices: dict[str, list[float]] = {patient: [] for patient in table["dice"]}
            for row in self.card["scores"]["slice_values"]:
                slices[self.patients[row["case"]]].append(row["dice"])
            return {patient: float(np.mean(values)) if values else float("nan") for patient, values in slices.items()}
        values = table.get(metric, {}) if self.distances or metric not in DISTANCES else {}
        tested = dict.fromkeys(patient for scores in table.values() for patient in scores)
        known = {patient: values.get(patient) for patient in tested}
        return {patient: float("nan") if value is None else float(value) for patient, value in known.items()}

    def of_run(self, metric: str) -> float | None:
        """A score of all that was tested; None if it is undefined, or an earlier version did not measure it."""
        scores = self.card["scores"]
        if metric == "auc":
            return scores["auc"]
        way, _, measure = metric.partition("_")
        return scores.get(way, {}).get(measure)


def results_of(plan: Plan, root: Path) -> list[Result]:
    """All finished segmenters, in the order of the arms; without surface distances of another surface."""
    results = [
        Result(arm, fold, seed, plan.jobs[name].folder(root), Run(plan.jobs[name].folder(root)).card, plan.patients)
        for arm in plan.arms.values()
        for (fold, seed), name in sorted(arm.runs.items())
        if plan.jobs[name].finished(root)
    ]
    surfaces = [result.card["scores"].get("surface") for result in results]
    if len(set(surfaces)) < 2:
        return results
    others = [surface != SURFACE for surface in surfaces]
    log.warning("Surface distances of %d runs of an earlier version are left out: another surface.", sum(others))
    return [replace(result, distances=not other) for result, other in zip(results, others, strict=True)]


def arm_scores(results: Sequence[Result], metric: str) -> dict[str, ArmScores]:
    """By arm, one metric by seed and patient; only seeds that are finished in all folds, and arms with such a seed."""
    scores: dict[str, ArmScores] = {}
    for name in dict.fromkeys(result.arm.name for result in results):
        own = [result for result in results if result.arm.name == name]
        folds = {fold for fold, _ in own[0].arm.runs}
        finished: dict[int, set[int]] = {}
        for result in own:
            finished.setdefault(result.seed, set()).add(result.fold)
        complete = [result for result in own if finished[result.seed] == folds]
        if complete:
            tables = {(result.fold, result.seed): result.of_patients(metric) for result in complete}
            scores[name] = from_runs(name, tables)
    return scores


def patients_of(results: Sequence[Result], arm: str) -> list[str]:
    """The patients of an arm in the order of `arm_scores`."""
    tables: dict[int, list[str]] = {}
    for result in results:
        if result.arm.name == arm:
            tables.setdefault(result.fold, sorted(result.of_patients("dice")))
    return [patient for fold in sorted(tables) for patient in tables[fold]]


def write_tables(results: Sequence[Result], root: Path) -> None:
    """Write `results.csv`, a row per run and patient, `runs.csv`, a row per run, and for several organs `organs.csv`, a
    row per run, organ and patient."""
    rows: list[dict[str, object]] = []
    runs: list[dict[str, object]] = []
    of_organs: list[dict[str, object]] = []
    for result in results:
        arm, card = result.arm, result.card
        head = {
            "arm": arm.name,
            "segmenter": arm.segmenter,
            "translator": arm.translator or "",
            "count": arm.count,
            "synthetic_slices": arm.slices.get(result.fold, 0),
            "real_slices": card["data"]["train_slices"],
            "min_consistency": arm.min_consistency,
            "labelled": arm.labelled,
            "fold": result.fold,
            "seed": result.seed,
            "run": result.run.name,
        }
        rows += _patient_rows(head, result)
        for organ in result.organs:
            of_organs += _patient_rows({**head, "organ": organ}, result.of_organ(organ))
        totals = {metric: _text(result.of_run(metric)) for metric in BY_RUN}
        runs.append({**head, **totals, "steps": card["steps"], "seconds": card["seconds"], "device": card["device"]})
    write_text(root / "results.csv", _csv(rows))
    write_text(root / "runs.csv", _csv(runs))
    if of_organs:
        write_text(root / "organs.csv", _csv(of_organs))


def _patient_rows(head: Mapping[str, object], result: Result) -> list[dict[str, object]]:
    tables = {metric: result.of_patients(metric) for metric in METRICS}
    return [
        {**head, "patient": patient, **{metric: _text(tables[metric].get(patient)) for metric in METRICS}}
        for patient in tables["dice"]
    ]


def _text(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.6f}"


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
