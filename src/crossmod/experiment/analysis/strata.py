"""Where an arm gains: its difference to the baseline by axial layer, the organ's area and patient, and where none is.

Notable:
- A patient's value is the mean Dice of their slices in the stratum, and the patient remains the unit: intervals and p
  are those of `evaluate.effects`. Patients without a slice in a stratum are left out of it.
- Strata of one kind are corrected for together, arm by arm (Holm): of ten layers one would often stand out by chance.
  Nothing is shown of a stratum where the main comparison of the arm shows nothing.
- Dice of a slice without the organ says nothing of how much was found there; that is told in ml.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from crossmod.experiment.analysis.slices import TestedSlices, Truths, found_where_nothing_is, truth_of
from crossmod.experiment.findings import facts_of, families, main_p_values, untrained_baselines
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result, arm_scores
from crossmod.metrics.axial_layers import LAYERS
from crossmod.statistics.arm_scores import ArmScores, paired
from crossmod.statistics.paired_effects import Effect, effects
from crossmod.statistics.verdicts import MAIN, Facts, gated, holm, verdict

PARTS = 3  # of the organ's areas
FOUND = "found_where_nothing_is"

# The stratum of each slice of a case, by its place among the names; -1 for none of them.
Divide = Callable[[TestedSlices], np.ndarray]
# By arm, a plain value for each stratum.
Rows = dict[str, list[dict[str, Any]]]


def by_layer(plan: Plan, results: Sequence[Result], tested: Truths) -> dict[str, Any]:
    """Gain in slice Dice in each axial layer, 1 (feet) to 10 (head)."""
    names = [str(layer) for layer in range(1, LAYERS + 1)]
    return _divided(plan, results, tested, names, lambda case: case.layers - 1)


def by_area(plan: Plan, results: Sequence[Result], tested: Truths) -> dict[str, Any]:
    """Gain in slice Dice by the organ's area in the slice: thirds of all tested slices that show it."""
    edges = area_edges(tested)
    numbers = [f"{edge:.0f}" if edge >= 10 else f"{edge:.2g}" for edge in edges]
    names = [f"under {numbers[0]} cm²", *(f"{a} to {b} cm²" for a, b in itertools.pairwise(numbers))]
    found = _divided(
        plan, results, tested, [*names, f"{numbers[-1]} cm² or more"],
        lambda case: np.where(case.areas > 0, np.searchsorted(edges, case.areas, side="right"), -1),
    )  # fmt: skip
    return {**found, "edges_cm2": edges}


def area_edges(tested: Truths) -> list[float]:
    """What divides the areas of all tested slices that show the organ into parts of one size, cm^2."""
    areas = np.concatenate([case.areas[case.areas > 0] for case in _once(tested)])
    return [float(edge) for edge in np.quantile(areas, np.arange(1, PARTS) / PARTS)]


def where_nothing_is(plan: Plan, results: Sequence[Result], tested: Truths) -> dict[str, Any]:
    """Change of the ml that are found in slices without the organ; of a patient, all such slices together."""
    values = [(result, found_where_nothing_is(result, truth_of(tested, result))) for result in results]
    scores = arm_scores([_with_scores(result, {FOUND: found}, []) for result, found in values], FOUND)
    counts = [len(case.empty) for case in _once(tested)]
    stratum = {"name": "without organ", "slices": sum(counts), "patients": _patients(tested, lambda case: case.empty)}
    return {
        "strata": [stratum],
        "arms": _compare(plan, results, [scores], higher_is_better=False),
        "unit": "ml",
    }


def by_patient(plan: Plan, results: list[Result], tested: Truths) -> dict[str, list[dict[str, Any]]]:
    """By arm, what each patient gains in 3D Dice, with how many of their tested slices show the organ."""
    scores = arm_scores(results, "dice")
    shown: dict[str, int] = {}
    for case in _once(tested):
        shown[case.patient] = shown.get(case.patient, 0) + int((case.areas > 0).sum())
    found = {}
    for arm in plan.arms.values():
        base = scores.get(arm.baseline or "")
        if base is None or arm.name not in scores:
            continue
        own = scores[arm.name]
        found[arm.name] = [
            {"patient": patient, "fold": int(fold), "slices": shown.get(patient, 0), **_row(before, after)}
            for patient, fold, before, after in zip(
                _order(results, arm.name), own.folds, base.by_patient, own.by_patient, strict=True
            )
        ]
    return found


