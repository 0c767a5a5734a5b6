"""What `bundle.json` may say: every field with its bounds, since whoever sends a bundle may have written it by hand.

Notable:
- Nothing is converted: a number that came as text is refused, and so is a field that there is not.
- Bounds are far above any model that can be trained, and far below what would fill a machine.
- Text is shown on terminals: whatever is not printable, also marks that turn the direction of writing, becomes a space.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from crossmod.config import Modality, Settings
from crossmod.inference.trust.similarity import Fingerprint
from crossmod.settings import FrameKind

FORMAT = 1
JSON_FILE, WEIGHTS_FILE, README_FILE = "bundle.json", "weights.safetensors", "README.md"
NOTICE = "synthetic, not for diagnosis"
# Width of the first layer times pixels of a slice: what decides the memory that a slice takes, 256 MB a layer here.
MOST_ACTIVE = 2**26
# Residual blocks of a bundle in all: what decides how long it takes to lay its networks out.
MOST_BLOCKS = 256


def printable(text: str) -> str:
    """`text` on one line, without what a terminal would obey instead of showing it."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _named(text: str) -> str:
    if not printable(text):
        raise ValueError("a name that can be shown, got none")
    return printable(text)


Text = Annotated[str, Field(max_length=2000), AfterValidator(printable)]
Name = Annotated[str, Field(max_length=100), AfterValidator(_named)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+-]{0,39}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,99}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Unit = Annotated[float, Field(ge=-1e6, le=1e6)]
Pair = tuple[Unit, Unit]
Count = Annotated[int, Field(ge=0, le=10**9)]


class Strict(Settings):
    """Base of all parts: frozen, nothing converted, nothing unknown."""

    model_config = ConfigDict(strict=True)


class Architecture(Strict):
    """The networks as plain numbers."""

    kind: Literal["resnet", "merge", "spread"]
    """`resnet`: one image in, one out; `merge`: several in; `spread`: the first of what would be several out."""
    inputs: int = Field(ge=1, le=8)
    """Volumes that go in."""
    stack: int = Field(default=1, ge=1, le=7)
    """Slices of each that are seen together, an odd number."""
    filters: int = Field(ge=1, le=256)
    """Width of the first layer."""
    blocks: int = Field(ge=0, le=32)
    """Residual blocks."""
    branch_blocks: int = Field(ge=0, le=32)
    """Of `merge`: how many of them each input has for itself."""
    classes: int = Field(ge=0, le=64)
    """Classes of the segmentor S, background included; 0: there is none."""

    @model_validator(mode="after")
    def _check_inputs(self) -> "Architecture":
        if self.kind != "merge" and self.inputs != 1:
            raise ValueError(f"one input for {self.kind}, got {self.inputs}")
        if self.classes == 1:
            raise ValueError("two classes or more, or none, got 1")
        if self.stack % 2 == 0:
            raise ValueError(f"an odd stack, got {self.stack}")
        return self

    @property
    def all_blocks(self) -> int:
        """Residual blocks of all branches, and of S."""
        return self.inputs * self.branch_blocks + self.blocks * (2 if self.classes else 1)


class Trained(Strict):
    """How many were trained on; who they are is nobody's business."""

    patients: Count
    slices: Count


