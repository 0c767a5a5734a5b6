"""Types of a translation: options, what is known of a model, networks, results."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import Field

from crossmod.config import Modality, Settings
from crossmod.data.pixel_size import Scale
from crossmod.data.volume import Volume
from crossmod.settings import FrameKind, pixel_words

# Test-time augmentations; the mean of their results is the answer, their spread the uncertainty.
Variant = Literal["flip", "shift", "neighbours"]


class Options(Settings):
    """How a volume is translated."""

    variants: tuple[Variant, ...] = ()
    """Average over variants of each slice: `flip`, `shift` (by some pixels), `neighbours` (slices above and below)."""
    batch: int = Field(default=16, ge=1)
    """Slices per batch."""
    tiles: Literal["auto", "on", "off"] = "auto"
    """Tiles of training's pixels, or one frame; `auto`: tiles if the body is larger than the model's frame, or, for
    models that stretch slices, if whole slices would be much coarser."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Minimum overlap of neighbouring tiles, as a share of a tile."""
    accept_units: bool = False
    """Accept values that cannot be HU (CT) or signal (MR), with a warning."""


@dataclass(frozen=True)
class About:
    """What is known of a model, from a run or a bundle.

    Args:
        name: for people.
        family: of its training.
        source: modality of the input.
        target: modality of the output.
        inputs: sequences of the inputs, one per volume; `a+b` is either, and the modality's name any.
        size: side of the network's input in pixels.
        field_mm: side of the training slices in millimetres (median).
        low: target value that is -1 for the network.
        high: target value that is 1.
        window: CT values, of source or target, that the model knows.
        organs: found by its segmentor; empty without one.
        weights: SHA-256 of the weights.
        version: of crossmod that trained it.
        trained_on: numbers of patients and slices, by modality.
        licence: of the weights; empty if unknown.
        percentiles: of an MR input: those that become -1 and 1.
        flip: whether it was trained on mirrored slices too.
        sequence: of the MR output, or phase of the CT output, if known.
        contrast: whether the CT output shows contrast agent in the blood; None if unknown, and for MR.
        stack: slices of an input that the network sees together.
        stack_mm: millimetres between them; None for a single slice.
        ct_unit: of its training CT: `HU`, or `unknown`.
        frame: what it sees of a slice: a square around the body or the field's centre, or the whole field, stretched.
        pixel_mm: millimetres of its pixels; 0 if the field is stretched.
    """

    name: str
    family: str
    source: Modality
    target: Modality
    inputs: tuple[str, ...]
    size: int
    field_mm: float | None
    low: float
    high: float
    window: tuple[float, float]
    organs: tuple[str, ...]
    weights: str
    version: str
    trained_on: dict[Modality, dict[str, int]] = field(default_factory=dict[Modality, dict[str, int]])
    licence: str = ""
    percentiles: tuple[float, float] = (0.5, 99.5)
    flip: bool = False
    sequence: str | None = None
    contrast: bool | None = None
    stack: int = 1
    stack_mm: float | None = None
    ct_unit: str = "HU"
    frame: FrameKind = "stretch"
    pixel_mm: float = 0.0

    @property
    def scale(self) -> Scale:
        """Millimetres and pixels of its input."""
        return Scale(self.frame, self.size, self.pixel_mm)

    @property
    def ct_words(self) -> str:
        """Unit of its CT window, for people."""
        return self.ct_unit if self.ct_unit == "HU" else f"of an {self.ct_unit} unit"

    @property
    def pixel_words(self) -> str:
        """Size of its pixels and position of its frame, for people."""
        return pixel_words({"frame": self.frame, "pixel_mm": self.pixel_mm})


@runtime_checkable
class Network(Protocol):
    """A network of a run or a bundle."""

    @property
    def about(self) -> About:
        """What is known of it."""
        ...

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], and give the class of each pixel from S, if there is an S.

        Of each slice the stacks of all inputs go in, the slice itself first in each.
        """
        ...


@dataclass(frozen=True, eq=False)
class Translation:
    """A translated volume, on the grid of the (first) input: same affine, shape and stored orientation.

    Args:
        image: the synthetic volume: whole HU for CT, the units of the training's median volume for MR. Its notes
            include warnings about input values.
        sources: the inputs as read, in the model's order.
        about: the model; of several, the first, with the range of all.
        body: where the image is synthetic; outside, it has the model's lowest value.
        uncertainty: standard deviation over variants and models, in units of the image; None for a single one.
        labels: found by S, on the same grid: 1 for the first of the model's organs, and so on; None without S.
        clipped: share of the body in which the CT of either side lies at or beyond the ends of the model's window.
        seconds: of the network.
    """

    image: Volume
    sources: tuple[Volume, ...]
    about: About
    body: Bool[np.ndarray, "slices rows columns"]
    uncertainty: Float32[np.ndarray, "slices rows columns"] | None
    labels: UInt8[np.ndarray, "slices rows columns"] | None
    clipped: float
    seconds: float
