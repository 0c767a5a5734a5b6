"""What goes into a translation and what comes out: the words that the parts of this room share."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import Field

from crossmod.config import Modality, Settings
from crossmod.data.pixel_size import Scale
from crossmod.data.volume import Volume
from crossmod.settings import FrameKind, pixel_words

# What a slice is translated as, beside itself; their mean is the answer and their spread the uncertainty.
Variant = Literal["flip", "shift", "neighbours"]
VARIANTS: tuple[Variant, ...] = ("flip", "shift", "neighbours")


class Options(Settings):
    """How a volume is translated."""

    variants: tuple[Variant, ...] = ()
    """Average over variants of each slice: `flip`, `shift` (by some pixels), `neighbours` (slices above and below)."""
    batch: int = Field(default=16, ge=1)
    """Slices at a time."""
    tiles: Literal["auto", "on", "off"] = "auto"
    """Tiles of training's pixels, or one frame; `auto`: tiles where the body is larger than the model's frame, or, with
    models that stretch slices, where whole slices would be much coarser."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Of tiles: share of a tile that the next one covers again, at least."""
    accept_units: bool = False
    """Also take values that cannot be HU (CT) or signal (MR); notes and the trust report then say so."""


@dataclass(frozen=True)
class About:
    """What is known of a model, whether from a run or a bundle.

    Args:
        name: for people.
        family: of its training.
        source: the modality that goes in.
        target: the modality that comes out.
        inputs: the sequences that go in, one a volume; a `+` stands for either, and the modality's name for any.
        size: pixels a side of what the network sees.
        field_mm: millimetres a side of the slices that it was trained on (median).
        low: units of the target that the network calls -1.
        high: and 1.
        window: of CT on whichever side it is: what lies outside is not known to the model.
        organs: what its segmentor finds; empty without one.
        weights: SHA-256 of the weights.
        version: of crossmod that trained it.
        trained_on: how many patients and slices, by modality.
        licence: of the weights; empty where nobody said.
        percentiles: of MR that goes in: those of a volume that the network is given as -1 and 1.
        flip: whether it was trained on mirrored slices too.
        sequence: of the MR that comes out, or the phase of the CT, where it is known.
        contrast: whether the CT that comes out has contrast agent in the blood; None where nobody said, and of MR.
        stack: slices of an input that the network sees together.
        stack_mm: millimetres between them; None where it sees but one.
        ct_unit: of the CT that it was trained on: `HU`, or `unknown`.
        frame: what of a slice it sees: a square around the body or the field's centre, or the whole field, stretched.
        pixel_mm: millimetres of its pixels; 0 where the field is stretched.
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
    trained_on: dict[str, dict[str, int]] = field(default_factory=dict)
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
        """Millimetres and pixels of what it sees."""
        return Scale(self.frame, self.size, self.pixel_mm)

    @property
    def ct_words(self) -> str:
        """What stands after numbers of its CT window."""
        return self.ct_unit if self.ct_unit == "HU" else f"of an {self.ct_unit} unit"

    @property
    def pixel_words(self) -> str:
        """How large its pixels are, and what they lie around."""
        return pixel_words({"frame": self.frame, "pixel_mm": self.pixel_mm})


@runtime_checkable
class Network(Protocol):
    """Slices in, slices out: what a run and a bundle both are."""

    @property
    def about(self) -> About:
        """What is known of it."""
        ...

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Slices in [-1, 1] to slices in [-1, 1], and the class that S sees at each pixel, where there is an S.

        Of each slice the stacks of all inputs go in, the slice itself first in each.
        """
        ...


@dataclass(frozen=True, eq=False)
class Translation:
    """A translated volume, on the grid of the (first) volume that went in: same affine, shape and stored orientation.

    Args:
        image: the synthetic volume: whole HU for CT, the units of the training's middle volume for MR. Its notes hold
            warnings of the values that went in.
        sources: what went in, as read, in the order of the model's inputs.
        about: the model; of several, the first, with the range of them all.
        body: where something was made; outside, the image has the model's lowest value.
        uncertainty: standard deviation over variants and models, in units of the image; None where there was but one.
        labels: what S found, on the same grid: 1 for the first of the model's organs, and so on; None without S.
        clipped: share of the body in which CT, be it the source or the answer, lies at or beyond the ends of the
            model's window: how far beyond is not known.
        seconds: that the network took.
    """

    image: Volume
    sources: tuple[Volume, ...]
    about: About
    body: Bool[np.ndarray, "slices rows columns"]
    uncertainty: Float32[np.ndarray, "slices rows columns"] | None
    labels: UInt8[np.ndarray, "slices rows columns"] | None
    clipped: float
    seconds: float
