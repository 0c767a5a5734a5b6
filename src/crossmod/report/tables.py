"""Numbers of the report: segmentation runs as arms, each held against the one without synthetic data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossmod.evaluate.statistics import Difference, interval, paired_difference
from crossmod.runs import Run


@dataclass(frozen=True)
class Arm:
    """One line of the result table: runs that differ in their seed alone.

    Args:
        name: what was trained on.
        runs: one for each seed.
        cards: their cards.
        synthetic: how many synthetic slices.
    """

    name: str
    runs: tuple[Run, ...]
    cards: tuple[dict[str, Any], ...]
    synthetic: int

    @property
    def by_seed(self) -> list[dict[str, float]]:
        """For each seed, 3D Dice by test patient."""
        return [card["scores"]["patient_values"]["dice"] for card in self.cards]

    @property
    def by_patient(self) -> dict[str, float]:
        """3D Dice of each test patient, averaged over seeds."""
        return {patient: float(np.mean([table[patient] for table in self.by_seed])) for patient in self.by_seed[0]}

    @property
    def dice(self) -> str:
        """3D Dice over patients with its interval."""
        values = np.array(list(self.by_patient.values()))
        low, high = interval(values)
        ends = f" [{low:.3f}, {high:.3f}]" if np.isfinite(low) else ""
        return f"{values.mean():.3f}{ends}"

    @property
    def spread(self) -> str:
        """Smallest and largest mean Dice among the seeds: what one lucky run could have shown."""
        means = [card["scores"]["patient"]["dice"] for card in self.cards]
        return f"{min(means):.3f} to {max(means):.3f}" if len(means) > 1 else "one seed"

    def mean(self, *path: str) -> str:
        """The mean over seeds of a number in the scores."""
        values = [_dig(card["scores"], path) for card in self.cards]
        return f"{np.mean(values):.3f}" if all(value is not None for value in values) else "undefined"


def _dig(content: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        content = content[key]
    return content


def arms(runs: Sequence[Run]) -> list[Arm]:
    """Group segmentation runs into arms, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        card = run.card
        settings = {key: str(value) for key, value in card["settings"].items() if key != "seed"}
        data = card["data"]
        key = (data["synthetic_family"], *sorted(settings.items()), data["train_slices"], *data["test_patients"])
        groups.setdefault(key, []).append(run)
    return [_arm(tuple(group)) for group in groups.values()]


def _arm(runs: tuple[Run, ...]) -> Arm:
    cards = tuple(run.card for run in runs)
    data, settings = cards[0]["data"], cards[0]["settings"]
    name = f"{data['train_slices']} real"
    if settings["count"]:
        name += f" + {settings['count']} {FAMILY.get(data['synthetic_family'], data['synthetic_family'])}"
    if settings["min_consistency"]:
        name += f", consistency {settings['min_consistency']} or more"
    if cards[0]["leaking"]:
        name += " (split by slice: leaking)"
    return Arm(name, runs, cards, settings["count"])


FAMILY = {"essnet": "EssNet", "cyclegan": "CycleGAN"}


def baseline_of(all_arms: Sequence[Arm]) -> Arm | None:
    """The first arm without synthetic slices: what the others are compared to."""
    return next((arm for arm in all_arms if arm.synthetic == 0), None)


def difference(baseline: Arm, arm: Arm) -> Difference | None:
    """What an arm adds to the baseline's 3D Dice; None where they were tested on other patients."""
    if set(baseline.by_patient) != set(arm.by_patient):
        return None
    return paired_difference(baseline.by_seed, arm.by_seed)


def verdict(arm: Arm, found: Difference | None) -> str:
    """A sentence whose words follow the numbers."""
    if found is None:
        return f"{arm.name}: tested on other patients than the baseline, so not compared."
    if found.patients < 2:
        return f"{arm.name}: one test patient shows nothing; hold out more."
    by = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    if found.seeds < 2:
        return f"{arm.name}: 3D Dice changes by {by}, but with one seed an arm an effect is not shown; run more seeds."
    words = {
        "improves": f"improves 3D Dice by {by}",
        "hurts": f"hurts: 3D Dice changes by {by}",
        "not shown": f"an effect is not shown: 3D Dice changes by {by}, an interval that holds 0",
    }
    return f"{arm.name}: {words[found.verdict]} ({found.patients} test patients, {found.seeds} seeds)."


def one_line(card: Mapping[str, Any]) -> str:
    """The result of one segmentation run in a line."""
    scores, data = card["scores"], card["data"]
    parts = [f"Dice {scores['patient']['dice']:.3f} by patient (3D, {len(data['test_patients'])} patients)"]
    if scores["slice"]["dice"] is not None:
        parts.append(f"{scores['slice']['dice']:.3f} by slice")
    if scores["auc"] is not None:
        parts.append(f"AUC {scores['auc']:.4f}")
    if card["leaking"]:
        parts.append("split by slice: LEAKING, neighbours of test slices were trained on")
    if scores["constant"]:
        parts.append("the output is the same everywhere: the network found nothing")
    return ", ".join(parts)
