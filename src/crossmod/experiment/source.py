"""The source patients of each fold, divided as the target's are: no two folds' translators see the same ones."""

from collections.abc import Collection

from crossmod.data.splits import patient_folds
from crossmod.experiment.design import Design
from crossmod.seeds import derive, rng
from crossmod.settings import TranslateSettings


def source_patients(
    source: Collection[str],
    target: Collection[str],
    held_out: Collection[str],
    fold: int,
    design: Design,
    settings: TranslateSettings,
) -> tuple[str, ...]:
    """Who a fold's translator is trained on and synthesizes from: all but the fold's own part of the source patients.

    Whoever has scans of both sides is left out where their target scan is tested. The others are divided into as many
    parts as there are folds. Where they are fewer than folds, each fold leaves out one of them in turn, and some folds
    have the same source patients; what folds share is read from the jobs, and verdicts say it (`experiment.shared`).

    Args:
        source: patients of the source side.
        target: patients of the target side.
        held_out: those of the target that the fold tests on.
        fold: which one.
        design: with the number of folds and the seed of the division.
        settings: of the translator.
    """
    left = sorted(set(source) - set(held_out))
    part = _part(sorted(set(source) - set(target)), fold, design)
    # A translator needs someone to train on, beside those that its epochs are scored on.
    least = 1 + (settings.select_patients if settings.select_every else 0)
    kept = [patient for patient in left if patient not in part]
    return tuple(kept if len(kept) >= least else left)


def _part(patients: list[str], fold: int, design: Design) -> set[str]:
    """The patients that a fold leaves out."""
    if len(patients) < 2:
        return set()
    if len(patients) < design.folds:
        order = rng(design.split_seed, "source").permutation(patients)
        return {str(order[fold % len(patients)])}
    return set(patient_folds(patients, design.folds, derive(design.split_seed, "source"))[fold])
