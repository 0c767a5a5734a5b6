"""Why synthetic slices help or do not: strata of the gain, quality of the slices, and learning curves.

An arm's difference to its baseline is divided by axial layer, by the organ's area, by patient, and into slices without
the organ.

Notable:
- A patient's value is the mean Dice of their slices in the stratum, and the patient remains the unit: intervals and p
  values are those of `paired_effects`. Patients without a slice in a stratum are left out of it.
- The strata of one kind are corrected together for each arm (Holm), since one of ten layers would often stand out by
  chance. A stratum shows nothing if the main comparison of the arm shows nothing.
- Of several organs, the Dice of a slice is the mean of those that it shows, and its area that of all.
- The Dice of a slice without the organ does not say how much was found there, so that this is measured in ml.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossmod.engine.logger import loss_histories, score_histories
from crossmod.errors import InputError
from crossmod.experiment.analysis.slices import TestedByFold, TestedSlices, false_positive_ml, slices_by_fold, slices_of
from crossmod.experiment.analysis.synthetic_quality import quality
from crossmod.experiment.findings import facts_of, families, untrained_baselines
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result, arm_scores, patients_of
from crossmod.files import to_json
from crossmod.metrics.axial_layers import LAYERS
from crossmod.report.experiment.schema import (
    AllStrata,
    PatientRow,
    RunCurve,
    Strata,
    Stratum,
    StratumRow,
    TrainingCurves,
    Why,
)
from crossmod.runs import Run
from crossmod.statistics.arm_scores import ArmScores, paired
from crossmod.statistics.paired_effects import Effect, effects
from crossmod.statistics.verdicts import MAIN, Compared, compare_arms, gated, holm, verdict

PARTS = 3  # of the organ's areas
FALSE_POSITIVES = "false_positive_ml"
POINTS = 100
DIGITS = 6

# By name, pairs of step and value.
Histories = Mapping[str, Sequence[tuple[int, float]]]
# The stratum of each slice of a case, as an index into the names; -1 for none.
Divide = Callable[[TestedSlices], np.ndarray]


def explain_gain(plan: Plan, root: Path, results: Sequence[Result]) -> Why:
    """Strata of the gains, quality of the slices and curves of the trainings; `notes` say which could not be read."""
    notes: list[str] = []

    def part(make: Callable[[], Any], note: str) -> Any:
        try:
            return make() if results else None
        except (InputError, OSError):
            notes.append(note)
            return None

    return to_json(
        {
            "strata": part(
                lambda: _all_strata(plan, results),
                "Where the gain lies is left out: a store of real cases or predictions of a run cannot be read.",
            ),
            "quality": part(
                lambda: quality(plan, root, results),
                "The quality of synthetic slices is left out: one of their stores cannot be read.",
            ),
            "curves": part(
                lambda: learning_curves(plan, root, results),
                "Curves of the trainings are left out: they cannot be read.",
            ),
            "notes": notes,
        }
    )


def learning_curves(plan: Plan, root: Path, results: Sequence[Result]) -> TrainingCurves:
    """Curves over the steps of training: mean, minimum and maximum over folds and seeds."""
    segmenters: dict[str, list[Histories]] = {}
    translators: dict[str, dict[str, None]] = {}
    for result in results:
        segmenters.setdefault(result.arm.name, []).append(loss_histories(Run(result.run).metrics()))
        synthetic = plan.jobs[result.run.name].needs.get("synthetic")
        if synthetic is not None and result.arm.translator is not None:
            translators.setdefault(result.arm.translator, {})[plan.jobs[synthetic].needs["model"]] = None
    scores = {
        name: together(score_histories(Run(plan.jobs[job].folder(root)).metrics()) for job in jobs)
        for name, jobs in translators.items()
    }
    return {
        "segmenters": {name: together(histories) for name, histories in segmenters.items()},
        "translators": {name: curves for name, curves in scores.items() if curves},
    }


def together(histories: Iterable[Histories]) -> dict[str, RunCurve]:
    """By name, the curves of several runs as one of at most `POINTS` points, with linear interpolation of each run."""
    curves: dict[str, list[Float[np.ndarray, "_ 2"]]] = {}
    for history in histories:
        for name, pairs in history.items():
            known = np.array([pair for pair in pairs if np.isfinite(pair[1])], dtype=np.float64).reshape(-1, 2)
            if len(known):
                curves.setdefault(name, []).append(known)
    return {name: _one_curve(own) for name, own in curves.items()}


def _one_curve(curves: Sequence[Float[np.ndarray, "_ 2"]]) -> RunCurve:
    """A run has no value beyond its own end: the longest runs continue alone."""
    every = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    steps = every if len(every) <= POINTS else np.linspace(every[0], every[-1], POINTS)
    values = np.stack([np.interp(steps, *curve.T, left=np.nan, right=np.nan) for curve in curves])
    # Between the last reading of one run and the first of another there may be no value.
    known = np.isfinite(values).any(axis=0)
    steps, values = steps[known], values[:, known]

    def rounded(band: np.ndarray) -> list[float]:
        return [float(f"{value:.{DIGITS}g}") for value in band]

    return {
        "runs": len(curves),
        "steps": [round(float(step)) for step in steps],
        "mean": rounded(np.nanmean(values, axis=0)),
        "low": rounded(np.nanmin(values, axis=0)),
        "high": rounded(np.nanmax(values, axis=0)),
    }


def _all_strata(plan: Plan, results: Sequence[Result]) -> AllStrata:
    tested, placed = slices_by_fold(plan, results)
    rules = [case.rule for case in placed]
    by_layer = _divided(plan, results, tested, [str(n) for n in range(1, LAYERS + 1)], lambda case: case.layers - 1)
    return {
        "layer": {**by_layer, "rules": {rule: rules.count(rule) for rule in dict.fromkeys(rules)}},
        "area": _by_area(plan, results, tested),
        "empty": _without_organ(plan, results, tested),
        "patient": _by_patient(plan, results, tested),
    }


def _by_area(plan: Plan, results: Sequence[Result], tested: TestedByFold) -> Strata:
    """Gain in slice Dice by the organ's area in the slice: thirds of all tested slices that show it."""
    edges = area_edges(tested)
    numbers = [f"{edge:.0f}" if edge >= 10 else f"{edge:.2g}" for edge in edges]
    names = [f"under {numbers[0]} cm²", *(f"{a} to {b} cm²" for a, b in itertools.pairwise(numbers))]
    strata = _divided(
        plan, results, tested, [*names, f"{numbers[-1]} cm² or more"],
        lambda case: np.where(case.areas > 0, np.searchsorted(edges, case.areas, side="right"), -1),
    )  # fmt: skip
    return {**strata, "edges_cm2": edges}


