"""The cases of each fold: who is trained on and who is tested on, of target and source, and the pixel size of all."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from crossmod.config import Modality
from crossmod.data.pixel_size import Extent, check_sides, extents, needed_mm, settle, warn_of_sizes
from crossmod.data.splits import patient_folds, split_patients
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.experiment.design import ALL, NONE, Design
from crossmod.seeds import derive, rng
from crossmod.settings import FrameKind, ImageSettings, SegmentSettings, TranslateSettings
from crossmod.synthesis.training_data import side_groups


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


@dataclass(frozen=True)
class FoldCases:
    """Who is on which side.

    Args:
        settings: of the segmenter.
        records: the labelled cases.
        train: patients that may be trained on.
        test: patients that are tested on.
    """

    settings: SegmentSettings
    records: tuple[CaseRecord, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def cases(self) -> dict[str, str]:
        """Checksum of each labelled case."""
        return {record.id: record.sha256 for record in self.records}

    @property
    def tested_cases(self) -> set[str]:
        """Checksums of the cases that are tested on; none where slices of a case lie on both sides."""
        if self.settings.split == "slice":
            return set()
        test = set(self.test)
        return {record.sha256 for record in self.records if record.patient in test}

    @property
    def real(self) -> int:
        """Real training slices, all labelled patients taken together."""
        return self.slices(self.labelled(ALL, 0, 0))

    def labelled(self, count: int | str, fold: int, seed: int) -> tuple[str, ...]:
        """Patients of the training side whose labels are used; fewer are always among more.

        Raises:
            InputError: there are not so many.
        """
        known = sorted({record.patient for record in self.records} & set(self.train))
        if count in (ALL, NONE):
            return tuple(known)
        if int(count) > len(known):
            found = f"{len(known)} labelled patients on the training side of fold {fold}"
            raise InputError("labelled", found=found, expected=f"{count}", do="Lower it, or use fewer folds.")
        order = rng(seed, "labelled", fold).permutation(known)
        return tuple(sorted(str(patient) for patient in order[: int(count)]))

    def slices(self, patients: Sequence[str]) -> int:
        """How many real slices some patients give to train on."""
        s, chosen = self.settings, set(patients)
        count = sum(
            record.slices_with.get(s.organs[0], 0) if s.train_on == "organ" else record.shape[0]
            for record in self.records
            if record.patient in chosen
        )
        count -= s.test_slices if s.split == "slice" else 0
        return min(s.real_slices or count, count)


def sides_of(store: Store, settings: SegmentSettings) -> FoldCases:
    """Both sides of the fold that `settings` name.

    Raises:
        InputError: fewer patients than folds, or a side without the organ.
    """
    sequence = settings.sequence if settings.modality == "mr" else None
    organ = settings.organs[0]
    patients = [case.patient for case in store.select(settings.modality, sequence=sequence)]
    records = store.select(settings.modality, sequence=sequence, organ=organ)
    if settings.split == "slice":
        everyone = tuple(sorted({record.patient for record in records}))
        return FoldCases(settings, records, everyone, everyone)
    split = split_patients(patients, settings)
    sides = FoldCases(settings, records, split.train, split.test)
    showing = {record.patient for record in records if record.slices_with.get(organ, 0)}
    for side, names in (("test", split.test), ("training", split.train)):
        if not showing & set(names):
            found = f"no slice with {organ} among the {side} patients of fold {settings.fold} ({', '.join(names)})"
            do = "Use another split_seed or fewer folds, or label more."
            raise InputError(store.path, found=found, expected="some in every fold", do=do)
    return sides


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScaledSettings:
    """The settings of a design with their millimetres, by their names in it."""

    translators: dict[str, TranslateSettings]
    segmenters: dict[str, SegmentSettings]


def scaled(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> ScaledSettings:
    """Settle the millimetres of all settings that leave them open, by all patients of both sides.

    Translators are compared over folds, and segmenters read what translators made: a value of each fold's own would be
    a difference between arms that nobody asked for. Networks of other sizes get the same field of view.

    Raises:
        InputError: bodies whose sizes in millimetres cannot both be right.
    """
    cases = _cases(translators, segmenters, stores, target)
    kinds: set[FrameKind] = {one.frame for one in (*translators.values(), *segmenters.values()) if _is_open(one)}
    sides: dict[FrameKind, dict[str, list[Extent]]] = {
        kind: {side.upper(): extents(stores[side], cases[side], kind) for side in cases} for kind in kinds
    }
    field_mm = max((needed_mm(one) for one in sides.values()), default=0.0)
    made = ScaledSettings(
        {name: settle(one, field_mm) for name, one in translators.items()},
        {name: settle(one, field_mm) for name, one in segmenters.items()},
    )
    measured: Mapping[str, list[Extent]] = {}
    for name, one in made.translators.items():
        log.info("Translator %s:", name)
        stated = not _is_open(translators[name])
        measured = sides.get(one.frame) or {
            side.upper(): extents(stores[side], cases[side], one.frame) for side in cases
        }
        check_sides(measured, one, stated=stated)
    for side, bodies in measured.items():
        warn_of_sizes(side, bodies)
    return made


def _is_open(settings: ImageSettings) -> bool:
    return settings.frame != "stretch" and not settings.pixel_mm


def _cases(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> dict[Modality, list[CaseRecord]]:
    """Every case that has an influence, each once."""
    found: dict[Modality, dict[str, CaseRecord]] = {"ct": {}, "mr": {}}
    for one in translators.values():
        for side in found:
            found[side] |= {group.first.id: group.first for group in side_groups(stores[side], side, one, organ=None)}
    for one in segmenters.values():
        sequence = one.sequence if target == "mr" else None
        found[target] |= {case.id: case for case in stores[target].select(target, sequence=sequence)}
    return {side: list(cases.values()) for side, cases in found.items()}
