"""Why synthetic slices help or do not: where the gain lies, what it goes with, and how the trainings went."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.experiment.collect import Result
from crossmod.experiment.courses import courses
from crossmod.experiment.plan import Plan
from crossmod.experiment.quality import quality
from crossmod.experiment.strata import by_area, by_layer, by_patient, where_nothing_is
from crossmod.experiment.truth import truths


def why(plan: Plan, root: Path, results: Sequence[Result]) -> dict[str, Any]:
    """Strata of the gains, quality of the synthetic slices, and curves of the trainings, as plain values.

    What cannot be read any more is left out, and `notes` says so: an experiment is not lost with it.

    Args:
        plan: what was asked.
        root: the experiment's folder.
        results: of the finished segmenters.
    """
    notes: list[str] = []
    own = list(results)
    parts: dict[str, Callable[[], Any]] = {
        "strata": lambda: _strata(plan, own),
        "quality": lambda: quality(plan, root, own),
        "curves": lambda: courses(plan, root, own),
    }
    found = {name: _or_note(name, make, notes) if own else None for name, make in parts.items()}
    return _plain({**found, "notes": notes})


def _strata(plan: Plan, results: list[Result]) -> dict[str, Any]:
    tested, placed = truths(plan, results)
    rules = [one.rule for one in placed]
    return {
        "layer": {
            **by_layer(plan, results, tested),
            "rules": {rule: rules.count(rule) for rule in dict.fromkeys(rules)},
        },
        "area": by_area(plan, results, tested),
        "empty": where_nothing_is(plan, results, tested),
        "patient": by_patient(plan, results, tested),
    }


WORDS = {
    "strata": "Where the gain lies is left out: a store of real cases or predictions of a run cannot be read.",
    "quality": "The quality of synthetic slices is left out: one of their stores cannot be read.",
    "curves": "Curves of the trainings are left out: they cannot be read.",
}


def _or_note(name: str, make: Callable[[], Any], notes: list[str]) -> Any:
    try:
        return make()
    except (InputError, OSError):
        notes.append(WORDS[name])
        return None


def _plain(value: Any) -> Any:
    """Values that JSON knows: neither nan nor infinity."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
