"""What a translator is trained on, what its epochs are scored on, and what it never sees."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from crossmod.config import Modality
from crossmod.data.slices import SliceSet, draw_evenly, load_slices
from crossmod.data.splits import split_patients, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.seeds import derive, rng
from crossmod.settings import TranslateSettings

log = logging.getLogger(__name__)

Cases = dict[Modality, tuple[CaseRecord, ...]]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The cases of both modalities, divided by patient.

    Args:
        stores: where they lie.
        patients: everybody in the stores, held out or not.
        train: what is trained on.
        scored: what epochs are scored on; nobody, where they are not.
        held_out: patients that are left for testing what is made with the translator.
    """

    stores: dict[Modality, Store]
    patients: dict[Modality, list[str]]
    train: Cases
    scored: Cases
    held_out: frozenset[str]

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        """Checksums of all that goes in, so that changed data is noticed."""
        return {side: {case.id: case.sha256 for case in self.seen(side)} for side in self.stores}

    def seen(self, side: Modality) -> tuple[CaseRecord, ...]:
        """Every case of one side that has an influence on the translator."""
        return self.train[side] + self.scored[side]


def divide(stores: dict[Modality, Store], settings: TranslateSettings) -> TrainingData:
    """Divide the cases of both stores.

    Raises:
        InputError: a store without the cases that are wanted, or nobody left to train on.
    """
    cases: Cases = {side: _cases(stores[side], side, settings) for side in stores}
    patients: dict[Modality, list[str]] = {side: [case.patient for case in cases[side]] for side in cases}
    held_out = _held_out(patients, settings)
    left: dict[Modality, list[str]] = {side: sorted(set(patients[side]) - held_out) for side in cases}
    scored = _scored_patients(left, settings) if settings.select_every else set()
    for side in cases:
        if not set(left[side]) - scored:
            found = "no case left once the held-out patients are taken away"
            raise InputError(
                stores[side].path,
                found=found,
                wanted="some to train on",
                do="Hold out fewer patients, or a lower --select-patients.",
            )
    return TrainingData(
        stores=stores,
        patients=patients,
        train={side: _of(cases[side], set(left[side]) - scored) for side in cases},
        scored={side: _of(cases[side], set(left[side]) & scored) for side in cases},
        held_out=frozenset(held_out),
    )


def _cases(store: Store, side: Modality, settings: TranslateSettings) -> tuple[CaseRecord, ...]:
    # Only a segmentor needs labels; CycleGAN takes what there is.
    organ = settings.organs[0] if side == settings.source and settings.family == "essnet" else None
    return store.select(side, sequence=settings.sequence if side == "mr" else None, organ=organ)


def _of(cases: Sequence[CaseRecord], patients: set[str]) -> tuple[CaseRecord, ...]:
    return tuple(case for case in cases if case.patient in patients)


def _held_out(patients: Mapping[Modality, list[str]], settings: TranslateSettings) -> set[str]:
    if settings.split == "slice":
        return set()
    target: Modality = "mr" if settings.source == "ct" else "ct"
    split = split_patients(patients[target], settings)
    return (set(patients[target]) - set(split.train)) | set(split.test)


def _scored_patients(left: Mapping[Modality, list[str]], settings: TranslateSettings) -> set[str]:
    # Drawn side by side; who has both scans is kept from training on either.
    return {
        str(patient)
        for side, names in left.items()
        for patient in rng(settings.split_seed, "select", side).permutation(names)[: settings.select_patients]
    }


def training_slices(data: TrainingData, side: Modality, settings: TranslateSettings) -> SliceSet:
    """The slices of one side that are trained on, larger than the network sees by the margin of the random cut."""
    slices = load_slices(
        data.stores[side],
        data.train[side],
        settings,
        size=settings.loaded,
        labelled=side == settings.source and settings.family == "essnet",
        only_showing=settings.slices == "organ",
    )
    chosen = list(range(len(slices)))
    if settings.split == "slice" and side != settings.source:
        chosen, _ = split_slices(slices, settings, data.patients[side])
    limit = settings.ct_slices if side == "ct" else settings.mr_slices
    count = min(limit, len(chosen)) or len(chosen)
    log.info("%s: training on %d of %d slices of %d patients", side, count, len(slices), len(slices.patients))
    return slices.take(draw_evenly(slices, chosen, count, derive(settings.seed, side)))


def scored_slices(data: TrainingData, side: Modality, settings: TranslateSettings) -> SliceSet:
    """The slices of one side that epochs are scored on, as the network will see them once it is trained."""
    labelled = side == settings.source and settings.family == "essnet"
    return load_slices(
        data.stores[side],
        data.scored[side],
        settings,
        size=settings.size,
        labelled=labelled,
        only_showing=settings.slices == "organ",
    )


def data_card(out: Path, data: TrainingData, side: Modality, slices: SliceSet) -> dict[str, Any]:
    """What a run's card says of one side."""
    steps = slices.intensities.values()
    return {
        "store": os.path.relpath(data.stores[side].path, out),
        "sequence": data.train[side][0].sequence,
        "patients": list(slices.patients),
        "scored_patients": sorted({case.patient for case in data.scored[side]}),
        "cases": sorted(case.sha256 for case in data.seen(side)),
        "slices": len(slices),
        "labelled": slices.masks is not None,
        # What output is brought back to: the window of CT, the middle volume of MR.
        "low": median(step.low for step in steps),
        "high": median(step.high for step in steps),
    }
