"""Axial layers: which tenth of the abdomen a slice shows, to compare similar slices (Crespi et al., Sec. 4.1).

The paper names ten layers, from the lowest part of the kidneys (1) to the lung bases (8 to 10), "based on the size of
observable organs", without their bounds. Here they are tenths of the distance from the kidneys' lower end to the
liver's dome, or of its estimate from other landmarks.

Notable:
- A landmark is where an organ's cross-section passes 1 cm^2, interpolated between slices: it does not depend on the
  slice thickness, nor on single mislabelled voxels. An organ that the scan cuts off has no end there.
- Rules are tried in the order of `Rule`; all place the same ten layers, the later ones less exactly. Scores of volumes
  placed by different rules compare layers that are off by the errors given there.
- A translation does not move a patient: a synthetic case has the layers of its source. Without the source, its own
  labels give the ends of the organ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from crossmod.config import Modality
from crossmod.data.body_mask import body_mask, lung_mask
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Volume, label_value
from crossmod.errors import InputError
from crossmod.progress import track

LAYERS = 10
OUTSIDE = 0

Rule = Literal["kidneys to dome", "liver", "kidneys", "lungs", "scan"]
"""Which landmarks placed the layers, best first.

`kidneys to dome`: the definition. `liver`: its lower end and its dome, if only the liver is labelled (CT of CHAOS).
`kidneys`: their lower and upper ends, if the scan cuts off the dome. `lungs`: where they begin, and `LAYER_MM` per
layer, without labels; CT and T1 only. `scan`: tenths of the scan itself, if nothing else is known; comparable only
between scans of one protocol. Compared with finely sliced phantoms, layers were off by 0.1 on average (`kidneys to
dome`, other slices), 0.2 (`liver`), 0.2 to 0.5 (`lungs`: CT, T1), and never by more than 2.
"""

# The other landmarks, in layers above the kidneys' lower end, as the mean of 60 phantoms (standard deviation 0.4 and
# 0.3); a layer was 20 mm (1.1). Phantoms are drawn from ranges of adults, not from a measured population.
LIVER_LOW, KIDNEYS_HIGH = 1.7, 6.2
LAYER_MM = 20.0
# Where `lung_mask` sees the lungs begin (0.4 and 0.6): in MR, only pixels that are nearly all lung are dark.
LUNGS_LOW: Mapping[Modality, float] = {"ct": 7.9, "mr": 8.8}

# Cross-section at which an organ begins, mm^2.
LEAST_AREA = 100.0
# Share of the body at which the lungs begin.
LEAST_LUNG = 0.05
# Plausible length of all ten layers, mm; other landmarks were labelled wrongly.
PLAUSIBLE = (120.0, 320.0)


@dataclass(frozen=True)
class Placement:
    """Position of a patient's ten layers."""

    rule: Rule
    low: float  # lower end of layer 1, mm along the body as in `positions`
    high: float  # upper end of layer 10, mm

    def numbers(self, z: Float[np.ndarray, " slices"]) -> Int[np.ndarray, " slices"]:
        """The layer of the middle of each slice, 1 to 10; 0 below the first and above the last."""
        way = (z - self.low) / (self.high - self.low)
        numbers = np.minimum(np.floor(way * LAYERS).astype(np.int64) + 1, LAYERS)
        return np.where((way >= 0) & (way <= 1), numbers, OUTSIDE)


def positions(volume: Volume) -> Float[np.ndarray, " slices"]:
    """Middle of each slice, mm along the body, feet to head."""
    return float(volume.affine[2, 3]) + volume.spacing[0] * np.arange(len(volume.voxels), dtype=np.float64)


def place(volume: Volume, window: tuple[float, float] | None = None) -> Placement:
    """Place the layers of a real volume by the first `Rule` that its labels (`liver`, `left_kidney`, `right_kidney`)
    and its scan allow; `window`: CT, the HU at which values were cut."""
    z = positions(volume)
    if len(z) < 2:
        found, do = "one slice", "Place it by the whole scan that it is from."
        raise InputError("axial layers", found=found, expected="two slices or more, to see where organs end", do=do)
    if volume.labels is not None:
        pixel = volume.spacing[1] * volume.spacing[2]
        by_labels = placement_by_organs(z, organ_areas(volume.labels, volume.label_names, pixel))
        if by_labels is not None:
            return by_labels
    body = body_mask(volume.voxels, volume.modality, window)
    lung = lung_mask(volume.voxels, body, volume.modality, window)
    return placement_by_lungs(z, lung.sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1), volume.modality)


