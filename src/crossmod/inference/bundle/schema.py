"""Schema of `bundle.json`: every field with its bounds, since the file may be hand-written.

Notable:
- Nothing is converted: numbers as text and unknown fields are refused.
- Bounds are far above any model that can be trained, and far below what would exhaust a machine.
- Text is shown on terminals: characters that are not printable, including direction marks, become spaces.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from crossmod.config import Modality, Settings
from crossmod.inference.types import About
from crossmod.metrics.fingerprint import Fingerprint
from crossmod.settings import FrameKind

FORMAT = 1
JSON_FILE, WEIGHTS_FILE, README_FILE = "bundle.json", "weights.safetensors", "README.md"
NOTICE = "synthetic, not for diagnosis"
# Width of the first layer times pixels of a slice, which determine the memory per slice: 256 MB per layer here.
MOST_ACTIVE = 2**26
# Total residual blocks of a bundle, which determine the time to build its networks.
MOST_BLOCKS = 256


def printable(text: str) -> str:
    """`text` on one line, without terminal control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


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


# `resnet`: one image in, one out; `merge`: several in; `spread`: the first of several out; `family`: as the entry's
# family makes it, which an installed package adds.
NetworkKind = Literal["resnet", "merge", "spread", "family"]
# Families whose networks the numbers describe in full; `family`: those of others are made by the family's own code.
DESCRIBED = ("cyclegan", "essnet", "multi_input")


class Strict(Settings):
    """Base of all parts: frozen, without conversions and unknown fields."""

    model_config = ConfigDict(strict=True)


class Architecture(Strict):
    """The networks as numbers."""

    kind: NetworkKind
    inputs: int = Field(ge=1, le=8)
    """Input volumes."""
    stack: int = Field(default=1, ge=1, le=7)
    """Slices of each that are seen together, an odd number."""
    filters: int = Field(ge=1, le=256)
    """Width of the first layer."""
    blocks: int = Field(ge=0, le=32)
    """Residual blocks."""
    branch_blocks: int = Field(ge=0, le=32)
    """`merge` and `family`: the number of separate blocks per input."""
    classes: int = Field(ge=0, le=64)
    """Classes of the segmentor S, with background; 0: no segmentor."""

    @model_validator(mode="after")
    def _check_inputs(self) -> "Architecture":
        if self.kind not in ("merge", "family") and self.inputs != 1:
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
    """Numbers of training patients and slices, without identities."""

    patients: Count
    slices: Count


class Entry(Strict):
    """One network of a bundle, with the segmentor that belongs to it."""

    name: Key
    """Prefix of its tensors and files."""
    architecture: Architecture
    family: Name
    size: int = Field(ge=16, le=2048, multiple_of=4)
    """Side of input and output in pixels."""
    field_mm: float | None = Field(gt=0, le=1e5)
    """Side of the training slices in millimetres (median); null if unknown."""
    window: Pair
    """CT, of source or target: the HU that are -1 and 1."""
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]]
    """MR input: the percentiles of a volume that are -1 and 1."""
    low: Unit
    """Target value that is -1."""
    high: Unit
    """Target value that is 1."""
    frame: FrameKind = "stretch"
    """Part of a slice that is seen: a square around the body or the field's centre; or the whole field, stretched."""
    pixel_mm: float = Field(default=0.0, ge=0, le=100)
    """Millimetres of a pixel; 0 if the field is stretched."""
    stack_mm: float | None = Field(default=None, gt=0, le=1e3)
    """Millimetres between the slices of a stack; null without one."""
    organs: tuple[Name, ...] = Field(max_length=64)
    """Found by S: its classes 1, 2 and so on."""
    flip: bool
    """Whether it was trained on mirrored slices too."""
    sequence: Name | None
    """Of the MR output."""
    contrast: bool | None
    """Whether the CT output shows contrast agent; null if unknown."""
    version: Name
    """Of crossmod that trained it."""
    steps: tuple[Text, ...] = Field(max_length=20)
    """Pre- and postprocessing in words."""
    precision: Literal["auto", "fp32", "bf16"]
    """Of the computation, if the hardware supports it."""
    weights: Sha256
    """Of names and values of its tensors."""
    run_weights: Sha256
    """Of its run, with discriminators: the hash in synthetic stores and reports."""
    epoch: Literal["best", "last"]
    training: dict[Name, bool | int | float | Name | None] = Field(max_length=50)
    """Settings of the training, for people."""
    trained_on: dict[Modality, Trained]
    fingerprint: Fingerprint | None = None
    """What the training images looked like: histograms and textures over patients."""

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


# Fields that are the same in `crossmod.inference.types.About`.
OF_ABOUT = tuple(
    name for name in Entry.model_fields if name in About.__dataclass_fields__.keys() - {"name", "weights", "trained_on"}
)


class File(Strict):
    """Size and hash of a file."""

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
    """Data of the measurement."""


class Card(Strict):
    """Model card."""

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
    """Largest absolute difference from PyTorch on the test inputs."""


class Onnx(Strict):
    """The files of `--onnx`."""

    opset: int = Field(ge=1, le=100)
    tolerance: float = Field(gt=0)
    files: tuple[OnnxFile, ...] = Field(max_length=16)


class Bundle(Strict):
    """All of `bundle.json`."""

    format: int = Field(ge=1, le=FORMAT)
    crossmod: Name
    """Version that wrote the bundle."""
    name: Name
    source: Modality
    target: Modality
    inputs: tuple[Name, ...] = Field(min_length=1, max_length=8)
    """Sequences of the inputs, one per volume; `t1_in+t1_out` is either, `ct` and `mr` any."""
    networks: tuple[Entry, ...] = Field(min_length=1, max_length=8)
    card: Card
    onnx: Onnx | None
    files: dict[FileName, File] = Field(max_length=20)

    @model_validator(mode="after")
    def _check_parts(self) -> "Bundle":
        if self.source == self.target:
            raise ValueError(f"another target than the source, got {self.target} twice")
        names = [entry.name for entry in self.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"each network once, got {', '.join(names)}")
        for entry in self.networks:
            if entry.architecture.inputs != len(self.inputs):
                raise ValueError(f"{len(self.inputs)} inputs for {entry.name}, got {entry.architecture.inputs}")
        if (many := sum(entry.architecture.all_blocks for entry in self.networks)) > MOST_BLOCKS:
            raise ValueError(f"up to {MOST_BLOCKS} residual blocks in all, got {many}")
        if WEIGHTS_FILE not in self.files:
            raise ValueError(f"{WEIGHTS_FILE} among the files, got none")
        return self
