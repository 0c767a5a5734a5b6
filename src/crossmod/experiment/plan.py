"""From a design and stores to a list of jobs: every arm, fold and seed, each run once however many arms share it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossmod.config import Modality, with_changes
from crossmod.data.people import who_is_who
from crossmod.data.store import Store, open_stores
from crossmod.errors import InputError
from crossmod.experiment.design import ALL, COUNT, NONE, Design
from crossmod.experiment.folds import FoldCases, ScaledSettings, scaled, sides_of, source_patients
from crossmod.experiment.jobs import Job, name_of
from crossmod.seeds import derive
from crossmod.settings import SegmentSettings, TranslateSettings, pixel_words
from crossmod.synthesis.families import family_of
from crossmod.synthesis.training_data import divide, side_groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arm:
    """What is compared: the same training in all folds and with all seeds.

    Args:
        name: what it is, for people; unique.
        segmenter: by its name in the design.
        translator: likewise; None without synthetic slices.
        count: synthetic slices as the design has them, such as `354` or `0.5x`.
        min_consistency: least label consistency of them.
        labelled: real patients with labels: a number, `all` or `none`.
        baseline: name of the arm that it is held against; None of a baseline.
        runs: by fold and seed, the job.
        slices: by fold, the number of synthetic slices.
    """

    name: str
    segmenter: str
    translator: str | None
    count: str
    min_consistency: float
    labelled: str
    baseline: str | None
    runs: dict[tuple[int, int], str] = field(default_factory=dict)
    slices: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All that is to be done.

    Args:
        design: what was asked.
        target: the modality that is segmented.
        jobs: by name, what is needed before what needs it.
        arms: by name, baselines first.
        cases: by modality, checksum of every case that is used.
        patients: by case of the target modality, whose it is.
        seen: by translator's job, who it sees in training: patients, and checksums of cases.
        tested: by fold, who is tested on: patients, and checksums of cases.
        pixels: by translator and segmenter, what it sees, in words.
    """

    design: Design
    target: Modality
    jobs: dict[str, Job]
    arms: dict[str, Arm]
    cases: dict[str, dict[str, str]]
    patients: dict[str, str]
    seen: dict[str, tuple[frozenset[str], frozenset[str]]]
    tested: dict[int, tuple[frozenset[str], frozenset[str]]]
    pixels: dict[str, str] = field(default_factory=dict)


def make_plan(design: Design, stores: Mapping[Modality, tuple[Path, ...]]) -> Plan:
    """Expand a design over the cases of some stores; nothing is read but their manifests.

    All runs see the same millimetres. Where manifests do not say where bodies lie, the images are read for them.

    Args:
        design: what is asked.
        stores: of each modality, where its cases lie.

    Raises:
        InputError: too few patients, a fold without the organ, counts above what there is, or a plan that leaks.
    """
    target = design.target
    if len(stores[target]) > 1:
        found, do = f"{len(stores[target])} stores of {target}", "Prepare them into one with --append."
        raise InputError("--data", found=found, expected=f"one store of {target}", do=do)
    paths = {side: tuple(str(path.resolve()) for path in stores[side]) for side in ("ct", "mr")}
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
    settings = scaled(design.translator_settings, design.segmenter_settings, opened, target)
    builder = _Builder(design, target, paths, opened, settings)
    for fold in design.chosen_folds:
        builder.add_fold(fold)
    return Plan(
        design,
        target,
        builder.jobs,
        dict(sorted(builder.arms.items(), key=lambda item: item[1].baseline is not None)),
        {
            side: {case.id: case.sha256 for case in store.cases if case.modality == side}
            for side, store in opened.items()
        },
        {case.id: case.patient for case in opened[target].cases},
        builder.seen,
        builder.tested,
        {
            name: f"{one.size} px, {pixel_words(one.model_dump())}"
            for name, one in (*settings.translators.items(), *settings.segmenters.items())
        },
    )


