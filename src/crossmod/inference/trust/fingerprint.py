"""Whether what went in looks like what the model was trained on.

Notable:
- The unit is the patient. How far a new one lies from the training patients is divided by how far each of these lies
  from the rest, at their 95th percentile: beyond 1 it is stranger than 19 of 20 of them. Of up to 20, and more are not
  looked at, that is the strangest.
- Such distances shrink with the number of slices that are averaged. So the new volume is looked at in parts of as many
  slices as of each training patient, evenly spread, and the middle part counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from crossmod.config import Modality, Settings, build
from crossmod.data.frame import Frame
from crossmod.data.intensity import intensity_of
from crossmod.data.slices import in_classes, spread
from crossmod.data.volume import Volume
from crossmod.evaluate.detectors import detector
from crossmod.evaluate.fingerprint import BINS, FEATURES, MOST_PATIENTS, MOST_SLICES, apart, looks
from crossmod.inference.contract import About, Network, Translation
from crossmod.inference.grid import frame_of
from crossmod.inference.match import on_one_grid
from crossmod.settings import ImageSettings

KEY = "fingerprint"
# Of the training patients' own distances. Below the least distance all are alike, as made-up ones may be.
USUAL, LEAST = 0.95, 1e-3
# With fewer patients nobody knows what is usual.
FEW = 10

Bins = Annotated[tuple[float, ...], Field(min_length=BINS, max_length=BINS)]
Features = Annotated[tuple[float, ...], Field(min_length=FEATURES, max_length=FEATURES)]
Distances = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=MOST_PATIENTS)]
Percent = Annotated[float, Field(ge=0, le=100)]


class InputLook(Settings):
    """One input over the training patients."""

    histogram: Bins
    """Shares of the body's pixels in equal bins of [-1, 1]."""
    mean: Features
    """Of the features of a slice."""
    variance: Features
    """Likewise, over slices."""
    histogram_distances: Distances
    """Of each patient to the rest, by grey values; empty with one patient."""
    feature_distances: Distances
    """By features."""


class Fingerprint(Settings):
    """What a training run's card says of its inputs, under `fingerprint`."""

    modality: Modality
    """Of the inputs."""
    slices: Literal["organ", "all"]
    """Whether only slices that show the organ were trained on."""
    organs: Annotated[tuple[str, ...], Field(max_length=64)]
    """Which."""
    loaded: int = Field(ge=8, le=4096)
    """Pixels a side at which training held its slices."""
    size: int = Field(ge=8, le=4096)
    """And at which they were looked at."""
    window: tuple[float, float]
    """Of CT, in HU."""
    percentiles: tuple[Percent, Percent]
    """Of MR."""
    detector: str = Field(max_length=64)
    """Hash of what the features are of."""
    patients: int = Field(ge=1)
    """That were trained on."""
    slices_each: int = Field(ge=1, le=MOST_SLICES)
    """That were looked at."""
    inputs: Annotated[tuple[InputLook, ...], Field(min_length=1, max_length=8)]
    """In the model's order."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """How one input compares with the training's.

    Args:
        name: of the input.
        grey: distance of its grey values by the training patients' usual; None where there is nothing to divide by.
        features: of its features, likewise.
        histogram: of the body, bins of [-1, 1].
        trained: that of the training.
    """

    name: str
    grey: float | None
    features: float | None
    histogram: Float[np.ndarray, " bins"]
    trained: Float[np.ndarray, " bins"]

    @property
    def score(self) -> float | None:
        """The larger of the two; beyond 1 it is further off than 95 % of the training patients are from the rest."""
        known = [one for one in (self.grey, self.features) if one is not None]
        return max(known) if known else None


def read_fingerprint(card: Mapping[str, Any], subject: object = "card") -> Fingerprint | None:
    """The fingerprint in a card; None in one of before there were any.

    Raises:
        InputError: it is damaged.
    """
    return build(Fingerprint, card[KEY], subject=subject) if card.get(KEY) is not None else None


def fingerprint_of(networks: Sequence[Network]) -> Fingerprint | None:
    """What is known of the inputs that networks were trained on: of several, the first that knows."""
    for network in networks:
        card = getattr(getattr(network, "translator", None), "card", None)
        own = getattr(network, KEY, None)
        found = own if isinstance(own, Fingerprint) else read_fingerprint(card or {KEY: own}, network.about.name)
        if found is not None:
            return found
    return None


def likenesses(translation: Translation, reference: Fingerprint) -> tuple[Likeness, ...]:
    """How each input compares; nothing where the fingerprint is not one of these inputs, or no slice shows a body.

    Args:
        translation: whose sources are looked at.
        reference: of the model.
    """
    if len(translation.sources) != len(reference.inputs) or reference.modality != translation.about.source:
        return ()
    inputs = on_one_grid(translation.sources, translation.about)
    chosen = _chosen(translation, reference)
    about = replace(
        translation.about,
        size=reference.loaded,
        # The same field of view in other pixels.
        pixel_mm=translation.about.pixel_mm * translation.about.size / reference.loaded,
        window=reference.window,
        percentiles=reference.percentiles,
    )
    frame = frame_of(inputs[0], about)
    names = about.inputs or (reference.modality,)
    found = [
        _likeness(name, model_slices(volume, about, chosen, frame), look, reference)
        for name, volume, look in zip(names, inputs, reference.inputs, strict=True)
    ]
    return tuple(one for one in found if one is not None)


def shows_organs(translation: Translation, organs: Sequence[str]) -> list[int]:
    """Slices that show one of some organs, by the source's labels, or else by S; none where nobody knows."""
    source = translation.sources[0]
    if source.labels is not None:
        return _any(in_classes(source.labels, source.label_names, organs))
    return [] if translation.labels is None else _any(translation.labels)


