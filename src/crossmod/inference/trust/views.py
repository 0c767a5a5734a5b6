"""Slices of a translation as the network sees them: source, output and body on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from crossmod.data.frame import Frame
from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.slices import in_classes, spread
from crossmod.data.volume import Volume
from crossmod.inference.contract import About, Translation
from crossmod.inference.grid import frame_of
from crossmod.inference.trust.fingerprint import Fingerprint
from crossmod.settings import ImageSettings

# Slices that are looked at; more take longer and say little more.
MOST_SLICES = 64


@dataclass(frozen=True, eq=False)
class Views:
    """Some slices, from feet to head, on the network's pixels.

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
    image, picked = translation.image, list(chosen)
    # The body that the frame lies around is the source's: what was made may show none.
    frame = frame_of(translation.sources[0], about)
    made = Intensity(*made_range).to_model(frame.take(image.voxels[picked], image.spacing[1:], made_range[0]))
    bodies = frame.take(translation.body[picked].astype(np.uint8), image.spacing[1:], 0.0) > 0.5
    return Views(made, bodies, frame.pixel_mm[0])


def source_slices(
    volume: Volume, about: About, chosen: Sequence[int], frame: Frame
) -> Float[np.ndarray, "n size size"]:
    """Some slices of a source as the network sees them where there are no tiles: one frame, in [-1, 1].

    Args:
        volume: one of the inputs, on the grid of the first.
        about: the model.
        chosen: which slices.
        frame: that of the first input.
    """
    step = intensity_of(volume, ImageSettings(window=about.window, percentiles=about.percentiles))
    return step.to_model(frame.take(volume.voxels[list(chosen)], volume.spacing[1:], float(volume.voxels.min())))


def as_trained(about: About, reference: Fingerprint, size: int) -> About:
    """The model as it was when its fingerprint was taken: the same field of view in other pixels."""
    mm = about.pixel_mm * about.size / size
    return replace(about, size=size, pixel_mm=mm, window=reference.window, percentiles=reference.percentiles)


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
