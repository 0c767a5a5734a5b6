"""Measure a set of cases: read slices at one size and intensity, and compute their statistics."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.data.body_mask import FILLED, body_mask
from crossmod.data.intensity import Intensity
from crossmod.data.pixel_size import Scale
from crossmod.data.slices import spread
from crossmod.data.volume import Volume, take_slices
from crossmod.errors import InputError
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.axial_layers import Placed
from crossmod.metrics.distribution import ImageStatistics, image_statistics, joined
from crossmod.metrics.features import FeatureExtractor
from crossmod.metrics.histograms import tissue_edges
from crossmod.metrics.organs import Stack, jump_ratio
from crossmod.progress import track


@dataclass(frozen=True, eq=False)
class Images:
    """The evaluated slices of one case."""

    placed: Placed
    places: Int[np.ndarray, " slices"]  # index of each slice in the stored case
    images: Float[np.ndarray, "slices size size"]  # in [-1, 1]
    body: Bool[np.ndarray, "slices size size"]  # which pixels are the patient
    layers: Int[np.ndarray, " slices"]  # 1 to 10
    intensity: Intensity  # from the case's units to [-1, 1]


def read_images(placed: Placed, scale: Scale, settings: EvaluationSettings, common: Collection[int]) -> Images | None:
    """The slices of a case that lie in a layer, or None; percentiles of MR are of slices in `common` layers."""
    places = np.flatnonzero(placed.layers)
    if places.size == 0:
        return None
    frame = scale.frame_of(placed.store, placed.record)
    volume = frame.place(take_slices(placed.store.read(placed.record.id), places.tolist()))
    layers = placed.layers[places]
    shared = np.isin(layers, list(common))
    intensity = _intensity(volume, shared if shared.any() else np.ones(len(layers), dtype=bool), settings)
    window = settings.window if volume.modality == "ct" else None
    voxels = volume.voxels if window is None else np.clip(volume.voxels, *window)
    return Images(
        placed=placed,
        places=places,
        images=intensity.to_model(volume.voxels),
        body=body_mask(voxels, volume.modality, window),
        layers=layers,
        intensity=intensity,
    )


def _intensity(volume: Volume, shared: Bool[np.ndarray, " slices"], settings: EvaluationSettings) -> Intensity:
    if volume.modality == "ct":
        return Intensity(*settings.window)
    low, high = (float(value) for value in np.percentile(volume.voxels[shared], settings.percentiles))
    return Intensity(low, high if high > low else low + 1)  # a constant is all black


def stack_of(case: Images, common: Collection[int]) -> Stack | None:
    """The longest run of neighbouring slices in the layers that all sets show; None without neighbours."""
    origins = case.placed.origins[case.places]
    inside = np.isin(case.layers, list(common))
    steps = np.diff(origins)
    if steps.size == 0:
        return None
    step = int(steps.min())
    joins = (steps == step) & inside[1:] & inside[:-1]
    if not joins.any():
        return None
    edges = np.diff(np.concatenate([[False], joins, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    longest = int(np.argmax(ends - begins))
    run = slice(int(begins[longest]), int(ends[longest]) + 1)
    record = case.placed.record
    # A store's spacing is that of its own slices if they are evenly spaced, else the scan's.
    every = np.diff(case.placed.origins)
    per_origin = record.spacing[0] / (int(every[0]) if len(set(every.tolist())) == 1 else 1)
    return Stack(case.images[run], case.body[run], per_origin * step)


# Real volumes, evenly chosen, with which the steps of each volume are compared; more change their mean little.
COMPARED_STACKS = 8


@dataclass(frozen=True)
class CaseScores:
    """Which slice a row of the statistics is of."""

    case: str
    place: int  # its index in the stored case
    origin: int  # its index in the source scan
    low: float  # the value that became -1, in the case's units
    high: float  # the value that became 1


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of a set of slices."""

    statistics: ImageStatistics
    rows: tuple[CaseScores, ...]
    values: tuple[float, float]  # smallest and largest value after cutting, in the cases' units
    still: int  # slices of a single value
    filled: int  # cases whose body mask fills more than `FILLED` of their slices
    # case -> slice-to-slice jump divided by that of real volumes, for cases with neighbouring slices
    jumps: dict[str, float]
    stacks: tuple[Stack, ...]  # some of its volumes, if requested


@dataclass(frozen=True, eq=False)
class MeasurementSetup:
    """How all sets are measured; `edges`: of the three tissue bins, None without them."""

    detector: FeatureExtractor
    edges: Float[np.ndarray, " edges"] | None
    scale: Scale
    settings: EvaluationSettings
    common: frozenset[int]


def edges_for(settings: EvaluationSettings) -> Float[np.ndarray, " edges"] | None:
    """The three tissue bins of CT; None if the window does not reach from fluid to bone."""
    try:
        return tissue_edges(Intensity(*settings.window))
    except InputError:
        return None


def measure(
    name: str, cases: Sequence[Placed], setup: MeasurementSetup, real: Sequence[Stack] = (), *, keep: bool = False
) -> Measured:
    """Read and measure a set, case by case."""
    kept = {cases[i].record.id for i in spread(len(cases), COMPARED_STACKS)} if keep else set()
    parts, rows, stacks, jumps = [], [], [], {}
    lows, highs, still, filled = [], [], 0, 0
    for placed in track(cases, f"Measuring {name}"):
        case = read_images(placed, setup.scale, setup.settings, setup.common)
        if case is None:
            continue
        patients, inside = [placed.record.patient] * len(case.images), case.body if setup.settings.inside else None
        parts.append(image_statistics(case.images, case.layers, patients, setup.detector, setup.edges, inside))
        step = case.intensity
        rows += [
            CaseScores(placed.record.id, int(place), int(placed.origins[place]), step.low, step.high)
            for place in case.places
        ]
        lows.append(step.low + (float(case.images.min()) + 1) / 2 * (step.high - step.low))
        highs.append(step.low + (float(case.images.max()) + 1) / 2 * (step.high - step.low))
        still += int(np.count_nonzero(np.ptp(case.images, axis=(1, 2)) == 0))
        filled += bool(case.body.mean() > FILLED)
        stack = stack_of(case, setup.common)
        if stack is not None:
            if placed.record.id in kept:
                stacks.append(stack)
            ratios = [ratio for other in real if not np.isnan(ratio := jump_ratio(stack, other))]
            if ratios:
                jumps[placed.record.id] = float(np.mean(ratios))
    if not parts:
        do = "Give cases that show the abdomen, or --source with the scans that they were made from."
        raise InputError(name, found="no slice in any axial layer", expected="some", do=do)
    return Measured(joined(parts), tuple(rows), (min(lows), max(highs)), still, filled, jumps, tuple(stacks))


def layer_counts(cases: Collection[Placed]) -> list[int]:
    """How many slices lie in each of the ten layers."""
    layers = np.concatenate([placed.layers for placed in cases]) if cases else np.zeros(0, np.int64)
    return np.bincount(layers, minlength=11)[1:].tolist()
