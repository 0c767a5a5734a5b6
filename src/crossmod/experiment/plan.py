"""From a design and stores to a list of jobs: every arm, fold and seed, each run once however many arms share it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossmod.config import Modality, with_changes
from crossmod.data.people import who_is_who
from crossmod.data.store import CaseRecord, Store, open_stores
from crossmod.errors import InputError
from crossmod.experiment.design import ALL, COUNT, NONE, Design
from crossmod.experiment.folds import (
    FoldCases,
    named_patients,
    numbers_below_all,
    scaled,
    sides_of,
    source_patients,
)
from crossmod.experiment.jobs import Job, name_of
from crossmod.presets import Chosen, without_idle_use
from crossmod.seeds import derive
from crossmod.segmentation.cases import refuse_partly_labelled, slices_showing
from crossmod.settings import SegmentSettings, TranslateSettings, pixel_words
from crossmod.synthesis.families import family_of, is_control
from crossmod.synthesis.training_data import divide, side_groups

log = logging.getLogger(__name__)

# Patients, and checksums of cases.
People = tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True)
class Arm:
    """The same training in all folds and with all seeds, to be compared with another."""

    name: str  # unique, for people
    segmenter: str  # its name in the design
    translator: str | None  # its name in the design; None without synthetic slices
    count: str  # synthetic slices as in the design, such as `354` or `0.5x`
    min_consistency: float  # their least label consistency
    labelled: str  # real patients with labels: a number, `all` or `none`
    baseline: str | None  # name of the arm that it is compared with; None of a baseline
    runs: dict[tuple[int, int], str] = field(default_factory=dict)  # by fold and seed, the job
    slices: dict[int, int] = field(default_factory=dict)  # by fold, the number of synthetic slices
    patients: dict[int, int] = field(default_factory=dict)  # by fold, the number of labelled real patients


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment."""

    design: Design
    target: Modality
    cases: dict[str, dict[str, str]]  # by modality, the checksum of every case that is used
    patients: dict[str, str]  # by case of the target modality, its patient
    pixels: dict[str, str]  # by translator and segmenter, a description of its pixels
    jobs: dict[str, Job] = field(default_factory=dict)  # by name, needed ones before those that need them
    arms: dict[str, Arm] = field(default_factory=dict)  # by name, baselines first
    seen: dict[str, People] = field(default_factory=dict)  # by translator's job, whom it sees in training
    tested: dict[int, People] = field(default_factory=dict)  # by fold, who is tested on
    left_out: tuple[str, ...] = ()  # sentences on numbers of labelled patients that `all` stands for


def make_plan(design: Design, stores: Mapping[Modality, tuple[Path, ...]]) -> Plan:
    """Expand a design over stores; only manifests are read, and images if these do not say where bodies are."""
    target = design.target
    if len(stores[target]) > 1:
        found, do = f"{len(stores[target])} stores of {target}", "Prepare them into one with --append."
        raise InputError("--data", found=found, expected=f"one store of {target}", do=do)
    source: Modality = "ct" if target == "mr" else "mr"
    people = who_is_who(
        [open_stores(stores[target]), open_stores(stores[source])],
        same_people=design.same_people,
        ask=design.split == "patient",
    )
    for line in people.lines:
        log.info("%s", line)
    by_side = dict(zip((target, source), people.stores, strict=True))
    opened: dict[Modality, Store] = {side: by_side[side] for side in ("ct", "mr")}
    test_patients = named_patients(design.test_patients, opened[target], target, "test_patients")
    left_out = named_patients(design.source_left_out, opened[source], source, "source_left_out")
    translators, segmenters = scaled(design.translator_settings, design.segmenter_settings, opened, target)
    plan = Plan(
        design,
        target,
        cases={
            side: {case.id: case.sha256 for case in store.cases if case.modality == side}
            for side, store in opened.items()
        },
        patients={case.id: case.patient for case in opened[target].cases},
        pixels={
            name: f"{of_network.size} px, {pixel_words(of_network.model_dump())}"
            for name, of_network in (*translators.items(), *segmenters.items())
        },
    )
    paths = {side: tuple(str(path.resolve()) for path in stores[side]) for side in ("ct", "mr")}
    builder = _Builder(plan, paths, opened, translators, segmenters, test_patients, left_out)
    labelled, too_many = numbers_below_all(design.labelled, builder.available())
    for fold in design.chosen_folds:
        builder.add_fold(fold, labelled)
    return replace(
        plan, left_out=too_many, arms=dict(sorted(plan.arms.items(), key=lambda item: item[1].baseline is not None))
    )