def organ_areas(
    labels: UInt8[np.ndarray, "slices rows columns"], label_names: Mapping[int, str], pixel: float
) -> dict[str, Float[np.ndarray, " slices"]]:
    """Cross-sections of `liver` and `kidneys` (both together), mm^2, if the labels have them; `pixel` in mm^2."""
    groups = {"liver": ("liver",), "kidneys": ("left_kidney", "right_kidney")}
    areas = {}
    for group, organs in groups.items():
        values = [value for value in (label_value(label_names, organ) for organ in organs) if value is not None]
        if values:
            areas[group] = np.isin(labels, values).sum(axis=(1, 2)) * pixel
    return areas


def placement_by_organs(
    z: Float[np.ndarray, " slices"], areas: Mapping[str, Float[np.ndarray, " slices"]]
) -> Placement | None:
    """The layers by the first pair of visible landmarks, at rising positions in mm; None without one."""
    ends = {organ: extent(z, area) for organ, area in areas.items()}
    (kidney_low, kidney_high), (liver_low, dome) = (ends.get(organ, (None, None)) for organ in ("kidneys", "liver"))
    pairs: tuple[tuple[Rule, float | None, float, float | None, float], ...] = (
        ("kidneys to dome", kidney_low, 0.0, dome, float(LAYERS)),
        ("liver", liver_low, LIVER_LOW, dome, float(LAYERS)),
        ("kidneys", kidney_low, 0.0, kidney_high, KIDNEYS_HIGH),
    )
    for rule, low, low_level, high, high_level in pairs:
        if low is None or high is None:
            continue
        layer = (high - low) / (high_level - low_level)
        if PLAUSIBLE[0] <= LAYERS * layer <= PLAUSIBLE[1]:
            begin = low - low_level * layer
            return Placement(rule, begin, begin + LAYERS * layer)
    return None


def placement_by_lungs(
    z: Float[np.ndarray, " slices"], lung: Float[np.ndarray, " slices"], modality: Modality
) -> Placement:
    """The layers by the lower end of the lungs, or by the scan's own ends if it is not visible; `lung`: share of the
    body that is lung, in each slice."""
    below = np.flatnonzero(lung < LEAST_LUNG)
    last = int(below[-1]) if below.size else -1
    if last == -1 or last == len(z) - 1:
        half = float(z[1] - z[0]) / 2
        return Placement("scan", float(z[0]) - half, float(z[-1]) + half)
    begin = _crossing(z, lung, last, last + 1, LEAST_LUNG) - LUNGS_LOW[modality] * LAYER_MM
    return Placement("lungs", begin, begin + LAYERS * LAYER_MM)


def extent(z: Float[np.ndarray, " slices"], area: Float[np.ndarray, " slices"]) -> tuple[float | None, float | None]:
    """Lower and upper end of an organ, mm, None beyond the scan: where its cross-section, linear between slices, passes
    `LEAST_AREA`. Of several pieces along the body, the largest counts."""
    there = np.concatenate([[False], area >= LEAST_AREA, [False]])
    begins, ends = (np.flatnonzero(step) for step in (there[1:] & ~there[:-1], there[:-1] & ~there[1:]))
    if begins.size == 0:
        return None, None
    largest = int(np.argmax([area[begin:end].sum() for begin, end in zip(begins, ends, strict=True)]))
    first, last = int(begins[largest]), int(ends[largest]) - 1
    low = None if first == 0 else _crossing(z, area, first - 1, first, LEAST_AREA)
    high = None if last == len(z) - 1 else _crossing(z, area, last, last + 1, LEAST_AREA)
    return low, high


def _crossing(
    z: Float[np.ndarray, " slices"], values: Float[np.ndarray, " slices"], before: int, after: int, level: float
) -> float:
    share = (level - values[before]) / (values[after] - values[before])
    return float(z[before] + share * (z[after] - z[before]))


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
