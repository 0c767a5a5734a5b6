"""The training and test cases of each fold, of target and source, and the pixel size of all runs."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from crossmod.config import Modality
from crossmod.data.pixel_size import Extent, check_sides, extents, needed_mm, settle, warn_of_sizes
from crossmod.data.splits import patient_folds, split_patients
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.errors import InputError
from crossmod.experiment.design import ALL, NONE, Design
from crossmod.seeds import derive, rng
from crossmod.segmentation.cases import labelled_cases, slices_showing
from crossmod.settings import FrameKind, ImageSettings, SegmentSettings, TranslateSettings
from crossmod.synthesis.training_data import side_groups

log = logging.getLogger(__name__)


def named_patients(names: Sequence[str], store: Store, side: Modality, where: str) -> tuple[str, ...]:
    """The patients of one side of a store that a design names under `where`, by their own name or that of a case.

    Raises:
        InputError: a name that is not there, with all that are missing; or all patients are named, so that none is left
            to train on.
    """
    cases = [case for case in store.cases if case.modality == side]
    known = {case.id: case.patient for case in cases} | {case.patient: case.patient for case in cases}
    patients = sorted(set(known.values()))
    missing = [name for name in names if name not in known]
    there = f"{side.upper()} patients that are there: {listed(patients, 8)}"
    if missing:
        do = (
            f"Prepare the missing patients too; or copy the design (--show) and name patients of your own in {where}, "
            f"or delete {where} from the copy: {_WITHOUT[where]}. The copy's numbers are then of other patients."
        )
        raise InputError(where, found=f"{listed(missing, 8)}, not in {store.path}", expected=there, do=do)
    chosen = tuple(sorted({known[name] for name in names}))
    if chosen and len(chosen) == len(patients):
        found, do = f"all {len(patients)} {side.upper()} patients", f"Leave some out, or delete it: {_WITHOUT[where]}."
        raise InputError(where, found=found, expected="some left to train on", do=do)
    return chosen


# What happens without a field of the design that names patients.
_WITHOUT = {
    "test_patients": "then every patient is tested once, in folds",
    "source_left_out": "then all source patients are trained on",
}


def source_patients(
    source: Collection[str],
    target: Collection[str],
    held_out: Collection[str],
    fold: int,
    design: Design,
    settings: TranslateSettings,
) -> tuple[str, ...]:
    """The patients on whom a fold's translator is trained, and from whom it synthesizes.

    All source patients but the fold's own part. Patients with scans of both sides are left out if their target scan is
    tested (`held_out`). The others are divided into as many parts as there are folds. If they are fewer than folds,
    each fold leaves out one of them in turn, and some folds have the same source patients, as verdicts say
    (`facts_of`). With named test patients there are no parts.
    """
    left = sorted(set(source) - set(held_out))
    part = _part(sorted(set(source) - set(target)), fold, design)
    # A translator needs a training patient beside those that its epochs are scored on.
    least = 1 + (settings.select_patients if settings.select_every else 0)
    kept = [patient for patient in left if patient not in part]
    return tuple(kept if len(kept) >= least else left)


def _part(patients: list[str], fold: int, design: Design) -> set[str]:
    """The patients that a fold leaves out."""
    if len(patients) < 2 or design.test_patients:
        return set()
    if len(patients) < design.folds:
        order = rng(design.split_seed, "source").permutation(patients)
        return {str(order[fold % len(patients)])}
    return set(patient_folds(patients, design.folds, derive(design.split_seed, "source"))[fold])


@dataclass(frozen=True)
class FoldCases:
    """The two sides of a fold."""

    settings: SegmentSettings
    records: tuple[CaseRecord, ...]  # the labelled cases
    train: tuple[str, ...]
    test: tuple[str, ...]
    shown: Mapping[str, int]  # by labelled case, its slices that show one of the organs

    @property
    def cases(self) -> dict[str, str]:
        """Checksum of each labelled case."""
        return {record.id: record.sha256 for record in self.records}

    @property
    def tested_cases(self) -> set[str]:
        """Checksums of the cases that are tested on; none if slices of a case are on both sides."""
        if self.settings.split == "slice":
            return set()
        test = set(self.test)
        return {record.sha256 for record in self.records if record.patient in test}

    @property
    def real(self) -> int:
        """Real training slices of all labelled patients."""
        return self.slices(self.labelled(ALL, 0, 0))

    @property
    def available(self) -> tuple[str, ...]:
        """All labelled patients on the training side, sorted."""
        return tuple(sorted({record.patient for record in self.records} & set(self.train)))

    def labelled(self, count: int | str, fold: int, seed: int) -> tuple[str, ...]:
        """Training patients whose labels are used; a smaller number is always part of a larger one."""
        known = self.available
        if count in (ALL, NONE):
            return known
        if int(count) > len(known):
            found = f"{len(known)} labelled patients on the training side of fold {fold}"
            raise InputError("labelled", found=found, expected=f"{count}", do="Lower it, or use fewer folds.")
        order = rng(seed, "labelled", fold).permutation(list(known))
        return tuple(sorted(str(patient) for patient in order[: int(count)]))

    def slices(self, patients: Sequence[str]) -> int:
        """The number of real training slices of some patients."""
        s, chosen = self.settings, set(patients)
        count = sum(
            self.shown[record.id] if s.train_on == "organ" else record.shape[0]
            for record in self.records
            if record.patient in chosen
        )
        count -= s.test_slices if s.split == "slice" else 0
        return min(s.real_slices or count, count)


def numbers_below_all(
    labelled: Sequence[int | str], available: Mapping[int, int]
) -> tuple[tuple[int | str, ...], tuple[str, ...]]:
    """The numbers of labelled patients that an experiment compares, and a sentence for each one that is left out.

    Beside `all`, a number is left out if some fold has fewer labelled training patients (`available`, by fold), or no
    fold has more: `all` is then its arm already. A number that only some folds reach is kept, as in experiments of
    earlier versions. Without `all` nothing is left out, and a number that is too large is refused
    (`FoldCases.labelled`), since no other arm would answer for it.
    """
    if ALL not in labelled:
        return tuple(labelled), ()
    least, most = min(available.values()), max(available.values())
    fold = next(fold for fold, count in available.items() if count == least)
    large = [number for number in labelled if isinstance(number, int) and (number > least or number >= most)]
    sentences = tuple(
        f"The arms with {number} labelled patient{'s' * (number != 1)} are left out: fold {fold} has {least} labelled "
        "to train on, and the arms with all of them stand for it."
        for number in large
    )
    return tuple(number for number in labelled if number not in large), sentences


def sides_of(store: Store, settings: SegmentSettings) -> FoldCases:
    """Both sides of the fold of `settings`; refused with fewer patients than folds, or a side without an organ."""
    sequence = settings.sequence if settings.modality == "mr" else None
    patients = [case.patient for case in store.select(settings.modality, sequence=sequence)]
    records = labelled_cases(store, settings)
    shown = {record.id: slices_showing(store, record, settings.organs) for record in records}
    if settings.split == "slice":
        everyone = tuple(sorted({record.patient for record in records}))
        return FoldCases(settings, records, everyone, everyone, shown)
    split = split_patients(patients, settings)
    unlabelled = sorted(set(settings.test_patients) - {record.patient for record in records})
    if unlabelled:
        found, do = f"no labels of {listed(unlabelled)}", "Prepare them with labels, or name other patients."
        raise InputError("test_patients", found=found, expected="labelled patients to test on", do=do)
    sides = FoldCases(settings, records, split.train, split.test, shown)
    for organ, (side, names) in product(settings.organs, (("test", split.test), ("training", split.train))):
        showing = {record.patient for record in records if record.slices_with.get(organ, 0)}
        if not showing & set(names):
            fold = "" if settings.test_patients else f" of fold {settings.fold}"
            found = f"no slice with {organ} among the {side} patients{fold} ({', '.join(names)})"
            do = "Use another split_seed or fewer folds, or label more."
            do = "Name other test_patients, or label more." if settings.test_patients else do
            raise InputError(store.path, found=found, expected="some in every fold", do=do)
    return sides


def scaled(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> tuple[dict[str, TranslateSettings], dict[str, SegmentSettings]]:
    """Choose the pixel size (mm) of all settings without one, from all patients of both sides.

    Translators are compared over folds, and segmenters read their output: a pixel size per fold would be a further
    difference between arms. Networks with other numbers of pixels get the same field of view.
    """
    cases = _cases(translators, segmenters, stores, target)

    def measure(kind: FrameKind) -> dict[str, list[Extent]]:
        return {side.upper(): extents(stores[side], cases[side], kind) for side in cases}

    all_settings: list[ImageSettings] = [*translators.values(), *segmenters.values()]
    kinds: set[FrameKind] = {settings.frame for settings in all_settings if _is_open(settings)}
    measured = {kind: measure(kind) for kind in kinds}
    field_mm = max((needed_mm(bodies) for bodies in measured.values()), default=0.0)
    settled = {name: settle(settings, field_mm) for name, settings in translators.items()}
    bodies: Mapping[str, list[Extent]] = {}
    for name, settings in settled.items():
        log.info("Translator %s:", name)
        bodies = measured.get(settings.frame) or measure(settings.frame)
        check_sides(bodies, settings, stated=not _is_open(translators[name]))
    for side, of_side in bodies.items():
        warn_of_sizes(side, of_side)
    return settled, {name: settle(settings, field_mm) for name, settings in segmenters.items()}


def _is_open(settings: ImageSettings) -> bool:
    return settings.frame != "stretch" and not settings.pixel_mm


def _cases(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> dict[Modality, list[CaseRecord]]:
    """Every case that is used, once."""
    cases: dict[Modality, dict[str, CaseRecord]] = {"ct": {}, "mr": {}}
    for settings in translators.values():
        for side, of_side in cases.items():
            groups = side_groups(stores[side], side, settings, organ=None)
            of_side |= {group.first.id: group.first for group in groups}
    for settings in segmenters.values():
        sequence = settings.sequence if target == "mr" else None
        cases[target] |= {case.id: case for case in stores[target].select(target, sequence=sequence)}
    return {side: list(of_side.values()) for side, of_side in cases.items()}
