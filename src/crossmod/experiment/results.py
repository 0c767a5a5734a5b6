"""What the runs of an experiment say, gathered: tables for people, and arrays for statistics."""

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.experiment.plan import Arm, Plan
from crossmod.files import write_text
from crossmod.metrics.segmentation import DISTANCES, SURFACE
from crossmod.runs import Run
from crossmod.statistics.arm_scores import ArmScores

log = logging.getLogger(__name__)

# 3D, of all tested slices of a patient together; and Dice of each slice that shows the organ, a patient's mean.
BY_PATIENT = ("dice", "iou", "hd95", "assd", "mssd", "ravd", "slice_dice")
# Of all tested pixels together, and means over slices that show the organ.
BY_RUN = ("pooled_dice", "pooled_iou", "slice_dice", "slice_iou", "auc")


@dataclass(frozen=True)
class Result:
    """What one finished segmenter said.

    Args:
        arm: its arm.
        fold: what it was tested on.
        seed: of its training.
        run: its folder.
        card: what the folder says.
        patients: by case, whose it is.
        distances: whether its surface distances are of the same surface as those of the other results.
    """

    arm: Arm
    fold: int
    seed: int
    run: Path
    card: dict[str, Any]
    patients: Mapping[str, str]
    distances: bool = True

    def of_patients(self, metric: str) -> dict[str, float]:
        """By test patient; nan where it is undefined, as a surface distance to nothing is.

        Also where an earlier version did not take the score, or took it of another surface than that of other results.
        """
        if metric == "slice_dice":
            return self._of_slices()
        table = self.card["scores"]["patient_values"]
        values = table.get(metric, {}) if self.distances or metric not in DISTANCES else {}
        tested = dict.fromkeys(patient for one in table.values() for patient in one)
        known = {patient: values.get(patient) for patient in tested}
        return {patient: float("nan") if value is None else float(value) for patient, value in known.items()}

    def _of_slices(self) -> dict[str, float]:
        found: dict[str, list[float]] = {patient: [] for patient in self.card["scores"]["patient_values"]["dice"]}
        for row in self.card["scores"]["slice_values"]:
            found[self.patients[row["case"]]].append(row["dice"])
        return {patient: float(np.mean(values)) if values else float("nan") for patient, values in found.items()}

    def of_run(self, metric: str) -> float | None:
        """A score of all that was tested; None where it is undefined, or an earlier version did not take it."""
        scores = self.card["scores"]
        if metric == "auc":
            return scores["auc"]
        way, _, measure = metric.partition("_")
        return scores.get(way, {}).get(measure)


def results_of(plan: Plan, root: Path) -> list[Result]:
    """All finished segmenters, in the order of the arms.

    Where some runs are of a version that took surface distances of another surface, theirs do not count.
    """
    found = [
        Result(arm, fold, seed, plan.jobs[name].folder(root), Run(plan.jobs[name].folder(root)).card, plan.patients)
        for arm in plan.arms.values()
        for (fold, seed), name in sorted(arm.runs.items())
        if plan.jobs[name].finished(root)
    ]
    surfaces = [result.card["scores"].get("surface") for result in found]
    if len(set(surfaces)) < 2:
        return found
    others = [surface != SURFACE for surface in surfaces]
    log.warning("Surface distances of %d runs of an earlier version are left out: another surface.", sum(others))
    return [replace(one, distances=not other) for one, other in zip(found, others, strict=True)]


def arm_scores(results: list[Result], metric: str) -> dict[str, ArmScores]:
    """By arm, one metric by seed and patient; of a seed, all folds or nothing.

    Arms of which no seed was finished in all folds are left out.

    Args:
        results: of all arms.
        metric: one of `BY_PATIENT`.
    """
    found: dict[str, ArmScores] = {}
    for name in dict.fromkeys(result.arm.name for result in results):
        own = [result for result in results if result.arm.name == name]
        folds = sorted({fold for fold, _ in own[0].arm.runs})
        by_seed: dict[int, dict[int, dict[str, float]]] = {}
        for result in own:
            by_seed.setdefault(result.seed, {})[result.fold] = result.of_patients(metric)
        whole = {seed: tables for seed, tables in by_seed.items() if set(tables) == set(folds)}
        if not whole:
            continue
        first = next(iter(whole.values()))
        order = [(fold, patient) for fold in folds for patient in sorted(first[fold])]
        values = np.array([[whole[seed][fold][patient] for fold, patient in order] for seed in sorted(whole)])
        found[name] = ArmScores(name, values, np.array([fold for fold, _ in order]))
    return found


def patients_of(results: list[Result], arm: str) -> list[str]:
    """The patients of an arm in the order of `arm_scores`."""
    tables: dict[int, list[str]] = {}
    for result in results:
        if result.arm.name == arm:
            tables.setdefault(result.fold, sorted(result.of_patients("dice")))
    return [patient for fold in sorted(tables) for patient in tables[fold]]


def write_tables(results: list[Result], root: Path) -> None:
    """`results.csv`, a row a run and patient, and `runs.csv`, a row a run."""
    rows, runs = [], []
    for result in results:
        head = _head(result)
        tables = {metric: result.of_patients(metric) for metric in BY_PATIENT}
        for patient in tables["dice"]:
            scores = {metric: _text(tables[metric].get(patient)) for metric in BY_PATIENT}
            rows.append({**head, "patient": patient, **scores})
        totals = {metric: _text(result.of_run(metric)) for metric in BY_RUN}
        card = result.card
        runs.append({**head, **totals, "steps": card["steps"], "seconds": card["seconds"], "device": card["device"]})
    write_text(root / "results.csv", _csv(rows))
    write_text(root / "runs.csv", _csv(runs))


def _head(result: Result) -> dict[str, Any]:
    arm = result.arm
    return {
        "arm": arm.name,
        "segmenter": arm.segmenter,
        "translator": arm.translator or "",
        "count": arm.count,
        "synthetic_slices": arm.slices.get(result.fold, 0),
        "real_slices": result.card["data"]["train_slices"],
        "min_consistency": arm.min_consistency,
        "labelled": arm.labelled,
        "fold": result.fold,
        "seed": result.seed,
        "run": result.run.name,
    }


def _text(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.6f}"


def _csv(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
