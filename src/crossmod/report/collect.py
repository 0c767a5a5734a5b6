"""From paths to runs and arms: what a report is built from."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossmod import registry
from crossmod.data.store import MANIFEST, Store
from crossmod.engine.logger import training
from crossmod.errors import InputError
from crossmod.html.format import between, from_to, number
from crossmod.presets import BESIDE_REAL
from crossmod.runs import Run, is_run, open_run
from crossmod.settings import SegmentSettings, as_recorded
from crossmod.statistics.arm_scores import from_runs
from crossmod.statistics.baseline_quality import untrained
from crossmod.statistics.intervals import interval
from crossmod.statistics.verdicts import MAIN, Compared, Facts, Origin, compare_arms, shared_by_folds

log = logging.getLogger(__name__)

# A run's card as its command wrote it: three kinds of runs and several versions of crossmod have different keys.
Card = Mapping[str, Any]
# What `crossmod experiment` leaves in its folder: the question, the jobs and finally the results.
DESIGN, PLAN, FINDINGS = "design.yaml", "plan.json", "findings.json"


@dataclass(frozen=True)
class Contents:
    """What a report is built from."""

    translators: tuple[Run, ...]
    segmenters: tuple[Run, ...]  # segmentation runs
    judgements: tuple[Run, ...]  # results of `evaluate images`
    stores: tuple[Store, ...]
    sources: dict[str, tuple[Store, str]]  # by the checksum of a real case, the store that holds it and its name there


def experiment_among(paths: Sequence[Path]) -> Path | None:
    """The experiment to report; None for runs, results and stores."""
    found = next(
        (p for p in paths if (p / FINDINGS).is_file() or ((p / PLAN).is_file() and (p / DESIGN).is_file())), None
    )
    if found is None:
        return None
    others = [path for path in paths if path.resolve() != found.resolve()]
    if others:
        do = f"Report the experiment by itself, or name folders below {found / 'runs'}."
        raise InputError(found, found=f"an experiment, beside {others[0]}", expected="an experiment alone", do=do)
    if not (found / FINDINGS).is_file():
        do = "Rerun its `crossmod experiment` command: it resumes, and ends with the results."
        raise InputError(found, found=f"an experiment without {FINDINGS}", expected="an experiment with results", do=do)
    return found


def collect(paths: Sequence[Path], sources: Sequence[Path] = ()) -> Contents:
    """Sort paths into runs and stores, and follow segmentation runs to the synthetic stores that they used."""
    runs: list[Run] = []
    stores: dict[Path, Store] = {}
    for path in paths:
        if is_run(path):
            run = open_run(path)
            used = run.card["data"].get("synthetic") if run.card["kind"] == "segment" else None
            runs.append(run)
            if used and not (path / used / MANIFEST).is_file():
                log.warning("%s: its synthetic store is no longer at %s; name it too.", path, path / used)
                continue
            path = (path / used).resolve() if used else path
        if (path / MANIFEST).is_file():
            store = Store(path)
            if not all(case.synthetic for case in store.cases):
                expected = "runs, and stores that `synthesize` made"
                raise InputError(path, found="a store of real cases", expected=expected, do="Leave it out.")
            stores[path.resolve()] = store
        elif not is_run(path):
            found = "no such folder" if not path.exists() else "neither a run nor a store"
            raise InputError(path, found=found, expected="a run or a synthetic store", do="Check the path.")
    if not runs and not stores:
        raise InputError("report", found="nothing", expected="at least one run", do="Name run folders.")
    return Contents(
        translators=tuple(run for run in runs if run.card["kind"] == "train"),
        segmenters=tuple(run for run in runs if run.card["kind"] == "segment"),
        judgements=tuple(run for run in runs if run.card["kind"] == "evaluate"),
        stores=tuple(stores.values()),
        sources=sources_of(runs, sources),
    )


def sources_of(runs: Sequence[Run], named: Sequence[Path]) -> dict[str, tuple[Store, str]]:
    """Where real cases are, by checksum: in the named stores, and in those that training runs read."""
    used = [
        run.path / side["store"] for run in runs if run.card["kind"] == "train" for side in run.card["data"].values()
    ]
    existing = [*named, *(path for path in used if (path / MANIFEST).is_file())]
    opened = [Store(path) for path in {path.resolve(): path for path in existing}.values()]
    return {case.sha256: (store, case.id) for store in opened for case in store.cases}


# Of the built-in families, whose modules need not be imported for it.
FAMILY = {
    "essnet": "EssNet",
    "guided": "Guided",
    "cyclegan": "CycleGAN",
    "multi_input": "Multi-input CycleGAN",
    "source": "Unchanged source",
    "histogram": "Histogram matching",
    "fda": "Fourier domain adaptation",
    "random_contrast": "Random contrast",
    "class_contrast": "Contrast by class",
    "painted": "Painted tissues",
}

# What may differ between the runs of one arm, and between an arm and its baseline. `same_people` describes the data,
# not the training.
CHANCE = frozenset({"seed", "fold", "same_people"})
# Share by which the pixel sizes (mm) of compared arms may differ.
SAME_PIXELS = 0.05
TREATMENT = frozenset({"count", "min_consistency"}) | BESIDE_REAL
# Settings that are recorded only if they are not the default.
UNRECORDED = {name: each.default for name, each in SegmentSettings.model_fields.items() if each.exclude_if is not None}


def family_name(family: str | None) -> str:
    """A family of translators as it is written in the literature."""
    if family in FAMILY or family not in registry.names("family"):
        return FAMILY.get(family or "", family or "")
    return registry.member("family", family).title


@dataclass(frozen=True)
class Arm:
    """Runs that differ only in their seed, and in the fold that they were tested on."""

    name: str
    runs: tuple[Run, ...]  # one for each seed and fold
    settings: dict[str, str]  # what all of them share, as text
    synthetic: int  # how many synthetic slices

    @cached_property
    def cards(self) -> tuple[Card, ...]:
        """The cards of the runs."""
        return tuple(run.card for run in self.runs)

    @property
    def tables(self) -> dict[tuple[int, int], dict[str, float]]:
        """By fold and seed, 3D Dice of each test patient."""
        return {
            (card["settings"]["fold"], card["settings"]["seed"]): card["scores"]["patient_values"]["dice"]
            for card in self.cards
        }

    @property
    def by_seed(self) -> list[dict[str, float]]:
        """3D Dice by test patient, all folds together: of each fold's first seed, of its second, and so on."""
        of_folds: dict[int, list[dict[str, float]]] = {}
        for (fold, _), table in sorted(self.tables.items()):
            of_folds.setdefault(fold, []).append(table)
        # Folds with more seeds than others: the surplus is left out.
        return [
            {patient: dice for table in tables for patient, dice in table.items()}
            for tables in zip(*of_folds.values(), strict=False)
        ]

    @property
    def by_patient(self) -> dict[str, float]:
        """3D Dice of each test patient, averaged over seeds."""
        return _over_runs(self.tables.values())

    @property
    def dice(self) -> str:
        """3D Dice over patients with its interval."""
        return _with_interval(self.by_patient)

    @property
    def organs(self) -> tuple[str, ...]:
        """Several organs, each with scores of its own; empty for one."""
        return tuple(self.cards[0]["scores"].get("organs", ()))

    def dice_of(self, organ: str) -> str:
        """3D Dice of one of several organs over patients with its interval."""
        scores = [card["scores"]["organs"][organ] for card in self.cards]
        return _with_interval(_over_runs(one["patient_values"]["dice"] for one in scores))

    @property
    def spread(self) -> str:
        """Smallest and largest mean Dice among the seeds: what one lucky run could have shown."""
        return spread_of([float(np.mean(list(table.values()))) for table in self.by_seed])

    def mean(self, *path: str) -> str:
        """The mean over runs of a number in the scores; undefined if a card, as of an earlier version, lacks it."""
        values = []
        for card in self.cards:
            value = card["scores"]
            for key in path:
                value = None if value is None else value.get(key)
            values.append(value)
        return number(None if None in values else float(np.mean(values)))