def area_edges(tested: TestedByFold) -> list[float]:
    """The areas (cm^2) that divide the tested slices that show the organ into parts of equal size."""
    areas = np.concatenate([case.areas[case.areas > 0] for case in _each_case(tested)])
    return [float(edge) for edge in np.quantile(areas, np.arange(1, PARTS) / PARTS)]


def _without_organ(plan: Plan, results: Sequence[Result], tested: TestedByFold) -> Strata:
    """Change of the ml found in slices without the organ, all such slices of a patient together."""
    found = [
        _with_scores(result, {FALSE_POSITIVES: false_positive_ml(result, slices_of(tested, result))}, [])
        for result in results
    ]
    scores = arm_scores(found, FALSE_POSITIVES)
    return {
        "strata": [_stratum("without organ", tested, lambda case: case.areas == 0)],
        "arms": _compare(plan, results, [scores], higher_is_better=False),
        "unit": "ml",
    }


def _by_patient(plan: Plan, results: Sequence[Result], tested: TestedByFold) -> dict[str, list[PatientRow]]:
    """By arm, each patient's gain in 3D Dice, and the number of their tested slices that show the organ."""
    scores = arm_scores(results, MAIN)
    shown: dict[str, int] = {}
    for case in _each_case(tested):
        shown[case.patient] = shown.get(case.patient, 0) + int((case.areas > 0).sum())
    rows: dict[str, list[PatientRow]] = {}
    for arm in plan.arms.values():
        base, own = scores.get(arm.baseline or ""), scores.get(arm.name)
        if base is None or own is None:
            continue
        rows[arm.name] = [
            {
                "patient": patient,
                "fold": int(fold),
                "slices": shown.get(patient, 0),
                "base": float(before),
                "arm": float(after),
                "difference": float(after - before),
            }
            for patient, fold, before, after in zip(
                patients_of(results, arm.name), own.folds, base.by_patient, own.by_patient, strict=True
            )
        ]
    return rows


