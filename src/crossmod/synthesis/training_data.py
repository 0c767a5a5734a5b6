"""The data of a translator: what it is trained on, what its epochs are scored on, and what is held out."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from crossmod.config import Modality
from crossmod.data.people import People, who_is_who
from crossmod.data.pixel_size import (
    Scale,
    check_sides,
    extents,
    model_scale,
    needed_mm,
    settle,
    training_scale,
    warn_of_sizes,
)
from crossmod.data.registration import RegisteredScans, group_cases, read_input
from crossmod.data.slices import SliceSet, draw_evenly, load_beside, load_slices, offsets
from crossmod.data.splits import split_patients, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.runs import ExtentCard, TranslatorSideCard
from crossmod.seeds import derive, rng
from crossmod.settings import TranslateSettings
from crossmod.synthesis.families import needs_labels

log = logging.getLogger(__name__)

Groups = dict[Modality, tuple[RegisteredScans, ...]]
# One set per image that goes in.
Slices = Mapping[Modality, tuple[SliceSet, ...]]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The cases of both modalities, divided by patient."""

    stores: dict[Modality, Store]
    patients: dict[Modality, list[str]]  # everyone in the stores, held out or not
    train: Groups  # the training cases; with several inputs, one group per patient
    scored: Groups  # the cases that epochs are scored on, grouped in the same way; empty if epochs are not scored
    held_out: frozenset[str]  # patients that are kept for testing
    people: People  # who is one person on both sides

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        """Checksums of all cases, so that changed data is noticed."""
        return {side: {case.id: case.sha256 for case in self.seen(side)} for side in self.stores}

    def seen(self, side: Modality) -> tuple[CaseRecord, ...]:
        """Every case of one side that influences the translator."""
        return tuple(case for group in self.train[side] + self.scored[side] for case in group.records)


def divide(stores: dict[Modality, Store], settings: TranslateSettings, *, otherwise: str = "") -> TrainingData:
    """Divide the cases of both stores by person; those held out on the target side are not trained on, on either.
    `otherwise`: what else the command can do if the patients are too few, for the message."""
    # The target side first: `segment` must find the same names, and so the same folds, in the target's store alone.
    sides: tuple[Modality, Modality] = (settings.target, settings.source)
    ask = settings.split == "patient"
    people = who_is_who([stores[side] for side in sides], same_people=settings.same_people, ask=ask)
    stores = dict(zip(sides, people.stores, strict=True))
    # Only a segmentor and some controls need labels; CycleGAN takes any case.
    labelled = settings.source if needs_labels(settings) else None
    if labelled is not None:
        _check_labelled(stores[labelled], labelled, settings)
    cases: Groups = {
        side: side_groups(stores[side], side, settings, organ=settings.organs[0] if side == labelled else None)
        for side in stores
    }
    patients: dict[Modality, list[str]] = {side: [group.first.patient for group in cases[side]] for side in cases}
    held_out: set[str] = set()
    if settings.split == "patient":
        split = split_patients(patients[settings.target], settings, otherwise=otherwise)
        held_out = (set(patients[settings.target]) - set(split.train)) | set(split.test)
    held_out |= _source_left_out(patients[settings.source], held_out, settings)
    left: dict[Modality, list[str]] = {side: sorted(set(patients[side]) - held_out) for side in cases}
    scored = _scored_patients(left, settings) if settings.select_every else set()
    for side in cases:
        if not set(left[side]) - scored:
            found, do = "no case left without the held-out patients", "Hold out fewer, or lower --select-patients."
            raise InputError(stores[side].path, found=found, expected="some to train on", do=do)
    return TrainingData(
        stores=stores,
        patients=patients,
        train={side: _of(cases[side], set(left[side]) - scored) for side in cases},
        scored={side: _of(cases[side], set(left[side]) & scored) for side in cases},
        held_out=frozenset(held_out),
        people=people,
    )


def _check_labelled(store: Store, side: Modality, settings: TranslateSettings) -> None:
    """Refuse a store without labels for a family that needs them."""
    cases = [case for case in store.cases if case.modality == side]
    if cases and not any(settings.organs[0] in case.labels.values() for case in cases):
        known = sorted({name for case in cases for name in case.labels.values()})
        found = f"no {side} case with {settings.organs[0]} labels (labels: {', '.join(known) or 'none'})"
        do = f"Prepare with labels, name other --organs, or {_without_labels(settings)}."
        expected = f"labelled {settings.organs[0]} for --family {settings.family}"
        raise InputError(store.path, found=found, expected=expected, do=do)