def _over_runs(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The score of each patient, averaged over runs."""
    by_patient: dict[str, list[float]] = {}
    for table in tables:
        for patient, dice in table.items():
            by_patient.setdefault(patient, []).append(dice)
    return {patient: float(np.mean(values)) for patient, values in by_patient.items()}


def _with_interval(by_patient: Mapping[str, float]) -> str:
    values = np.array(list(by_patient.values()))
    return between(float(values.mean()), interval(values))


def spread_of(means: Sequence[float | int]) -> str:
    """The range of the means of several seeds."""
    return from_to(means, 3) if len(means) > 1 else "one seed"


def arms(runs: Sequence[Run]) -> list[Arm]:
    """Group segmentation runs into arms, in their order; one named twice counts once, a patient once per seed."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in {run.path.resolve(): run for run in runs}.values():
        data = run.card["data"]
        recipe = (data["synthetic_family"], data["synthetic_recipe"])
        groups.setdefault((*recipe, *sorted(_shared(run.card).items())), []).append(run)
    settings = [_shared(group[0].card) for group in groups.values()]
    varying = [key for key in settings[0] if len({values[key] for values in settings}) > 1] if settings else []
    return [_arm(tuple(group), [key for key in varying if key not in TREATMENT]) for group in groups.values()]


def _shared(card: Card) -> dict[str, str]:
    return {key: str(value) for key, value in _settings(card).items() if key not in CHANCE}


def _settings(card: Card) -> Mapping[str, object]:
    return {**UNRECORDED, **as_recorded(card["settings"])}


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
                    expected="another seed or another fold in every run of an arm",
                    do="Leave one of the two out, or train it with another --seed.",
                )
    data, settings = cards[0]["data"], cards[0]["settings"]
    counts = sorted({card["data"]["train_slices"] for card in cards})
    name = f"{counts[0]} real" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} real"
    if settings["count"]:
        name += f" + {settings['count']} {family_name(data['synthetic_family'])}"
    if settings["min_consistency"]:
        name += f", consistency {settings['min_consistency']} or more"
    settings = _settings(cards[0])
    used = [key for key in sorted(BESIDE_REAL) if settings[key] != UNRECORDED[key]]
    name += "".join(f", {key.replace('_', ' ')} {settings[key]:g}" for key in used)
    name += "".join(f", {_in_name(key, settings[key])}" for key in varying)
    if cards[0]["leaking"]:
        name += " (split by slice: leaking)"
    return Arm(name, runs, _shared(cards[0]), cards[0]["settings"]["count"])


