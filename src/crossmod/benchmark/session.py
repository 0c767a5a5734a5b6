"""What all benchmarks begin with: settings, slices of noise, device and rates."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from crossmod.benchmark.hardware import best_rate, meaning
from crossmod.benchmark.result import Bench, Comparison
from crossmod.config import Settings, with_changes
from crossmod.data.intensity import Intensity
from crossmod.data.slices import SliceKey, SliceSet, to_pixels
from crossmod.engine.cuda_graph import WARM
from crossmod.engine.device import Compute, cpu_name, describe_device, pick_device
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.progress import track
from crossmod.seeds import rng
from crossmod.settings import Compile, Device, Precision, SegmentSettings, TrainSettings, TranslateSettings

Trained = TypeVar("Trained", bound=TrainSettings)

# From here on the paper's preset is what is meant, also on a CPU.
PAPER_FROM_PIXELS = 128


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
    """Pixels a side; default: the preset's."""
    batch_size: int | None = None
    """Slices in a step; default: the preset's."""
    precision: Precision | None = None
    """What convolutions compute in; default: the preset's, which is `auto` in rafiq2025 and fp32 in tiny."""


class TranslateBench(SegmentBench):
    """What `bench train` and `bench synthesize` ask."""

    family: Literal["cyclegan", "essnet"] = "essnet"
    """The networks: essnet has a segmentor, cyclegan has none."""
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
    """Pixels a side of the made-up slices."""
    slices: int = Field(default=32, ge=4, le=400)
    """CT slices of a patient; MR slices are fewer."""


def preset_name(options: SegmentBench, *, gpu: bool) -> str:
    """The preset to start from: a full-size step takes seconds on a CPU, so there it must be asked for."""
    large = (options.size or 0) >= PAPER_FROM_PIXELS
    return options.preset or ("rafiq2025" if gpu or large else "tiny")


def preset_in_words(options: SegmentBench, *, gpu: bool) -> str:
    """Where the settings come from, and how to get the others."""
    name = preset_name(options, gpu=gpu)
    other = "; --preset rafiq2025 is the paper's size, seconds a step on a CPU" if name == "tiny" and not gpu else ""
    return f"Preset {name}{other}."


def translate_settings(options: TranslateBench, *, gpu: bool) -> TranslateSettings:
    """Settings of a training as `bench train` asks for it; they hold for synthesis too.

    Raises:
        InputError: a value that the settings refuse, named by its option.
    """
    asked = {
        **_asked(options),
        "family": options.family,
        "generator_filters": options.filters,
        "discriminator_filters": options.filters,
        "generator_blocks": options.blocks,
        "compile": options.compile,
    }
    return _changed(TRANSLATE[preset_name(options, gpu=gpu)], asked)


def segment_settings(options: SegmentBench, *, gpu: bool) -> SegmentSettings:
    """Settings of a training as `bench segment` asks for it.

    Raises:
        InputError: a value that the settings refuse, named by its option.
    """
    return _changed(SEGMENT[preset_name(options, gpu=gpu)], _asked(options))


def _asked(options: SegmentBench) -> dict[str, object]:
    return {name: getattr(options, name) for name in ("size", "batch_size", "precision")}


def _changed(settings: Trained, asked: dict[str, object]) -> Trained:
    return with_changes(settings, **{name: value for name, value in asked.items() if value is not None})


def images(name: str, count: int, size: int) -> Float[np.ndarray, "count size size"]:
    """Noise in [-1, 1], float32; another name, other noise."""
    return rng(0, "bench", name).uniform(-1, 1, (count, size, size)).astype(np.float32)


def slice_set(name: str, count: int, size: int, *, classes: int = 0) -> SliceSet:
    """Slices of noise in [-1, 1].

    Args:
        name: another name, other noise.
        count: how many.
        size: pixels a side.
        classes: of the masks, background counted; 0: no masks.
    """
    masks = rng(0, "bench", name, "mask").integers(0, classes, (count, size, size), dtype=np.uint8) if classes else None
    return SliceSet(
        pixels=to_pixels(images(name, count, size)),
        masks=masks,
        shows=np.ones(count, bool),
        known=np.full(count, classes > 0),
        keys=tuple(SliceKey(name, name, index) for index in range(count)),
        intensities={name: Intensity(-1.0, 1.0)},
    )


STEPS = {"cpu": 20, "cuda": 200}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

# First steps that are not timed. On a GPU a step is recorded at the one after WARM; two more are replayed.
FIRST = {"cpu": 3, "cuda": WARM + 3}


@contextmanager
def session(options: Timing) -> Iterator[torch.device]:
    """The device that `options` ask for; what is set for it is taken back afterwards.

    Raises:
        InputError: no such device.
    """
    device = pick_device(options.device)
    threads, tuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(options.threads or threads)
    # The shipped path sets it; public code does so too.
    torch.backends.cudnn.benchmark = device.type == "cuda" or tuned
    try:
        yield device
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = tuned


def steps_of(options: Timing, device: torch.device) -> int:
    """How many steps are timed."""
    return options.steps or STEPS[device.type]


def rates(compute: Compute) -> dict[str, float]:
    """TFLOP/s that the device reaches at its best, in fp32 and in what `compute` computes in."""
    precisions = sorted({"fp32", compute.precision})
    return {name: best_rate(compute.device, DTYPES[name]) for name in track(precisions, "The machine at its best")}


def reference_path(device: torch.device) -> str:
    """How the reference computes, in words."""
    tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return "fp32 (TF32 convolutions, PyTorch's default), eager" if tf32 else "fp32, eager"


def report(
    command: str,
    size: str,
    device: torch.device,
    found: dict[str, float],
    comparisons: Iterable[Comparison],
    notes: Iterable[str],
) -> Bench:
    """A bench's numbers with the head that says where they come from."""
    name = describe_device(device)
    return Bench(
        command=command,
        size=size,
        device=name if device.type == "cuda" else f"{cpu_name()}, {name}",
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        rates=found,
        memory=meaning(device),
        comparisons=tuple(comparisons),
        notes=tuple(notes),
    )
