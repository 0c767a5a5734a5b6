"""What all benchmarks share: slices of noise, device, rates and the report."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float

from crossmod.benchmark.hardware import best_rate, meaning
from crossmod.benchmark.options import Timing
from crossmod.benchmark.result import Bench, Comparison
from crossmod.data.intensity import Intensity
from crossmod.data.slices import SliceKey, SliceSet, to_pixels
from crossmod.engine.cuda_graph import WARM
from crossmod.engine.device import Compute, cpu_name, describe_device, pick_device
from crossmod.progress import track
from crossmod.seeds import rng


def images(name: str, count: int, size: int) -> Float[np.ndarray, "count size size"]:
    """Noise in [-1, 1], float32; another name, other noise."""
    return rng(0, "bench", name).uniform(-1, 1, (count, size, size)).astype(np.float32)


def slice_set(name: str, count: int, size: int, *, classes: int = 0) -> SliceSet:
    """Slices of noise in [-1, 1], by name; masks of `classes` classes (background included), or none if 0."""
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
    """The device that `options` ask for; what is set for it is taken back afterwards."""
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
