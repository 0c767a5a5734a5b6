"""Which axial layer each slice of a case shows, and by which rule.

A synthetic case has the layers of its source, since a translation does not move the patient. Without the source, its
own labels give the ends of the organ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.metrics.axial_layers import OUTSIDE, Placement, organ_areas, place, placement_by_organs, positions
from crossmod.progress import track

# Checksum of a case -> its store, and its name there.
Sources = Mapping[str, tuple[Store, str]]

LOST = "not placed"


@dataclass(frozen=True, eq=False)
class Placed:
    """One case with the layers of its slices."""

    store: Store
    record: CaseRecord
    origins: Int[np.ndarray, " slices"]  # number of each slice in its source scan; its own number in a real scan
    layers: Int[np.ndarray, " slices"]  # layer of each slice; 0 outside
    rule: str  # that placed them, in words


def sources_of(stores: Sequence[Store]) -> dict[str, tuple[Store, str]]:
    """Checksum -> store and name of each real case."""
    return {case.sha256: (store, case.id) for store in stores for case in store.cases if case.synthetic is None}


def place_real(store: Store, records: Sequence[CaseRecord]) -> list[Placed]:
    """Place real cases by their own labels and scans."""
    return [_by_itself(store, record) for record in track(records, "Placing real cases")]


def place_synthetic(store: Store, records: Sequence[CaseRecord], sources: Sources) -> list[Placed]:
    """Place synthetic cases: by their source, else by their own labels, else by the image."""
    return [_synthetic(store, record, sources) for record in track(records, f"Placing {store.path.name}")]


def _by_itself(store: Store, record: CaseRecord) -> Placed:
    volume = store.read(record.id)
    origins = np.arange(record.shape[0])
    if record.shape[0] < 2:  # shows no end of any organ
        return Placed(store, record, origins, np.full(record.shape[0], OUTSIDE), LOST)
    placement = place(volume)
    return Placed(store, record, origins, placement.numbers(positions(volume)), placement.rule)


def _synthetic(store: Store, record: CaseRecord, sources: Sources) -> Placed:
    if record.synthetic is None:
        return _by_itself(store, record)
    origins = np.array([origin.source_slice for origin in record.synthetic.slices], dtype=np.int64)
    source = sources.get(record.synthetic.source_sha256)
    if source is not None:
        volume = source[0].read(source[1])
        if origins.max() >= len(volume.voxels):
            found, expected = f"{len(volume.voxels)} slices", f"{origins.max() + 1} or more"
            do = "Prepare or synthesize again."
            raise InputError(f"{source[0].path}: {source[1]}", found=found, expected=expected, do=do)
        if len(volume.voxels) > 1:
            placement = place(volume)
            return Placed(store, record, origins, placement.numbers(positions(volume))[origins], placement.rule)
    volume = store.read(record.id)
    z = slice_positions(record)
    placement = _by_own_labels(volume, z)
    if placement is not None:
        return Placed(store, record, origins, placement.numbers(z), f"{placement.rule}, own labels")
    if len(z) < 2:
        return Placed(store, record, origins, np.full(len(z), OUTSIDE), LOST)
    placement = place(volume.with_labels(None, {}))
    return Placed(store, record, origins, placement.numbers(z), f"{placement.rule}, synthetic image")


def slice_positions(record: CaseRecord) -> Float[np.ndarray, " slices"]:
    """Middle of each slice, mm along the body, also if slices between others were left out: `take_slices` keeps the
    original spacing if its slices are not evenly spaced."""
    steps = np.arange(record.shape[0])
    if record.synthetic is not None:
        origins = np.array([origin.source_slice for origin in record.synthetic.slices])
        if len(set(np.diff(origins).tolist())) > 1:
            steps = origins - origins[0]
    return float(record.affine[2][3]) + record.spacing[0] * steps.astype(np.float64)


def _by_own_labels(volume: Volume, z: Float[np.ndarray, " slices"]) -> Placement | None:
    if volume.labels is None:
        return None
    spacing = volume.spacing
    areas = organ_areas(volume.labels, volume.label_names, spacing[1] * spacing[2])
    everywhere = [name for value, name in volume.label_names.items() if (volume.labels == value).any(axis=(1, 2)).all()]
    if everywhere == ["liver"]:
        # Slices were chosen by the liver: the ones before the first and after the last do not show it.
        z = np.concatenate([[z[0] - spacing[0]], z, [z[-1] + spacing[0]]])
        areas = {organ: np.pad(area, 1, "constant" if organ == "liver" else "edge") for organ, area in areas.items()}
    return placement_by_organs(z, areas)
