"""Slices for the report's pictures: synthetic ones with their source, predictions of several arms on one slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from crossmod.data.frame import frame_between
from crossmod.data.intensity import Intensity
from crossmod.data.slices import in_classes
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import take_slices
from crossmod.report.collect import Arm

Gray = Float[np.ndarray, "size size"]
Mask = UInt8[np.ndarray, "size size"]


@dataclass(frozen=True, eq=False)
class SyntheticSlice:
    """A synthetic slice beside the slice that it was made from.

    Args:
        case: name of the synthetic case.
        index: the slice in the source case.
        source: the real slice, None where its store is gone.
        synthetic: what the generator made of it.
        mask: the label of both, in the classes that the model knows.
        answer: what S saw in the synthetic slice; None for a family without S.
        consistency: Dice between answer and mask.
    """

    case: str
    index: int
    source: Gray | None
    synthetic: Gray
    mask: Mask
    answer: Mask | None
    consistency: float | None


def synthetic_slices(
    store: Store, sources: Mapping[str, tuple[Store, str]], expected: Sequence[tuple[str, int]]
) -> list[SyntheticSlice]:
    """Read synthetic slices and what they were made from.

    Args:
        store: a synthetic store.
        sources: by checksum, where real cases lie.
        wanted: pairs of case and place in it.
    """
    return [_synthetic_slice(store, sources, store.record(case), place) for case, place in expected]


def _synthetic_slice(
    store: Store, sources: Mapping[str, tuple[Store, str]], record: CaseRecord, place: int
) -> SyntheticSlice:
    assert record.synthetic is not None
    origin = record.synthetic.slices[place]
    tensors = store.tensors(record.id)
    organs = record.synthetic.organs or tuple(record.labels.values())
    answer = tensors.get("answer")
    found = sources.get(record.synthetic.source_sha256)
    return SyntheticSlice(
        case=record.id,
        index=origin.source_slice,
        source=None if found is None else _source(*found, record, origin.source_slice),
        synthetic=tensors["image"][place].astype(np.float32),
        mask=in_classes(tensors["label"][place], record.labels, organs),
        answer=None if answer is None else answer[place],
        consistency=origin.consistency,
    )


def _source(store: Store, case: str, record: CaseRecord, index: int) -> Gray:
    assert record.synthetic is not None
    volume = take_slices(store.read(case, check_units=False), [index])
    made = np.array(record.affine, dtype=np.float64)
    volume = frame_between(volume, made, record.shape[1]).place(volume)
    return Intensity(*record.synthetic.source_range).to_model(volume.voxels[0])


def ranked(store: Store) -> list[tuple[str, int]]:
    """All slices of a synthetic store, the most consistent first; in their order where there is no score."""
    rows = [
        (-(origin.consistency or 0.0), number, place, case.id)
        for number, case in enumerate(store.cases)
        if case.synthetic is not None
        for place, origin in enumerate(case.synthetic.slices)
    ]
    return [(case, place) for _, _, place, case in sorted(rows)]


def same_sources(first: Store, second: Store, expected: Sequence[tuple[str, int]]) -> list[tuple[str, int] | None]:
    """Where `second` holds what was made from the same source slices as `wanted` in `first`; None where it does not."""
    have = {
        (case.synthetic.source_case, origin.source_slice): (case.id, place)
        for case in second.cases
        if case.synthetic is not None
        for place, origin in enumerate(case.synthetic.slices)
    }
    found = []
    for case, place in expected:
        synthetic = first.record(case).synthetic
        assert synthetic is not None
        found.append(have.get((synthetic.source_case, synthetic.slices[place].source_slice)))
    return found


@dataclass(frozen=True, eq=False)
class Outlined:
    """A real test slice with the truth and what each arm says of it."""

    case: str
    place: int
    image: Gray
    truth: Mask
    answers: tuple[Mask, ...]
    dice: float


def outlined(all_arms: Sequence[Arm], baseline: Arm, count: int) -> list[Outlined]:
    """Test slices from the worst to the best of the baseline's, evenly spread; each arm by its first seed."""
    values = sorted(baseline.cards[0]["scores"]["slice_values"], key=lambda row: row["dice"])
    if not values:
        return []
    rows = [values[int(i)] for i in np.unique(np.linspace(0, len(values) - 1, count).astype(int))]
    stores = [Store(arm.runs[0].path / "predictions") for arm in all_arms]
    tested = _tested_slices(baseline)
    shown = []
    for row in rows:
        place = tested[row["case"]].index(row["slice"])
        tensors = [store.tensors(row["case"]) for store in stores]
        first = tensors[0]
        shown.append(
            Outlined(
                case=row["case"],
                place=place,
                image=first["image"][place].astype(np.float32),
                truth=first["label"][place],
                answers=tuple(t["answer"][place] for t in tensors),
                dice=row["dice"],
            )
        )
    return shown


def _tested_slices(arm: Arm) -> dict[str, list[int]]:
    """By case, the slices that were tested, in the order in which the predictions hold them."""
    return arm.cards[0]["tested"]
