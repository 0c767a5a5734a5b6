"""Numbers of the report: segmentation runs as arms, each held against the one without synthetic data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossmod.errors import InputError
from crossmod.evaluate.statistics import Difference, interval, paired_difference
from crossmod.runs import Run
from crossmod.settings import as_recorded

FAMILY = {"essnet": "EssNet", "cyclegan": "CycleGAN"}

# What may differ between the runs of one arm, and between an arm and the baseline that it is compared to.
CHANCE = frozenset({"seed", "fold"})
TREATMENT = frozenset({"count", "min_consistency"})


@dataclass(frozen=True)
class Arm:
    """One line of the result table: runs that differ in their seed, and in the fold that they were tested on.

    Args:
        name: what was trained on.
        runs: one for each seed and fold.
        cards: their cards.
        settings: what all of them share, as text.
        synthetic: how many synthetic slices.
    """

    name: str
    runs: tuple[Run, ...]
    cards: tuple[dict[str, Any], ...]
    settings: dict[str, str]
    synthetic: int

    @property
    def by_seed(self) -> list[dict[str, float]]:
        """For each seed, 3D Dice by test patient, all folds together."""
        tables: dict[int, dict[str, float]] = {}
        for card in self.cards:
            tables.setdefault(card["settings"]["seed"], {}).update(card["scores"]["patient_values"]["dice"])
        return list(tables.values())

    @property
    def by_patient(self) -> dict[str, float]:
        """3D Dice of each test patient, averaged over seeds."""
        tables = self.by_seed
        patients = dict.fromkeys(patient for table in tables for patient in table)
        return {p: float(np.mean([table[p] for table in tables if p in table])) for p in patients}

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
        means = [float(np.mean(list(table.values()))) for table in self.by_seed]
        return f"{min(means):.3f} to {max(means):.3f}" if len(means) > 1 else "one seed"

    @property
    def single_model(self) -> str | None:
        """The family, where all seeds of a fold used slices of one and the same trained model."""
        models = {model for card in self.cards for model in card["data"]["synthetic_models"]}
        folds = {card["settings"]["fold"] for card in self.cards}
        return self.cards[0]["data"]["synthetic_family"] if self.synthetic and len(models) <= len(folds) else None

    def mean(self, *path: str) -> str:
        """The mean over runs of a number in the scores."""
        values = [_dig(card["scores"], path) for card in self.cards]
        return f"{np.mean(values):.3f}" if all(value is not None for value in values) else "undefined"


def _dig(content: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        content = content[key]
    return content


def arms(runs: Sequence[Run]) -> list[Arm]:
    """Group segmentation runs into arms, in the order in which they come; a run that is named twice counts once.

    Raises:
        InputError: two runs of one arm that tested the same patient with the same seed: they are no two witnesses.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in {run.path.resolve(): run for run in runs}.values():
        data = run.card["data"]
        recipe = (data["synthetic_family"], data["synthetic_recipe"])
        groups.setdefault((*recipe, *sorted(_shared(run.card).items())), []).append(run)
    settings = [_shared(group[0].card) for group in groups.values()]
    varying = [key for key in settings[0] if len({one[key] for one in settings}) > 1] if settings else []
    return [_arm(tuple(group), [key for key in varying if key not in TREATMENT]) for group in groups.values()]


def _shared(card: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in as_recorded(card["settings"]).items() if key not in CHANCE}


def _arm(runs: tuple[Run, ...], varying: Sequence[str]) -> Arm:
    cards = tuple(run.card for run in runs)
    seen: dict[tuple[int, str], Run] = {}
    for run, card in zip(runs, cards, strict=True):
        for patient in card["data"]["test_patients"]:
            other = seen.setdefault((card["settings"]["seed"], patient), run)
            if other is not run:
                raise InputError(
                    run.path,
                    found=f"patient {patient} tested with seed {card['settings']['seed']}, as in {other.path}",
                    wanted="another seed or another fold in every run of an arm",
                    do="Leave one of the two out, or train it with another --seed.",
                )
    data, settings = cards[0]["data"], cards[0]["settings"]
    counts = sorted({card["data"]["train_slices"] for card in cards})
    name = f"{counts[0]} real" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} real"
    if settings["count"]:
        name += f" + {settings['count']} {FAMILY.get(data['synthetic_family'], data['synthetic_family'])}"
    if settings["min_consistency"]:
        name += f", consistency {settings['min_consistency']} or more"
    settings = as_recorded(settings)
    name += "".join(f", {key.replace('_', ' ')} {settings[key]}" for key in varying)
    if cards[0]["leaking"]:
        name += " (split by slice: leaking)"
    return Arm(name, runs, cards, _shared(cards[0]), settings["count"])


def baseline_of(all_arms: Sequence[Arm], arm: Arm) -> Arm | None:
    """The arm without synthetic slices and with the same settings otherwise; None where there is none."""
    for other in all_arms:
        alike = all(other.settings[key] == arm.settings[key] for key in arm.settings if key not in TREATMENT)
        if other.synthetic == 0 and alike:
            return other
    return None


def difference(baseline: Arm, arm: Arm) -> Difference | None:
    """What an arm adds to the baseline's 3D Dice; None where they were tested on other patients."""
    tables = [*baseline.by_seed, *arm.by_seed]
    if any(set(table) != set(tables[0]) for table in tables):
        return None
    return paired_difference(baseline.by_seed, arm.by_seed)


def verdict(arm: Arm, found: Difference | None) -> str:
    """A sentence whose words follow the numbers."""
    if found is None:
        return f"{arm.name}: not compared, since no arm without synthetic slices was trained and tested alike."
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
    single = FAMILY.get(arm.single_model or "", arm.single_model)
    model = f"; with one trained {single}: another training of it may do otherwise" if single else ""
    return f"{arm.name}: {words[found.verdict]} ({found.patients} test patients, {found.seeds} seeds{model})."


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
