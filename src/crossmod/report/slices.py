"""Slices for the report's pictures: synthetic ones with their source, predictions of several arms on one slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from crossmod.data.frame import frame_between
from crossmod.data.intensity import Intensity
from crossmod.data.slices import in_classes, spread
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import take_slices
from crossmod.report.collect import Arm

Gray = Float[np.ndarray, "size size"]
Mask = UInt8[np.ndarray, "size size"]
# A case, and an index in it.
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class SyntheticSlice:
    """A synthetic slice with the slice that it was made from.

    Args:
        source: the real slice; None if its store is missing.
        synthetic: the generator's output.
        mask: the label of both, in the classes that the model knows.
        answer: what S found in the synthetic slice; None for a family without S.
        consistency: Dice between answer and mask.
    """

    source: Gray | None
    synthetic: Gray
    mask: Mask
    answer: Mask | None
    consistency: float | None


def synthetic_slices(
    store: Store, sources: Mapping[str, tuple[Store, str]], places: Sequence[Place]
) -> list[SyntheticSlice]:
    """Read synthetic slices and what they were made from.

    Args:
        store: a synthetic store.
        sources: by checksum, where real cases are.
        places: which slices.
    """
    return [_synthetic_slice(store, sources, store.record(case), place) for case, place in places]


def _synthetic_slice(
    store: Store, sources: Mapping[str, tuple[Store, str]], record: CaseRecord, place: int
) -> SyntheticSlice:
    assert record.synthetic is not None
    origin = record.synthetic.slices[place]
    tensors = store.tensors(record.id)
    organs = record.synthetic.organs or tuple(record.labels.values())
    answer = tensors.get("answer")
    source = sources.get(record.synthetic.source_sha256)
    return SyntheticSlice(
        source=None if source is None else _source(*source, record, origin.source_slice),
        synthetic=tensors["image"][place].astype(np.float32),
        mask=in_classes(tensors["label"][place], record.labels, organs),
        answer=None if answer is None else answer[place],
        consistency=origin.consistency,
    )


def _source(store: Store, case: str, record: CaseRecord, index: int) -> Gray:
    assert record.synthetic is not None
    volume = take_slices(store.read(case, check_units=False), [index])
    affine = np.array(record.affine, dtype=np.float64)
    volume = frame_between(volume, affine, record.shape[1]).place(volume)
    return Intensity(*record.synthetic.source_range).to_model(volume.voxels[0])


def ranked(store: Store) -> list[Place]:
    """All slices of a synthetic store, the most consistent first; in their order if they have no score."""
    rows = [
        (-(origin.consistency or 0.0), (case.id, place))
        for case in store.cases
        if case.synthetic is not None
        for place, origin in enumerate(case.synthetic.slices)
    ]
    return [place for _, place in sorted(rows, key=lambda row: row[0])]


def same_sources(first: Store, second: Store, places: Sequence[Place]) -> list[Place | None]:
    """Where `second` holds what was made from the same source slices as `places` in `first`; None if it does not."""

    def of_source(store: Store) -> dict[Place, Place]:
        return {
            (case.id, place): (case.synthetic.source_case, origin.source_slice)
            for case in store.cases
            if case.synthetic is not None
            for place, origin in enumerate(case.synthetic.slices)
        }

    held = {source: place for place, source in of_source(second).items()}
    sources = of_source(first)
    return [held.get(sources[place]) for place in places]


@dataclass(frozen=True, eq=False)
class Outlined:
    """A real test slice with the truth and each arm's prediction."""

    image: Gray
    truth: Mask
    answers: tuple[Mask, ...]


def outlined(all_arms: Sequence[Arm], baseline: Arm, count: int) -> list[Outlined]:
    """Test slices from the worst to the best of the baseline, evenly spread; each arm by its first run."""
    values = sorted(baseline.cards[0]["scores"]["slice_values"], key=lambda row: row["dice"])
    stores = [Store(arm.runs[0].path / "predictions") for arm in all_arms] if values else []
    shown = []
    for row in (values[place] for place in spread(len(values), count)):
        place = baseline.cards[0]["tested"][row["case"]].index(row["slice"])
        first, *others = (store.tensors(row["case"]) for store in stores)
        answers = tuple(tensors["answer"][place] for tensors in (first, *others))
        shown.append(Outlined(first["image"][place].astype(np.float32), first["label"][place], answers))
    return shown