class Entry(Strict):
    """One network of a bundle, with the segmentor that belongs to it."""

    name: Key
    """Prefix of its tensors and of its files."""
    family: Name
    architecture: Architecture
    size: int = Field(ge=16, le=2048, multiple_of=4)
    """Pixels a side of what goes in and comes out."""
    field_mm: float | None = Field(gt=0, le=1e5)
    """Millimetres a side of the slices that were trained on (median); null where nobody knows."""
    frame: FrameKind = "stretch"
    """What of a slice is seen: a square around the body or the field's centre; or the whole field, stretched."""
    pixel_mm: float = Field(default=0.0, ge=0, le=100)
    """Millimetres of a pixel; 0 where the field is stretched."""
    stack_mm: float | None = Field(default=None, gt=0, le=1e3)
    """Millimetres between the slices of a stack; null without one."""
    window: Pair
    """CT, on whichever side: the HU that are -1 and 1."""
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]]
    """MR that goes in: the percentiles of a volume that are -1 and 1."""
    low: Unit
    """Units of the target that are -1."""
    high: Unit
    """And 1."""
    steps: tuple[Text, ...] = Field(max_length=20)
    """The same in words."""
    organs: tuple[Name, ...] = Field(max_length=64)
    """What S finds: its classes 1, 2 and so on."""
    flip: bool
    """Whether it was trained on mirrored slices too."""
    sequence: Name | None
    """Of the MR that comes out."""
    contrast: bool | None
    """Whether the CT that comes out shows contrast agent; null where nobody knows."""
    precision: Literal["auto", "fp32", "bf16"]
    """What it computes in, where the hardware can."""
    weights: Sha256
    """Of names and values of its tensors."""
    fingerprint: Fingerprint | None = None
    """What the inputs of its training looked like: histograms and textures, nobody's in particular."""
    run_weights: Sha256
    """Of the run that it was taken from, discriminators included: what synthetic stores and reports name."""
    epoch: Literal["best", "last"]
    version: Name
    """Of crossmod that trained it."""
    training: dict[Name, bool | int | float | Name | None] = Field(max_length=50)
    """Settings of the training, for people."""
    trained_on: dict[Modality, Trained]

    @model_validator(mode="after")
    def _check_numbers(self) -> "Entry":
        for name, (low, high) in {
            "window": self.window,
            "percentiles": self.percentiles,
            "low and high": (self.low, self.high),
        }.items():
            if low >= high:
                raise ValueError(f"a rising pair as {name}, got {low:g} and {high:g}")
        active, classes = self.architecture.filters * self.size**2, self.architecture.classes
        if active > MOST_ACTIVE:
            raise ValueError(f"filters times pixels up to {MOST_ACTIVE}, got {active}")
        if (self.stack_mm is None) != (self.architecture.stack == 1):
            raise ValueError(f"stack_mm with a stack and only then, got {self.stack_mm}")
        if (self.pixel_mm > 0) == (self.frame == "stretch"):
            raise ValueError(f"pixel_mm with a frame of body or field and only then, got {self.pixel_mm:g}")
        if classes != (1 + len(self.organs) if self.organs else 0):
            raise ValueError(f"a class an organ and one more, got {classes} for {len(self.organs)}")
        return self


class File(Strict):
    """What a file must be."""

    bytes: Annotated[int, Field(ge=0, le=2**40)]
    sha256: Sha256


class Score(Strict):
    """One number of a result, with its interval."""

    network: Key
    metric: Name
    value: float
    low: float | None
    high: float | None
    on: Text
    """What it was measured on."""


class Card(Strict):
    """What a person should know before using it."""

    intended_use: Text
    limits: tuple[Text, ...] = Field(max_length=20)
    notice: Text
    licence: Text
    citation: Text
    scores: tuple[Score, ...] = Field(max_length=100)


class OnnxFile(Strict):
    """One network as ONNX."""

    file: FileName
    network: Key
    part: Literal["generator", "segmentor"]
    max_difference: float = Field(ge=0)
    """Largest absolute difference from PyTorch on the inputs of the check."""


class Onnx(Strict):
    """What `--onnx` added."""

    opset: int = Field(ge=1, le=100)
    tolerance: float = Field(gt=0)
    files: tuple[OnnxFile, ...] = Field(max_length=16)


class Bundle(Strict):
    """All of `bundle.json`."""

    format: int = Field(ge=1, le=FORMAT)
    crossmod: Name
    """Version that made the bundle."""
    name: Name
    source: Modality
    target: Modality
    inputs: tuple[Name, ...] = Field(min_length=1, max_length=8)
    """Sequences that go in, one a volume; `t1_in+t1_out` is either, `ct` and `mr` any."""
    networks: tuple[Entry, ...] = Field(min_length=1, max_length=8)
    card: Card
    onnx: Onnx | None
    files: dict[FileName, File] = Field(max_length=20)

    @model_validator(mode="after")
    def _check_parts(self) -> "Bundle":
        if self.source == self.target:
            raise ValueError(f"another target than the source, got {self.target} twice")
        names = [one.name for one in self.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"each network once, got {', '.join(names)}")
        for one in self.networks:
            if one.architecture.inputs != len(self.inputs):
                raise ValueError(f"{len(self.inputs)} inputs for {one.name}, got {one.architecture.inputs}")
        if (many := sum(one.architecture.all_blocks for one in self.networks)) > MOST_BLOCKS:
            raise ValueError(f"up to {MOST_BLOCKS} residual blocks in all, got {many}")
        if WEIGHTS_FILE not in self.files:
            raise ValueError(f"{WEIGHTS_FILE} among the files, got none")
        return self