def _any(labels: UInt8[np.ndarray, "slices rows columns"]) -> list[int]:
    return [int(i) for i in np.flatnonzero(labels.any(axis=(1, 2)))]


def _chosen(translation: Translation, reference: Fingerprint) -> list[int]:
    """Slices to look at: of the kind that the model was trained on, as far as anybody can tell."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    organs = shows_organs(translation, reference.organs) if reference.slices == "organ" else []
    kept = [int(i) for i in seen if not organs or int(i) in organs]
    return [kept[i] for i in spread(len(kept), MOST_SLICES)]


def _likeness(
    name: str, images: Float[np.ndarray, "n size size"], look: InputLook, reference: Fingerprint
) -> Likeness | None:
    found = looks(images, reference.modality, reference.window, reference.size) if len(images) else images
    if not len(found):
        return None
    groups = max(1, len(found) // reference.slices_each)
    mean = np.array([*look.histogram, *look.mean])
    variance = np.array([*look.histogram, *look.variance])
    pairs = [apart(found[first::groups].mean(axis=0), mean, variance) for first in range(groups)]
    grey, texture = (float(np.median(side)) for side in zip(*pairs, strict=True))
    alike = reference.detector == detector("random").sha256
    return Likeness(
        name=name,
        grey=_by_usual(grey, look.histogram_distances),
        features=_by_usual(texture, look.feature_distances) if alike else None,
        histogram=found[:, :BINS].mean(axis=0),
        trained=np.array(look.histogram),
    )


def model_slices(
    volume: Volume, about: About, chosen: Sequence[int], frame: Frame | None = None
) -> Float[np.ndarray, "n size size"]:
    """Some slices of a source as the network sees them where there are no tiles: one frame, in [-1, 1].

    Args:
        volume: the source.
        about: the model.
        chosen: which slices.
        frame: of the first input, where the source is another one on its grid.
    """
    frame = frame or frame_of(volume, about)
    step = intensity_of(volume, ImageSettings(window=about.window, percentiles=about.percentiles))
    return step.to_model(frame.take(volume.voxels[list(chosen)], volume.spacing[1:], float(volume.voxels.min())))


def _by_usual(distance: float, others: Sequence[float]) -> float | None:
    return distance / max(float(np.quantile(others, USUAL, method="higher")), LEAST) if others else None