def _in_name(key: str, value: Any) -> str:
    """A setting that differs between arms; more than two organs only by their number, since names stand in figures."""
    if key == "organs" and len(value) > 1:
        return " and ".join(value) if len(value) == 2 else f"{len(value)} organs"
    return f"{key.replace('_', ' ')} {value}"


def baseline_of(all_arms: Sequence[Arm], arm: Arm) -> Arm | None:
    """The arm without synthetic slices and otherwise with the same settings; None if there is none.

    Pixels may differ by `SAME_PIXELS`, with a warning: without synthetic slices they follow from the real bodies.
    """
    for other in all_arms:
        keys = (key for key in arm.settings if key not in TREATMENT and key != "pixel_mm")
        alike = all(other.settings[key] == arm.settings[key] for key in keys)
        mm = [float(each.settings["pixel_mm"]) for each in (other, arm)]
        if other.synthetic == 0 and alike and max(mm) <= min(mm) * (1 + SAME_PIXELS):
            return other
    return None


def compared(all_arms: Sequence[Arm], translators: Sequence[Run]) -> list[Compared | None]:
    """The 3D Dice of each arm compared with its baseline, as in experiments; None without one on the same patients."""
    found: list[Compared | None] = [None] * len(all_arms)
    for base in all_arms:
        places = [
            place
            for place, arm in enumerate(all_arms)
            if arm.synthetic and baseline_of(all_arms, arm) is base and _same_patients(base, arm)
        ]
        if not places:
            continue
        why = untrained([training(run, card) for run, card in zip(base.runs, base.cards, strict=True)])
        scores, *of_arms = (
            {MAIN: from_runs(arm.name, arm.tables)} for arm in (base, *(all_arms[place] for place in places))
        )
        rows = compare_arms(scores, of_arms, [Facts(_shared_by(all_arms[place], translators), why) for place in places])
        for place, row in zip(places, rows[MAIN], strict=True):
            found[place] = row
    return found


def _same_patients(base: Arm, arm: Arm) -> bool:
    """Whether both arms have the same folds, and all runs of a fold tested the same patients."""
    tested = [{(fold, frozenset(table)) for (fold, _), table in each.tables.items()} for each in (base, arm)]
    return tested[0] == tested[1] and len({fold for fold, _ in tested[0]}) == len(tested[0])


def _shared_by(arm: Arm, translators: Sequence[Run]) -> tuple[str, ...]:
    """What the folds of an arm share through the translators behind their slices."""
    known = {run.card["weights_sha256"]: run.card for run in translators}
    origins = []
    for card in arm.cards:
        for model in card["data"]["synthetic_models"]:
            translator, fold = known.get(model), card["settings"]["fold"]
            if translator is None:
                origins.append(Origin(fold, model))
            else:
                source = translator["data"][translator["settings"]["source"]]["patients"]
                origins.append(Origin(fold, model, translator["settings"]["seed"], frozenset(source)))
    return shared_by_folds(origins, split="slice" if arm.cards[0]["leaking"] else "patient")


def verdict(arm: Arm, found: Compared | None) -> str:
    """The comparison of an arm in a sentence."""
    if found is None:
        return f"{arm.name}: not compared, since no arm without synthetic slices was trained and tested alike."
    return found.sentence


def one_line(card: Card) -> str:
    """The result of one segmentation run in a line."""
    scores, data = card["scores"], card["data"]
    organs = {organ: one["patient"]["dice"] for organ, one in scores.get("organs", {}).items()}
    each = f"; {', '.join(f'{organ} {dice:.3f}' for organ, dice in organs.items())}" if organs else ""
    what = f"mean Dice of {len(organs)} organs" if organs else "Dice"
    parts = [f"{what} {scores['patient']['dice']:.3f} by patient (3D, {len(data['test_patients'])} patients{each})"]
    if "pooled" in scores:
        parts.append(f"{scores['pooled']['dice']:.3f} over all pixels")
    if scores["slice"]["dice"] is not None:
        parts.append(f"{scores['slice']['dice']:.3f} by slice")
    if scores["auc"] is not None:
        parts.append(f"AUC {scores['auc']:.4f}")
    if card["leaking"]:
        parts.append("split by slice: LEAKING, neighbours of test slices were trained on")
    if scores["constant"]:
        parts.append("the output is the same everywhere: the network found nothing")
    return ", ".join(parts)
