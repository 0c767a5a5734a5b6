"""Which patients are trained on and which are held out: by patient; by slice only for the paper's protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.data.slices import SliceSet
from crossmod.errors import InputError
from crossmod.seeds import rng
from crossmod.settings import SplitSettings


@dataclass(frozen=True)
class Split:
    """Patients on the two sides."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def split_patients(patients: Sequence[str], settings: SplitSettings, *, otherwise: str = "") -> Split:
    """Split patients into a training side and a held-out side: the same for every command, in whatever order they come.

    `otherwise`: what else the command can do if they are too few, for the message.

    Raises:
        InputError: a patient that is not there, one named for both sides, or too few for the folds.
    """
    known = sorted(set(patients))
    one_side = "each patient on one side of the split"
    both = sorted(set(settings.test_patients) & set(settings.train_patients))
    if both:
        found, do = f"{', '.join(both)} on both sides", "Take it out of one of the two."
        raise InputError("--test-patients and --train-patients", found=found, expected=one_side, do=do)
    for option, named in (("--test-patients", settings.test_patients), ("--train-patients", settings.train_patients)):
        strangers = sorted(set(named) - set(known))
        if strangers:
            found, do = f"{', '.join(strangers)}, not in the store", "`crossmod info STORE` lists the patients."
            expected = f"some of {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
            raise InputError(option, found=found, expected=expected, do=do)
    test = sorted(settings.test_patients) or list(
        patient_folds(known, settings.folds, settings.split_seed, otherwise=otherwise)[settings.fold]
    )
    train = sorted(settings.train_patients) or sorted(set(known) - set(test))
    overlap = sorted(set(train) & set(test))
    if overlap:
        found = f"{', '.join(overlap)} held out by fold {settings.fold}"
        do = "Name --test-patients too, or choose another --fold."
        raise InputError("--train-patients", found=found, expected=one_side, do=do)
    return Split(tuple(train), tuple(test))


def split_in_words(settings: SplitSettings) -> str:
    """The split as one line of text; equal lines hold out the same slices of the same store."""
    if settings.split != "slice":
        return settings.split
    return f"slice: {settings.test_slices} held out, seed {settings.split_seed}"


def patient_folds(patients: Sequence[str], folds: int, seed: int, *, otherwise: str = "") -> list[tuple[str, ...]]:
    """Divide patients into `folds` parts whose sizes differ by one at most; `otherwise` as for `split_patients`."""
    known = sorted(set(patients))
    if len(known) < folds:
        found = f"{len(known)} patient{'s' if len(known) != 1 else ''} ({', '.join(known)})"
        expected = f"at least {folds}, one per fold"
        # One patient cannot be divided.
        fewer = f"Use fewer folds ({len(known)} at most), or a" if len(known) > 1 else "Give a"
        do = f"{fewer} store with more patients. {otherwise}".rstrip()
        raise InputError("--folds", found=found, expected=expected, do=do)
    order = rng(seed, "folds").permutation(known)
    return [tuple(sorted(str(patient) for patient in part)) for part in np.array_split(order, folds)]


def split_slices(slices: SliceSet, settings: SplitSettings, patients: Sequence[str]) -> tuple[list[int], list[int]]:
    """Indexes of the training and the test slices of one modality.

    By patient; or, with `split="slice"`, among the labelled slices that show the organ, as in Rafiq et al. 2025: then
    slices of one patient are on both sides, which every output that depends on it says. `patients` are all of this
    modality in the store, labelled or not, so that a translator, which needs no labels, and a segmenter have the same
    folds.

    Raises:
        InputError: no slice would be left to train on, or a split that `split_patients` refuses.
    """
    if settings.split == "patient":
        sides = split_patients(patients, settings)
        train, test = (
            [i for i, key in enumerate(slices.keys) if key.patient in side] for side in (sides.train, sides.test)
        )
        return train, test
    showing = [int(i) for i in np.flatnonzero(slices.shows & slices.known)]
    if settings.test_slices >= len(showing):
        found = f"{settings.test_slices} of {len(showing)} slices"
        raise InputError("--test-slices", found=found, expected="fewer than there are", do="Lower it.")
    order = rng(settings.split_seed, "slices").permutation(len(showing))
    test = {showing[int(i)] for i in order[: settings.test_slices]}
    return [i for i in range(len(slices)) if i not in test], sorted(test)
