"""The cases of a segmenter: labelled real ones and synthetic ones, all with labels of all of its organs."""

from collections.abc import Iterable, Sequence

from crossmod.config import Modality
from crossmod.data.slices import in_classes
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.errors import InputError
from crossmod.settings import SegmentSettings


def labelled_cases(store: Store, settings: SegmentSettings) -> tuple[CaseRecord, ...]:
    """The real cases with labels of the organs, sorted by name; cases without labels of any of them are left out.

    Raises:
        InputError: what `Store.select` refuses, or a case with labels of some of the organs only.
    """
    sequence = settings.sequence if settings.modality == "mr" else None
    refuse_partly_labelled(store.select(settings.modality, sequence=sequence), settings.organs)
    return store.select(settings.modality, sequence=sequence, organ=settings.organs[0])


def synthetic_cases(store: Store, modality: Modality, organs: Sequence[str]) -> tuple[CaseRecord, ...]:
    """The synthetic cases with labels of the organs, sorted by name.

    Raises:
        InputError: what `Store.select_synthetic` refuses, or a case with labels of some of the organs only: the others
            would count as background, and teach the segmenter to leave them out.
    """
    refuse_partly_labelled([case for case in store.cases if case.modality == modality], organs)
    return store.select_synthetic(modality, organs[0])


def refuse_partly_labelled(cases: Iterable[CaseRecord], organs: Sequence[str]) -> None:
    """Refuse cases with labels of some of the organs only; without labels of any they are no cases of a segmenter."""
    for case in cases:
        missing = [organ for organ in organs if organ not in case.labels.values()]
        if 0 < len(missing) < len(organs):
            raise InputError(
                case.id,
                found=f"labels of {listed(case.labels.values())} alone",
                expected=f"labels of {missing[0]} too, since every case needs labels of all --organs",
                do="Name other --organs, or use a store without this case.",
            )


def slices_showing(store: Store, record: CaseRecord, organs: Sequence[str]) -> int:
    """The number of slices of a case that show one of the organs; of several, its labels are read."""
    if len(organs) == 1:
        return record.slices_with.get(organs[0], 0)
    label = store.tensors(record.id, ("label",)).get("label")
    if label is None:
        return 0
    return int(in_classes(label, record.labels, organs).any(axis=(1, 2)).sum())
