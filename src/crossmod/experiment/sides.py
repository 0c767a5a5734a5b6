"""The two sides of one fold, as manifests tell them: who is trained on, who is tested on, how many slices that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossmod.data.splits import split_patients
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.experiment.design import ALL, NONE
from crossmod.seeds import rng
from crossmod.settings import SegmentSettings


@dataclass(frozen=True)
class Sides:
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
            raise InputError("labelled", found=found, wanted=f"{count}", do="Lower it, or use fewer folds.")
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


def sides_of(store: Store, settings: SegmentSettings) -> Sides:
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
        return Sides(settings, records, everyone, everyone)
    split = split_patients(patients, settings)
    sides = Sides(settings, records, split.train, split.test)
    showing = {record.patient for record in records if record.slices_with.get(organ, 0)}
    for side, names in (("test", split.test), ("training", split.train)):
        if not showing & set(names):
            found = f"no slice with {organ} among the {side} patients of fold {settings.fold} ({', '.join(names)})"
            do = "Use another split_seed or fewer folds, or label more."
            raise InputError(store.path, found=found, wanted="some in every fold", do=do)
    return sides