def _divided(
    plan: Plan, results: Sequence[Result], tested: TestedByFold, names: Sequence[str], divide: Divide
) -> Strata:
    def stratum_of(case: TestedSlices) -> np.ndarray:
        """-1 also without the organ, where a slice has no Dice."""
        return np.where(case.areas > 0, divide(case), -1)

    parts: list[list[Result]] = [[] for _ in names]
    for result in results:
        for part, own in zip(parts, _split(result, slices_of(tested, result), stratum_of, len(names)), strict=True):
            part.append(own)
    return {
        "strata": [
            _stratum(name, tested, lambda case, place=place: stratum_of(case) == place)
            for place, name in enumerate(names)
        ],
        "arms": _compare(plan, results, [arm_scores(part, "slice_dice") for part in parts]),
        "unit": "",
    }


def _stratum(name: str, tested: TestedByFold, inside: Divide) -> Stratum:
    counts = [(case.patient, int(inside(case).sum())) for case in _each_case(tested)]
    patients = {patient for patient, slices in counts if slices}
    return {"name": name, "slices": sum(slices for _, slices in counts), "patients": len(patients)}


def _split(result: Result, cases: Sequence[TestedSlices], stratum_of: Divide, count: int) -> list[Result]:
    """A result for each stratum, as if no other slice had been tested."""
    where = {
        (case.id, int(number)): int(place)
        for case in cases
        for number, place in zip(case.slices, stratum_of(case), strict=True)
    }
    rows: list[list[Mapping[str, object]]] = [[] for _ in range(count)]
    for row in result.card["scores"]["slice_values"]:
        place = where.get((row["case"], row["slice"]), -1)
        if place >= 0:
            rows[place].append(row)
    dice = result.card["scores"]["patient_values"]["dice"]
    return [_with_scores(result, {"dice": dice}, part) for part in rows]


def _with_scores(
    result: Result, patients: Mapping[str, Mapping[str, float]], slices: Sequence[Mapping[str, object]]
) -> Result:
    return replace(result, card={"scores": {"patient_values": patients, "slice_values": slices}})


def _compare(
    plan: Plan,
    results: Sequence[Result],
    scores: Sequence[Mapping[str, ArmScores]],
    *,
    higher_is_better: bool = True,
) -> dict[str, list[StratumRow]]:
    """By arm, a row for each stratum."""
    main, why = arm_scores(results, MAIN), untrained_baselines(results)
    rows: dict[str, list[StratumRow]] = {}
    for base, arms in families(plan, scores[0]):
        of_strata = [
            effects(part[base], [part[arm.name] for arm in arms], higher_is_better=higher_is_better) for part in scores
        ]
        facts = [facts_of(plan, arm, why.get(base, "")) for arm in arms]
        compared = compare_arms({MAIN: main[base]}, [{MAIN: main[arm.name]} for arm in arms], facts)[MAIN]
        for arm, gate, own in zip(arms, compared, zip(*of_strata, strict=True), strict=True):
            sides = [paired(part[base], [part[arm.name]])[:2] for part in scores]
            means = [(_mean(before), _mean(after)) for before, (after,) in sides]
            rows[arm.name] = _corrected(own, means, gate, higher_is_better)
    return rows


def _corrected(
    of_strata: Sequence[Effect], means: Sequence[tuple[float, float]], gate: Compared, higher_is_better: bool
) -> list[StratumRow]:
    adjusted = gated(holm(np.array([effect.p for effect in of_strata])), gate.holm)
    verdicts = [
        verdict(effect, float(p), gate.facts, higher_is_better=higher_is_better)
        for effect, p in zip(of_strata, adjusted, strict=True)
    ]
    return [
        to_json({"base": before, "arm": after, **vars(effect), "holm": p, "verdict": shown})
        for effect, (before, after), p, shown in zip(of_strata, means, adjusted, verdicts, strict=True)
    ]


def _each_case(tested: TestedByFold) -> list[TestedSlices]:
    """Every case of each fold once, although segmenters may see it in several sizes."""
    cases: dict[tuple[int, str], TestedSlices] = {}
    for (fold, _), of_fold in tested.items():
        for case in of_fold:
            cases.setdefault((fold, case.id), case)
    return list(cases.values())


def _mean(arm: ArmScores) -> float:
    return float(arm.by_patient.mean()) if arm.by_patient.size else float("nan")