def _without_labels(settings: TranslateSettings) -> str:
    """Which family does without labels."""
    return (
        "train without a segmentor: --family cyclegan"
        if settings.family == "essnet"
        else "use a control that needs none, such as --family random_contrast"
    )


def side_groups(
    store: Store, side: Modality, settings: TranslateSettings, *, organ: str | None
) -> tuple[RegisteredScans, ...]:
    """The cases of one side, with labels of `organ` unless it is None; those of several inputs grouped by patient."""
    if side == "ct":
        cases = _of_one_kind(store, store.select("ct", organ=organ), settings)
        return tuple(RegisteredScans((case,)) for case in cases)
    inputs = settings.mr_inputs
    cases = [case for names in inputs for name in names for case in store.select("mr", sequence=name, organ=organ)]
    return tuple(group_cases(store, sorted(cases, key=lambda case: case.id), inputs))


def _of_one_kind(store: Store, cases: Sequence[CaseRecord], settings: TranslateSettings) -> Sequence[CaseRecord]:
    """CT with contrast agent or without, never both."""
    if settings.contrast != "any":
        expected = settings.contrast == "yes"
        chosen = [case for case in cases if case.contrast is expected]
        if not chosen:
            found = f"no CT that is known to be {'with' if expected else 'without'} contrast agent"
            do = "State it with `prepare ... --contrast`, or give another store."
            raise InputError(store.path, found=found, expected=f"--contrast {settings.contrast}", do=do)
        return chosen
    if {case.contrast for case in cases} >= {True, False}:
        found = "CT with and CT without contrast agent"
        raise InputError(store.path, found=found, expected="one of the two", do="Choose with --contrast yes or no.")
    return cases


def _of(groups: Sequence[RegisteredScans], patients: set[str]) -> tuple[RegisteredScans, ...]:
    return tuple(group for group in groups if group.first.patient in patients)


def _source_left_out(patients: Sequence[str], held_out: set[str], settings: TranslateSettings) -> set[str]:
    """The patients of the source that `source_patients` does not name; nothing is synthesized from them either."""
    chosen = set(settings.source_patients)
    if not chosen:
        return set()
    strangers, tested = sorted(chosen - set(patients)), sorted(chosen & held_out)
    if strangers or tested:
        why = f"{', '.join(strangers)}, not in the store" if strangers else f"{', '.join(tested)}, held out for testing"
        do = "Leave these names out; `crossmod info STORE` lists the patients."
        raise InputError("--source-patients", found=why, expected=f"{settings.source} patients to train on", do=do)
    return set(patients) - chosen


def _scored_patients(left: Mapping[Modality, list[str]], settings: TranslateSettings) -> set[str]:
    # Drawn for each side; a person with both scans is not trained on, on either.
    return {
        str(patient)
        for side, names in left.items()
        for patient in rng(settings.split_seed, "select", side).permutation(names)[: settings.select_patients]
    }


def framed(data: TrainingData, settings: TranslateSettings) -> tuple[TranslateSettings, dict[Modality, ExtentCard]]:
    """Settings with their millimetres, and the extents of both sides for the card; warns if the sides do not fit."""
    # Of several inputs the first: all have its frame.
    sides = {
        side.upper(): extents(data.stores[side], (group.first for group in data.train[side]), settings.frame)
        for side in data.train
    }
    stated = settings.frame == "stretch" or settings.pixel_mm > 0
    settings = settings if stated else settle(settings, needed_mm(sides))
    measured = check_sides(sides, settings, stated=stated)
    for name, cases in sides.items():
        warn_of_sizes(name, cases)
    return settings, {side: measured[side.upper()].plain() for side in data.train if side.upper() in measured}


def stack_mm(data: TrainingData, settings: TranslateSettings) -> float:
    """Millimetres between the slices of a stack: as asked for, or the larger median spacing of the two sides."""
    spacings = (median(group.first.spacing[0] for group in groups) for groups in data.train.values())
    return settings.stack_mm or max(spacings)


