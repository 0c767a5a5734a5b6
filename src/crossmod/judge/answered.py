"""Which organs the answer of a synthetic store speaks of.

An answer holds the classes of the segmentor that gave it, 1 for the first organ that it knows; labels hold values of
the source's own labels. A store does not say which class is which organ, but it holds the label consistency of each
slice, which only the right organs give again.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from crossmod.data.slices import spread
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import label_value
from crossmod.evaluate.overlap import dice

# Cases by which organs are told.
LOOKED_AT = 4


def answered(store: Store, records: Sequence[CaseRecord]) -> dict[int, str]:
    """Class of the answer -> organ; empty where there is no answer, or none that is understood.

    Args:
        store: a synthetic store.
        records: its cases.
    """
    told = [record for record in records if record.synthetic and record.labels]
    looked = []
    for record in (told[i] for i in spread(len(told), LOOKED_AT)):
        tensors = store.tensors(record.id, ("label", "answer"))
        if {"label", "answer"} <= set(tensors):
            looked.append((record, tensors["label"], tensors["answer"]))
    if not looked:
        return {}
    for organs in _hypotheses(looked):
        if all(_agrees(record, in_classes(label, record.labels, organs), answer) for record, label, answer in looked):
            return organs
    return {}


def in_classes(
    label: UInt8[np.ndarray, "slices rows columns"], names: Mapping[int, str], organs: Mapping[int, str]
) -> UInt8[np.ndarray, "slices rows columns"]:
    """A label map with the classes of an answer; 0 for organs that it does not know."""
    classes = np.zeros_like(label)
    for number, organ in organs.items():
        value = label_value(names, organ)
        if value is not None:
            classes[label == value] = number
    return classes


def _hypotheses(looked: Sequence[tuple[CaseRecord, np.ndarray, np.ndarray]]) -> Iterator[dict[int, str]]:
    """The first organs in the order of their values; each by itself; and what each class overlaps most."""
    names = [name for _, name in sorted(looked[0][0].labels.items())]
    yield from (dict(enumerate(names[:count], start=1)) for count in range(1, len(names) + 1))
    yield from ({1: name} for name in names)
    classes = sorted({int(value) for *_, answer in looked for value in np.unique(answer)} - {0})

    def overlap(number: int, name: str) -> int:
        return sum(
            int(np.count_nonzero((answer == number) & (label == label_value(record.labels, name))))
            for record, label, answer in looked
        )

    yield {number: max(names, key=lambda name: overlap(number, name)) for number in classes}


def _agrees(record: CaseRecord, classes: np.ndarray, answer: np.ndarray) -> bool:
    assert record.synthetic is not None
    wanted = [origin.consistency for origin in record.synthetic.slices]
    if None in wanted:
        return False
    return all(
        abs(_consistency(a, b) - (score or 0.0)) < 1e-6 for a, b, score in zip(answer, classes, wanted, strict=True)
    )


def _consistency(answer: np.ndarray, classes: np.ndarray) -> float:
    """Dice, averaged over the organs that either shows: what `synthesize` wrote down."""
    organs = (set(np.unique(answer).tolist()) | set(np.unique(classes).tolist())) - {0}
    return float(np.mean([dice(answer == organ, classes == organ) for organ in organs])) if organs else 1.0
