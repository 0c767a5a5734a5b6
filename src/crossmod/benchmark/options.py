"""Options of `crossmod bench`, and the settings they stand for; free of PyTorch, as the command line needs them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from crossmod.config import Settings, with_changes
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.settings import CONTROLS, Compile, Device, Precision, SegmentSettings, TranslateSettings, member_of

# From this size on the paper's preset is meant, also on a CPU.
PAPER_FROM_PIXELS = 128


def _with_networks(family: str) -> str:
    if family in CONTROLS:
        raise ValueError(f"a family with networks, since a control has none to time, got {family!r}")
    return family


class Timing(Settings):
    """How to measure."""

    steps: int = Field(default=0, ge=0)
    """Steps to time of each path; 0: 20 on a CPU, 200 on a GPU, and 3 of `prepare`."""
    device: Device = "auto"
    """Where to compute."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0: all."""


class SegmentBench(Timing):
    """What `bench segment` asks."""

    preset: Literal["rafiq2025", "tiny"] | None = None
    """Settings to start from; default: rafiq2025 on a GPU or from 128 pixels on, else tiny."""
    size: int | None = None
    """Pixels per side; default: the preset's."""
    batch_size: int | None = None
    """Slices in a step; default: the preset's."""
    precision: Precision | None = None
    """What convolutions compute in; default: the preset's, which is `auto` in rafiq2025 and fp32 in tiny."""


class TranslateBench(SegmentBench):
    """What `bench train` and `bench synthesize` ask."""

    family: Annotated[str, member_of("family"), AfterValidator(_with_networks)] = "essnet"
    """The networks: essnet has a segmentor, cyclegan has none; multi_input is timed with one input."""
    filters: int | None = Field(default=None, ge=1)
    """Width of the first layer of all networks; default: the preset's."""
    blocks: int | None = Field(default=None, ge=0)
    """Residual blocks of generators and segmentor; default: the preset's."""
    compile: Compile | None = None
    """Compile the networks' blocks; default: the preset's, which is `auto` in rafiq2025 and off in tiny."""


class PrepareBench(Timing):
    """What `bench prepare` asks."""

    patients: int = Field(default=2, ge=1)
    """Made-up CT patients, and as many MR patients with three series each."""
    size: int = Field(default=256, ge=16, le=1024)
    """Pixels per side of the random slices."""
    slices: int = Field(default=32, ge=4, le=400)
    """CT slices of a patient; MR slices are fewer."""


def preset_name(options: SegmentBench, *, gpu: bool) -> str:
    """The preset to start from: a full-size step takes seconds on a CPU, so there it must be asked for."""
    large = (options.size or 0) >= PAPER_FROM_PIXELS
    return options.preset or ("rafiq2025" if gpu or large else "tiny")


def preset_in_words(options: SegmentBench, *, gpu: bool) -> str:
    """Where the settings come from, and how to get the others."""
    name = preset_name(options, gpu=gpu)
    other = "; --preset rafiq2025 is the paper's size, seconds per step on a CPU" if name == "tiny" and not gpu else ""
    return f"Preset {name}{other}."


def translate_settings(options: TranslateBench, *, gpu: bool) -> TranslateSettings:
    """Settings of a training as `bench train` asks for it; they hold for synthesis too."""
    asked = options.model_dump(include={"family", "compile", *_SHARED}, exclude_none=True)
    widths = {"generator_filters": options.filters, "discriminator_filters": options.filters}
    more = {**widths, "generator_blocks": options.blocks}
    asked |= {name: value for name, value in more.items() if value is not None}
    return with_changes(TRANSLATE[preset_name(options, gpu=gpu)], **asked)


def segment_settings(options: SegmentBench, *, gpu: bool) -> SegmentSettings:
    """Settings of a training as `bench segment` asks for it."""
    asked = options.model_dump(include=_SHARED, exclude_none=True)
    return with_changes(SEGMENT[preset_name(options, gpu=gpu)], **asked)


_SHARED = {"size", "batch_size", "precision"}