@dataclass(eq=False)
class _Builder:
    """Adds the jobs and arms of one fold after another to a plan."""

    plan: Plan
    paths: Mapping[str, tuple[str, ...]]
    stores: Mapping[Modality, Store]
    translators: Mapping[str, TranslateSettings]
    segmenters: Mapping[str, SegmentSettings]
    test_patients: tuple[str, ...]  # by name; empty: folds
    left_out: tuple[str, ...]  # source patients that nothing is trained on

    def available(self) -> dict[int, int]:
        """By fold, the number of labelled patients on the training side, the smallest of all segmenters."""
        store = self.stores[self.plan.target]
        return {
            fold: min(len(sides_of(store, self._in_fold(base, fold)).available) for base in self.segmenters.values())
            for fold in self.plan.design.chosen_folds
        }

    def add_fold(self, fold: int, labelled: Sequence[int | str]) -> None:
        """Add the translators, synthetic slices and segmenters of one fold, for these numbers of labelled patients."""
        d = self.plan.design
        # By translator and seed, the job that synthesizes and the number of its slices.
        synthetic: dict[tuple[str, int], tuple[str, int]] = {}
        for name, base in self.translators.items():
            settings = self._with_source(self._in_fold(base, fold), fold)
            for seed in d.seeds if d.retrain else d.seeds[:1]:
                job, slices = self._add_translator(name, settings, fold, seed)
                synthetic |= {(name, each): (job, slices) for each in ([seed] if d.retrain else d.seeds)}
        for name, base in self.segmenters.items():
            settings = self._in_fold(base, fold)
            sides = sides_of(self.stores[self.plan.target], settings)
            self.plan.tested[fold] = (frozenset(sides.test), frozenset(sides.tested_cases))
            for number in labelled:
                self._add_arms(name, settings, sides, number, synthetic, fold)

    def _in_fold(self, settings: Chosen, fold: int) -> Chosen:
        d = self.plan.design
        settings = with_changes(
            settings, split=d.split, test_slices=d.test_slices, split_seed=d.split_seed, same_people=d.same_people
        )
        if self.test_patients:
            return with_changes(settings, test_patients=self.test_patients)
        # A split by slice has no folds.
        return with_changes(settings, folds=d.folds, fold=fold) if d.split == "patient" else settings

    def _with_source(self, settings: TranslateSettings, fold: int) -> TranslateSettings:
        """A translator's settings with the source patients of a fold."""
        d = self.plan.design
        if d.split == "slice":
            return settings
        data = divide(dict(self.stores), settings)
        source = [patient for patient in data.patients[settings.source] if patient not in self.left_out]
        target = data.patients[self.plan.target]
        chosen = source_patients(source, target, data.held_out, fold, d, settings)
        if self.left_out and not chosen:
            # Without any name all would be trained on.
            found, do = "no source patient beside these and the people who are tested", "Leave fewer out."
            raise InputError("source_left_out", found=found, expected="some to train on", do=do)
        return with_changes(settings, source_patients=chosen)

    def _add_translator(self, name: str, settings: TranslateSettings, fold: int, seed: int) -> tuple[str, int]:
        """Add the jobs that train a translator and synthesize with it; gives the latter's name and number of slices."""
        settings = with_changes(settings, seed=seed_of(seed, fold, "translator"))
        data = divide(dict(self.stores), settings)
        plain = settings.model_dump(mode="json")
        train = name_of("train", settings.family, plain, data.inputs, {})
        seen = [case for side in data.stores for case in data.seen(side)]
        self.plan.seen[train] = (frozenset(case.patient for case in seen), frozenset(case.sha256 for case in seen))
        slices = {
            side: sum(_training_slices(group.first, settings) for group in data.train[side]) for side in data.stores
        }
        limits = {"ct": settings.ct_slices, "mr": settings.mr_slices}
        most = max(min(limits[side] or count, count) for side, count in slices.items())
        where = f"fold {fold}" + (f", seed {seed}" if self.plan.design.retrain else "")
        stores = {side: self.paths[side] for side in ("ct", "mr")}
        # Nothing is trained for a control.
        steps = 0 if is_control(settings.family) else max(most // settings.batch_size, 1) * settings.epochs
        self._add(Job(train, "train", f"{name}, {where}", plain, stores, {}, work=steps))
        organ = settings.organs[0]
        source = side_groups(data.stores[settings.source], settings.source, settings, organ=organ)
        groups = [group for group in source if group.first.patient not in data.held_out]
        cases = {record.id: record.sha256 for group in groups for record in group.records}
        synthesize = name_of("synthesize", settings.family, {"slices": "organ"}, cases, {"model": train})
        for base in self.segmenters.values():
            refuse_partly_labelled([group.first for group in groups], base.organs)
        count = sum(slices_showing(data.stores[settings.source], group.first, settings.organs) for group in groups)
        stores = {"source": self.paths[settings.source]}
        title = f"{self.plan.target.upper()} by {name}, {where}"
        self._add(Job(synthesize, "synthesize", title, {}, stores, {"model": train}, work=count))
        return synthesize, count

    def _add_arms(
        self,
        segmenter: str,
        settings: SegmentSettings,
        sides: FoldCases,
        labelled: str | int,
        synthetic: Mapping[tuple[str, int], tuple[str, int]],
        fold: int,
    ) -> None:
        d = self.plan.design
        patients = sides.labelled(labelled, fold, d.split_seed)
        real = sides.slices(patients)
        if labelled not in (ALL, NONE):
            settings = with_changes(settings, train_patients=patients)
        base = self._arm_name(segmenter, None, "0", 0.0, ALL if labelled == NONE else str(labelled))
        for count in map(str, d.counts):
            number = _slices(count, real)
            if number == 0:
                if labelled != NONE:
                    arm = self._arm(segmenter, None, count, 0.0, str(labelled), None)
                    arm.patients[fold] = len(patients)
                    self._add_segmenters(arm, settings, {}, fold, sides)
                continue
            for translator, translated in self.translators.items():
                for least in d.min_consistency if _scores_slices(translated) else (0.0,):
                    arm = self._arm(segmenter, translator, count, least, str(labelled), base)
                    arm.slices[fold] = number
                    arm.patients[fold] = 0 if labelled == NONE else len(patients)
                    made = {seed: synthetic[translator, seed] for seed in d.seeds}
                    _refuse_too_many(arm.name, number, min(slices for _, slices in made.values()), fold)
                    with_slices = with_changes(
                        settings, count=number, min_consistency=least, without_real=labelled == NONE
                    )
                    jobs = {seed: job for seed, (job, _) in made.items()}
                    self._add_segmenters(arm, with_slices, jobs, fold, sides)

    def _arm_name(self, segmenter: str, translator: str | None, count: str, least: float, labelled: str) -> str:
        parts = [segmenter] if len(self.plan.design.segmenters) > 1 else []
        people = f"real of {labelled} patient{'' if labelled == '1' else 's'}"
        real = {ALL: "real", NONE: ""}.get(labelled, people)
        parts.append(" + ".join(part for part in (real, f"{count} {translator}" if translator else "") if part))
        parts += [f"consistency {least:g} or more"] if least else []
        return ", ".join(parts)

    def _arm(
        self, segmenter: str, translator: str | None, count: str, least: float, labelled: str, base: str | None
    ) -> Arm:
        name = self._arm_name(segmenter, translator, count, least, labelled)
        return self.plan.arms.setdefault(name, Arm(name, segmenter, translator, count, least, labelled, base))

    def _add_segmenters(
        self, arm: Arm, settings: SegmentSettings, synthetic: Mapping[int, str], fold: int, sides: FoldCases
    ) -> None:
        for seed in self.plan.design.seeds:
            own = without_idle_use(with_changes(settings, seed=seed_of(seed, fold, "segmenter")))
            plain = own.model_dump(mode="json")
            needs = {"synthetic": synthetic[seed]} if synthetic else {}
            name = name_of("segment", own.network, plain, sides.cases, needs)
            steps = own.steps or own.epochs * max((sides.real + own.count) // own.batch_size, 1)
            title = f"{arm.name}, fold {fold}, seed {seed}"
            self._add(Job(name, "segment", title, plain, {"real": self.paths[self.plan.target]}, needs, work=steps))
            arm.runs[fold, seed] = name

    def _add(self, job: Job) -> None:
        self.plan.jobs.setdefault(job.name, job)


def seed_of(seed: int, fold: int, role: str) -> int:
    """The seed of a training in a fold: folds with the same seed would share its luck."""
    return derive(seed, "experiment", role, fold) % 2**32


def _training_slices(record: CaseRecord, settings: TranslateSettings) -> int:
    """The number of slices of a case that a translator is trained on; at most, if its segmentor chooses them."""
    known = settings.organs[0] in record.labels.values()
    chosen = settings.slices == "organ" or (settings.slices == "source" and record.modality == settings.source)
    return record.slices_with.get(settings.organs[0], 0) if chosen and known else record.shape[0]


def _scores_slices(settings: TranslateSettings) -> bool:
    """Whether its synthetic slices have a label consistency, by which they can be left out."""
    return family_of(settings.family).segmentor is not None or settings.judge is not None


def _slices(count: str, real: int) -> int:
    """A count of the design as a number of slices."""
    match = COUNT.fullmatch(count)
    assert match is not None  # the design was checked
    return int(match[1]) if match[1] else round(float(match[2]) * real)


def _refuse_too_many(arm: str, expected: int, available: int, fold: int) -> None:
    if expected > available:
        found = f"{available} synthetic slices in fold {fold}"
        do = (
            "Lower the count, use more folds (each leaves out its part of the source patients), or give more labelled "
            "cases of the source."
        )
        raise InputError(arm, found=found, expected=f"{expected}", do=do)
