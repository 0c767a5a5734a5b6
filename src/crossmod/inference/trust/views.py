"""Slices of a translation as the network sees them: source, output and body on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.slices import in_classes, spread
from crossmod.data.volume import Volume
from crossmod.inference.contract import About, Options, Translation
from crossmod.inference.grid import frame_of
from crossmod.inference.trust.fingerprint import Fingerprint
from crossmod.settings import ImageSettings

# Slices that are looked at; more take longer and say little more.
MOST_SLICES = 64


@dataclass(frozen=True, eq=False)
class Views:
    """Some slices, from feet to head, whole, on the network's pixels.

    Args:
        made: what was made, in [-1, 1] of the target's range.
        bodies: the body that it was made in.
        pixel_mm: length of a pixel.
    """

    made: Float[np.ndarray, "slices size size"]
    bodies: Bool[np.ndarray, "slices size size"]
    pixel_mm: float


def views_of(translation: Translation, chosen: Sequence[int], about: About, made_range: tuple[float, float]) -> Views:
    """What was made, as the network gave it.

    Args:
        translation: what was made.
        chosen: which slices.
        about: the model, with the size that is wanted.
        made_range: units of the target that are -1 and 1.
    """
    image = translation.image
    frame = frame_of(image, about, Options(tiles="off"))
    picked = list(chosen)
    made = Intensity(*made_range).to_model(frame.to_work(image.voxels[picked], made_range[0]))
    bodies = frame.to_work(translation.body[picked].astype(np.uint8), 0.0) > 0.5
    return Views(made, bodies, pixel_mm(image, frame.work))


def source_slices(volume: Volume, about: About, chosen: Sequence[int]) -> Float[np.ndarray, "n size size"]:
    """Some slices of a source as the network sees them where there are no tiles: whole, in [-1, 1]."""
    frame = frame_of(volume, about, Options(tiles="off"))
    step = intensity_of(volume, ImageSettings(window=about.window, percentiles=about.percentiles))
    return step.to_model(frame.to_work(volume.voxels[list(chosen)], float(volume.voxels.min())))


def pixel_mm(volume: Volume, work: int) -> float:
    """Length of a pixel where squared slices have `work` pixels a side."""
    return max(volume.voxels.shape[axis] * volume.spacing[axis] for axis in (1, 2)) / work


def as_trained(about: About, reference: Fingerprint, size: int) -> About:
    """The model as it was when its fingerprint was taken, at some size."""
    return replace(about, size=size, window=reference.window, percentiles=reference.percentiles)


def trained_slices(translation: Translation, reference: Fingerprint) -> tuple[list[int], bool]:
    """Slices of the kind that the model was trained on, and whether it is known which those are."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if reference.slices == "all":
        return [int(seen[i]) for i in spread(len(seen), MOST_SLICES)], True
    organs = shows_organs(translation, reference.organs)
    kept = [int(i) for i in seen if not organs or int(i) in organs]
    return [kept[i] for i in spread(len(kept), MOST_SLICES)], bool(organs)


def shows_organs(translation: Translation, organs: Sequence[str]) -> list[int]:
    """Slices that show one of some organs, by the source's labels, or else by S; none where that is not known."""
    source = translation.sources[0]
    if source.labels is not None:
        labels = in_classes(source.labels, source.label_names, organs)
    elif translation.labels is not None:
        labels = translation.labels
    else:
        return []
    return [int(i) for i in np.flatnonzero(labels.any(axis=(1, 2)))]
