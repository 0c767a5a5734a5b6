"""One case as it is judged: the slices that lie in a layer, at one size, in [-1, 1]."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.data.body_mask import body_mask
from crossmod.data.intensity import Intensity
from crossmod.data.pixel_size import Scale
from crossmod.data.volume import Volume, take_slices
from crossmod.judge.settings import JudgeSettings
from crossmod.metrics.organs import Stack
from crossmod.metrics.slice_positions import Placed


@dataclass(frozen=True, eq=False)
class Images:
    """The judged slices of one case.

    Args:
        placed: the case.
        places: where in the stored case each slice is.
        images: in [-1, 1].
        body: which pixels are the patient.
        layers: 1 to 10.
        intensity: the step from the case's units.
    """

    placed: Placed
    places: Int[np.ndarray, " slices"]
    images: Float[np.ndarray, "slices size size"]
    body: Bool[np.ndarray, "slices size size"]
    layers: Int[np.ndarray, " slices"]
    intensity: Intensity


def read_images(placed: Placed, scale: Scale, settings: JudgeSettings, common: Collection[int]) -> Images | None:
    """Read the slices of a case that lie in a layer; None where there is none.

    Args:
        placed: the case and its layers.
        scale: millimetres and pixels; real and synthetic slices have the same.
        settings: window and percentiles.
        common: layers that all sets show. MR has no unit: its percentiles are of the slices in these layers, so that a
            set without the lowest slices is not stretched in another way than one with them.
    """
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


def _intensity(volume: Volume, shared: Bool[np.ndarray, " slices"], settings: JudgeSettings) -> Intensity:
    if volume.modality == "ct":
        return Intensity(*settings.window)
    low, high = (float(value) for value in np.percentile(volume.voxels[shared], settings.percentiles))
    return Intensity(low, high if high > low else low + 1)  # of one value: all black, whatever it is


def stack_of(case: Images, common: Collection[int]) -> Stack | None:
    """The longest run of neighbouring slices in the layers that all sets show; None where no two are neighbours."""
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
    # A store's spacing is that from one slice of it to the next where they are evenly apart, else the scan's.
    every = np.diff(case.placed.origins)
    per_origin = record.spacing[0] / (int(every[0]) if len(set(every.tolist())) == 1 else 1)
    return Stack(case.images[run], case.body[run], per_origin * step)
