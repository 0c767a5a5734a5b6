"""Every arm of an experiment compared with its baseline, as plain values."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.shared import facts_of
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effects
from crossmod.statistics.verdicts import MAIN, Compared, compare_arms, holm

# By metric, by arm.
Scores = Mapping[str, Mapping[str, ArmScores]]


def compare(plan: Plan, scores: Scores, untrained: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By metric and arm, the effect, its corrected p values, and what it shows.

    Args:
        plan: with the arms and their jobs.
        scores: of all arms with results; the main metric among them.
        untrained: by baseline, why it does not work well enough to compare with; empty or left out where it does.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {metric: {} for metric in scores}
    for base, arms in families(plan, scores[MAIN]):
        facts = [facts_of(plan, arm, untrained.get(base, "")) for arm in arms]
        rows = compare_arms(_of(scores, base), [_of(scores, arm.name) for arm in arms], facts)
        for metric, own in rows.items():
            found[metric] |= {arm.name: _row(one) for arm, one in zip(arms, own, strict=True)}
    return found


def _of(scores: Scores, arm: str) -> dict[str, ArmScores]:
    return {metric: tables[arm] for metric, tables in scores.items()}


def _row(one: Compared) -> dict[str, Any]:
    return {
        **finite(asdict(one.effect)),
        "holm": number(one.holm),
        "wilcoxon": number(one.wilcoxon),
        "wilcoxon_holm": number(one.wilcoxon_holm),
        "arms": one.arms,
        "verdict": one.verdict,
        "scope": one.facts.scope,
        "shared": list(one.facts.shared),
        "untrained": one.facts.untrained,
        "obstacle": one.obstacle,
        "sentence": one.sentence,
        "failures": one.failures,
    }


def families(plan: Plan, scores: Mapping[str, ArmScores]) -> Iterator[tuple[str, list[Arm]]]:
    """Each baseline with results, and the arms with results that are compared with it."""
    for base in dict.fromkeys(arm.baseline for arm in plan.arms.values() if arm.baseline in scores):
        assert base is not None
        yield base, [arm for arm in plan.arms.values() if arm.baseline == base and arm.name in scores]


def main_p_values(plan: Plan, scores: Mapping[str, ArmScores]) -> dict[str, float]:
    """By arm, the corrected p value of the main score: the gate of all further tests.

    Args:
        plan: with the arms.
        scores: the main metric by arm.
    """
    found: dict[str, float] = {}
    for base, arms in families(plan, scores):
        p_values = holm(np.array([one.p for one in effects(scores[base], [scores[arm.name] for arm in arms])]))
        found |= {arm.name: float(p) for arm, p in zip(arms, p_values, strict=True)}
    return found


def number(value: float) -> float | None:
    """JSON knows neither nan nor infinity."""
    return float(value) if math.isfinite(value) else None


def finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON takes them."""
    return {
        name: finite(value) if isinstance(value, Mapping) else number(value) if isinstance(value, float) else value
        for name, value in fields.items()
    }