@dataclass(eq=False)
class _Builder:
    """Collects jobs and arms, a fold at a time."""

    design: Design
    target: Modality
    paths: Mapping[str, tuple[str, ...]]
    stores: Mapping[Modality, Store]
    settings: ScaledSettings
    jobs: dict[str, Job] = field(default_factory=dict)
    arms: dict[str, Arm] = field(default_factory=dict)
    seen: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    tested: dict[int, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)

    def add_fold(self, fold: int) -> None:
        """Translators, synthetic slices and segmenters of one fold."""
        d, store = self.design, self.stores[self.target]
        made: dict[tuple[str, int], tuple[str, int]] = {}
        for name, base in self.settings.translators.items():
            settings = self._with_source(with_changes(base, **self._split(fold)), fold)
            for seed in d.seeds if d.retrain else d.seeds[:1]:
                job, slices = self._translator(name, settings, fold, seed)
                made |= {(name, one): (job, slices) for one in ([seed] if d.retrain else d.seeds)}
        for name, base in self.settings.segmenters.items():
            settings = with_changes(base, **self._split(fold))
            sides = sides_of(store, settings)
            self.tested[fold] = (frozenset(sides.test), frozenset(sides.tested_cases))
            for labelled in d.labelled:
                self._arms_of(name, settings, sides, labelled, made, fold)

    def _split(self, fold: int) -> dict[str, Any]:
        d = self.design
        # `folds` is for division by patient; a division by slice has no use for it.
        fixed = {"test_slices": d.test_slices, "split_seed": d.split_seed, "same_people": d.same_people}
        return {"split": d.split, **fixed} | ({"folds": d.folds, "fold": fold} if d.split == "patient" else {})

    def _with_source(self, settings: TranslateSettings, fold: int) -> TranslateSettings:
        """A translator's settings with the source patients of a fold."""
        if self.design.split == "slice":
            return settings
        data = divide(dict(self.stores), settings)
        source = settings.source
        patients = source_patients(
            data.patients[source], data.patients[self.target], data.held_out, fold, self.design, settings
        )
        return with_changes(settings, source_patients=patients)

    def _translator(self, name: str, settings: TranslateSettings, fold: int, seed: int) -> tuple[str, int]:
        """The jobs of training one and of synthesizing with it; gives the latter's name, and how many slices come."""
        settings = with_changes(settings, seed=seed_of(seed, fold, "translator"))
        data = divide(dict(self.stores), settings)
        plain = settings.model_dump(mode="json")
        train = name_of("train", settings.family, plain, data.inputs, {})
        seen = [case for side in data.stores for case in data.seen(side)]
        self.seen[train] = (frozenset(case.patient for case in seen), frozenset(case.sha256 for case in seen))
        slices = {side: sum(_shown(group.first, settings, side) for group in data.train[side]) for side in data.stores}
        limits = {"ct": settings.ct_slices, "mr": settings.mr_slices}
        most = max(min(limits[side] or count, count) for side, count in slices.items())
        where = f"fold {fold}" + (f", seed {seed}" if self.design.retrain else "")
        self._add(
            Job(train, "train", f"{name}, {where}", plain, {side: self.paths[side] for side in ("ct", "mr")}, {},
                work=max(most // settings.batch_size, 1) * settings.epochs)
        )  # fmt: skip
        organ = settings.organs[0]
        source = side_groups(data.stores[settings.source], settings.source, settings, organ=organ)
        groups = [group for group in source if group.first.patient not in data.held_out]
        cases = {record.id: record.sha256 for group in groups for record in group.records}
        made = name_of("synthesize", settings.family, {"slices": "organ"}, cases, {"model": train})
        count = sum(group.first.slices_with.get(organ, 0) for group in groups)
        stores = {"source": self.paths[settings.source]}
        title = f"{self.target.upper()} by {name}, {where}"
        self._add(Job(made, "synthesize", title, {}, stores, {"model": train}, work=count))
        return made, count

    def _arms_of(
        self,
        name: str,
        settings: SegmentSettings,
        sides: FoldCases,
        labelled: str | int,
        made: Mapping[tuple[str, int], tuple[str, int]],
        fold: int,
    ) -> None:
        d = self.design
        patients = sides.labelled(labelled, fold, d.split_seed)
        real = sides.slices(patients)
        base = self._name(name, None, "0", 0.0, ALL if labelled == NONE else str(labelled))
        changes: dict[str, Any] = {} if labelled in (ALL, NONE) else {"train_patients": patients}
        for count in map(str, d.counts):
            number = _resolve(count, real)
            if number == 0:
                if labelled != NONE:
                    self._arm(base, name, None, count, 0.0, str(labelled), None)
                    self._segment(base, with_changes(settings, **changes), {}, fold, sides)
                continue
            for translator, translated in self.settings.translators.items():
                for least in d.min_consistency if family_of(translated.family).segmentor else (0.0,):
                    arm = self._name(name, translator, count, least, str(labelled))
                    self._arm(arm, name, translator, count, least, str(labelled), base)
                    self.arms[arm].slices[fold] = number
                    ways = {seed: made[translator, seed] for seed in d.seeds}
                    _refuse_too_many(arm, number, min(there for _, there in ways.values()), fold)
                    chosen = with_changes(
                        settings, **changes, count=number, min_consistency=least, without_real=labelled == NONE
                    )
                    self._segment(arm, chosen, {seed: job for seed, (job, _) in ways.items()}, fold, sides)

    def _name(self, segmenter: str, translator: str | None, count: str, least: float, labelled: str) -> str:
        parts = [segmenter] if len(self.design.segmenters) > 1 else []
        real = "real" if labelled == ALL else "" if labelled == NONE else f"real of {labelled} patients"
        parts.append(" + ".join(part for part in (real, f"{count} {translator}" if translator else "") if part))
        parts += [f"consistency {least:g} or more"] if least else []
        return ", ".join(parts)

    def _arm(
        self, arm: str, name: str, translator: str | None, count: str, least: float, labelled: str, base: str | None
    ) -> None:
        self.arms.setdefault(arm, Arm(arm, name, translator, count, least, labelled, base))

    def _segment(
        self, arm: str, settings: SegmentSettings, synthetic: Mapping[int, str], fold: int, sides: FoldCases
    ) -> None:
        for seed in self.design.seeds:
            chosen = with_changes(settings, seed=seed_of(seed, fold, "segmenter"))
            plain = chosen.model_dump(mode="json")
            needs = {"synthetic": synthetic[seed]} if synthetic else {}
            job = name_of("segment", chosen.network, plain, sides.cases, needs)
            steps = chosen.steps or chosen.epochs * max((sides.real + chosen.count) // chosen.batch_size, 1)
            title = f"{arm}, fold {fold}, seed {seed}"
            self._add(Job(job, "segment", title, plain, {"real": self.paths[self.target]}, needs, work=steps))
            self.arms[arm].runs[fold, seed] = job

    def _add(self, job: Job) -> None:
        self.jobs.setdefault(job.name, job)


def seed_of(seed: int, fold: int, role: str) -> int:
    """The seed of a training in a fold: folds that shared one would share its luck.

    Args:
        seed: one of the design's.
        fold: which one.
        role: what is trained.
    """
    return derive(seed, "experiment", role, fold) % 2**32


def _shown(record: Any, settings: TranslateSettings, side: Modality) -> int:
    """Slices of a case that a translator is trained on."""
    known = settings.organs[0] in record.labels.values()
    return record.slices_with.get(settings.organs[0], 0) if settings.slices == "organ" and known else record.shape[0]


def _resolve(count: str, real: int) -> int:
    """A count of the design as a number of slices."""
    match = COUNT.fullmatch(count)
    assert match is not None  # the design was checked
    return int(match[1]) if match[1] else round(float(match[2]) * real)


def _refuse_too_many(arm: str, expected: int, there: int, fold: int) -> None:
    if expected > there:
        found = f"{there} synthetic slices in fold {fold}"
        do = (
            "Lower the count, use more folds (each leaves out its part of the source patients), or give more labelled "
            "cases of the source."
        )
        raise InputError(arm, found=found, expected=f"{expected}", do=do)