def _order(results: Sequence[Result], arm: str) -> list[str]:
    """The patients in the order of `arm_scores`."""
    folds = {result.fold: sorted(result.of_patients("dice")) for result in results if result.arm.name == arm}
    return [patient for fold in sorted(folds) for patient in folds[fold]]


def _row(before: float, after: float) -> dict[str, float]:
    return {"base": float(before), "arm": float(after), "difference": float(after - before)}


def _divided(
    plan: Plan, results: Sequence[Result], tested: Truths, names: Sequence[str], divide: Divide
) -> dict[str, Any]:
    strata = [
        {
            "name": name,
            "slices": sum(int((_shown(case, divide) == place).sum()) for case in _once(tested)),
            "patients": _patients(tested, lambda case, place=place: np.flatnonzero(_shown(case, divide) == place)),
        }
        for place, name in enumerate(names)
    ]
    parts: list[list[Result]] = [[] for _ in names]
    for result in results:
        for part, own in zip(parts, _split(result, truth_of(tested, result), divide, len(names)), strict=True):
            part.append(own)
    scores = [arm_scores(part, "slice_dice") for part in parts]
    return {"strata": strata, "arms": _compare(plan, results, scores), "unit": ""}


def _shown(case: TestedSlices, divide: Divide) -> np.ndarray:
    """The stratum of each slice; -1 also without the organ, where a slice has no Dice."""
    return np.where(case.areas > 0, divide(case), -1)


def _split(result: Result, cases: Sequence[TestedSlices], divide: Divide, count: int) -> list[Result]:
    """A result for each stratum, as if no other slice had been tested."""
    where = {
        (case.id, int(number)): int(place)
        for case in cases
        for number, place in zip(case.slices, _shown(case, divide), strict=True)
    }
    rows: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for row in result.card["scores"]["slice_values"]:
        place = where.get((row["case"], row["slice"]), -1)
        if place >= 0:
            rows[place].append(row)
    dice = result.card["scores"]["patient_values"]["dice"]
    return [_with_scores(result, {"dice": dice}, part) for part in rows]


def _with_scores(result: Result, patients: Mapping[str, Any], slices: Sequence[Any]) -> Result:
    return replace(result, card={"scores": {"patient_values": patients, "slice_values": slices}})


def _compare(
    plan: Plan,
    results: Sequence[Result],
    scores: Sequence[Mapping[str, ArmScores]],
    *,
    higher_is_better: bool = True,
) -> Rows:
    """By arm, a row for each stratum."""
    gates, why = main_p_values(plan, arm_scores(list(results), MAIN)), untrained_baselines(results)
    found: Rows = {}
    for base, arms in families(plan, scores[0]):
        names = [arm.name for arm in arms]
        rows: dict[str, list[tuple[Effect, float, float]]] = {name: [] for name in names}
        for part in scores:
            one_by_one = effects(part[base], [part[name] for name in names], higher_is_better=higher_is_better)
            for name, one in zip(names, one_by_one, strict=True):
                before, (after,), _ = paired(part[base], [part[name]])
                rows[name].append((one, _mean(before.by_patient), _mean(after.by_patient)))
        for arm in arms:
            gate, facts = gates.get(arm.name, float("nan")), facts_of(plan, arm, why.get(base, ""))
            found[arm.name] = _corrected(rows[arm.name], facts, gate, higher_is_better)
    return found


def _corrected(
    rows: Sequence[tuple[Effect, float, float]], facts: Facts, gate: float, higher_is_better: bool
) -> list[dict[str, Any]]:
    adjusted = gated(holm(np.array([one.p for one, _, _ in rows])), gate)
    return [
        {
            "base": before,
            "arm": after,
            **asdict(one),
            "holm": float(p),
            "verdict": verdict(one, float(p), facts, higher_is_better=higher_is_better),
        }
        for (one, before, after), p in zip(rows, adjusted, strict=True)
    ]


def _once(tested: Truths) -> list[TestedSlices]:
    """Every case of each fold once, though segmenters may see it in several sizes."""
    seen: dict[tuple[int, str], TestedSlices] = {}
    for (fold, _), cases in tested.items():
        for case in cases:
            seen.setdefault((fold, case.id), case)
    return list(seen.values())


def _patients(tested: Truths, rows: Callable[[TestedSlices], Sequence[int] | np.ndarray]) -> int:
    return len({case.patient for case in _once(tested) if len(rows(case))})


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