def training_slices(
    data: TrainingData, side: Modality, settings: TranslateSettings, scale: Scale | None = None
) -> tuple[SliceSet, ...]:
    """The training slices of one side: one set per image of the stacks, the stack of the first input first. Default
    `scale`: with the margin of the random cut."""
    sets = _slices(data.stores[side], data.train[side], side, settings, scale or training_scale(settings))
    first = sets[0]
    chosen = list(range(len(first)))
    if settings.split == "slice" and side != settings.source:
        chosen, _ = split_slices(first, settings, data.patients[side])
    limit = settings.ct_slices if side == "ct" else settings.mr_slices
    count = min(limit, len(chosen)) or len(chosen)
    people = len(first.patients)
    log.info("%s: training on %d of %d slices of %d patient%s", side, count, len(first), people, "s" * (people != 1))
    drawn = draw_evenly(first, chosen, count, derive(settings.seed, side))
    return _stacks(data, side, data.train[side], settings, tuple(slices.take(drawn) for slices in sets))


def scored_slices(data: TrainingData, side: Modality, settings: TranslateSettings) -> tuple[SliceSet, ...]:
    """The slices of one side that epochs are scored on, in the same order, as the trained network sees them."""
    sets = _slices(data.stores[side], data.scored[side], side, settings, model_scale(settings))
    return _stacks(data, side, data.scored[side], settings, sets)


def _slices(
    store: Store, groups: Sequence[RegisteredScans], side: Modality, settings: TranslateSettings, scale: Scale
) -> tuple[SliceSet, ...]:
    by_first = {group.first.id: group for group in groups}
    labelled = side == settings.source and needs_labels(settings)
    only_showing = settings.slices == "organ" or (settings.slices == "source" and side == settings.source)

    def of_input(index: int) -> SliceSet:
        slices = load_slices(
            store,
            [group.first for group in groups],
            settings,
            scale=scale,
            labelled=labelled,
            only_showing=only_showing,
            read=lambda record: read_input(store, by_first[record.id], index),
        )
        if labelled and not slices.shows.any():
            found = f"no training slice of {settings.source} that shows {' or '.join(settings.organs)}"
            do = f"Check the labels, name other --organs, or {_without_labels(settings)} --slices all."
            raise InputError(store.path, found=found, expected=f"some, for --family {settings.family}", do=do)
        return slices

    return tuple(of_input(index) for index in range(len(groups[0].records)))


def _stacks(
    data: TrainingData,
    side: Modality,
    groups: Sequence[RegisteredScans],
    settings: TranslateSettings,
    sets: Sequence[SliceSet],
) -> tuple[SliceSet, ...]:
    """Each input's slices, followed by those above and below."""
    if settings.stack == 1:
        return tuple(sets)
    store, by_first, apart = data.stores[side], {group.first.id: group for group in groups}, stack_mm(data, settings)

    def rest(index: int) -> tuple[SliceSet, ...]:
        return load_beside(
            sets[index],
            [group.first for group in groups],
            lambda record: offsets(settings.stack, apart, record.spacing[0]),
            lambda record: read_input(store, by_first[record.id], index),
        )

    return tuple(each for index, own in enumerate(sets) for each in (own, *rest(index)))


def data_card(out: Path, data: TrainingData, side: Modality, sets: tuple[SliceSet, ...]) -> TranslatorSideCard:
    """One side in the card of the run in `out`."""
    slices, steps = sets[0], sets[0].intensities.values()
    contrasts = {group.first.contrast for group in data.train[side]}
    return {
        "store": os.path.relpath(data.stores[side].path, out),
        "sequence": _sequences(data.train[side]),
        # Of CT; None if not all are known.
        "contrast": contrasts.pop() if len(contrasts) == 1 else None,
        "unit": data.train[side][0].first.unit,
        "patients": list(slices.patients),
        "scored_patients": sorted({group.first.patient for group in data.scored[side]}),
        "cases": sorted(case.sha256 for case in data.seen(side)),
        "slices": len(slices),
        "labelled": slices.masks is not None,
        # Output is brought back to it: the window of CT, the median volume of MR.
        "low": median(step.low for step in steps),
        "high": median(step.high for step in steps),
    }


def _sequences(groups: Sequence[RegisteredScans]) -> str | None:
    """The sequences of a side: `t1_in, t1_out` for two inputs, `t1_in+t1_out` for one that may be either."""
    inputs = zip(*(group.records for group in groups), strict=True)
    names = [sorted({str(record.sequence) for record in records if record.sequence}) for records in inputs]
    return ", ".join("+".join(own) for own in names) or None
