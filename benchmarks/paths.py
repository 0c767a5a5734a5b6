"""Do all paths of a training step compute the same? Twenty steps of a small EssNet, compared with plain PyTorch.

Run: `python benchmarks/paths.py [DEVICE] [--no-compile] [--json FILE]`. The reference is eager fp32 with torch's own
Adam, on a GPU without TF32. Exit code 1: a path differs too much, failed, or was not used as requested, such as a CUDA
graph that could not be captured.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from crossmod.benchmark.compare import plain
from crossmod.engine.cuda_graph import GraphedStep
from crossmod.engine.device import Compute, accelerate, no_bf16, no_compiling, pick_device, wait_for
from crossmod.engine.state import TrainingTask
from crossmod.settings import TranslateSettings
from crossmod.synthesis import essnet

# As small as in tests/engine/test_device.py: Adam's first steps depend on the sign of each gradient, and in wider
# networks more gradients are so small that rounding changes their sign. `crossmod bench` compares steps of any size.
STEPS, SIZE = 20, 32
SETTINGS = TranslateSettings(
    size=SIZE, generator_filters=4, generator_blocks=1, discriminator_filters=4, discriminator_layers=1, pool_size=3
)
# Largest difference of a loss (losses are 0.2 to 1), and of the weights as a share of their change in the reference.
# Another order of summation gave at most 0.0006 and 0.05 on CPUs, bf16 0.007 and 0.45; a wrong weight of a loss
# 0.004 and 0.34 or more (tests/engine/test_device.py). TF32 rounds less than bf16.
EXACT, ROUNDED = (0.002, 0.15), (0.013, 0.65)


@dataclass(frozen=True)
class Found:
    """The result of a path.

    Args:
        path: in words.
        loss: the largest distance of a loss in any step; None: it failed.
        weights: distance of the weights, as a share of how far the reference's moved.
        first_seconds: the first five steps: compiling, recording, choosing algorithms.
        milliseconds: the median of the last ten steps.
        peak_mb: of the device's memory; 0 on a CPU.
        good: within the limits, and taken as asked.
        note: what went wrong.
    """

    path: str
    loss: float | None
    weights: float | None
    first_seconds: float
    milliseconds: float
    peak_mb: float
    good: bool
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", nargs="?", default="auto")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = pick_device(given.device)
    with tf32(allowed=False):
        reference = trained(plain(essnet.build(SETTINGS, device)), device)
        found = [compared("plain again", reference, Compute(device), EXACT, shipped=False)]
        print(line(found[0]), flush=True)
    for compute in paths(device, compiling=not given.no_compile):
        with tf32(allowed=False):
            found.append(compared(str(compute), reference, compute, ROUNDED if compute.bf16 else EXACT))
        print(line(found[-1]), flush=True)
    if device.type == "cuda":
        with tf32(allowed=True):
            found.append(compared("fp32 with TF32, CUDA graph", reference, Compute(device, graphs=True), ROUNDED))
        print(line(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")
    sys.exit(0 if all(one.good for one in found) else 1)


def paths(device: torch.device, *, compiling: bool) -> Iterator[Compute]:
    """Every path that training can use on a device."""
    compile_too = compiling and no_compiling(device) is None
    for compiled in (False, True) if compile_too else (False,):
        for bf16 in (False, True) if device.type == "cpu" or no_bf16(device) is None else (False,):
            for graphs in (False, True) if device.type == "cuda" else (False,):
                yield Compute(device, bf16=bf16, compiled=compiled, graphs=graphs)
    # Channels last without compiling, as for U-Nets on a CPU.
    if device.type == "cpu":
        yield Compute(device, blocks=False)


@dataclass(frozen=True)
class Trained:
    losses: np.ndarray
    """`[steps, losses]`"""
    before: torch.Tensor
    after: torch.Tensor
    """All kernels as one vector of doubles on the host."""
    seconds: list[float]


def trained(trainee: TrainingTask, device: torch.device) -> Trained:
    """Twenty steps, the same data and draws for each path."""
    before, losses, seconds = kernels(trainee), [], []
    for step in range(STEPS):
        batch = {**batch_of(step), **trainee.draw(np.random.default_rng(step))}
        sent = {name: part.to(device) for name, part in batch.items()}
        began = time.perf_counter()
        taken = trainee.step(sent)
        wait_for(device)
        seconds.append(time.perf_counter() - began)
        losses.append([loss.item() for loss in taken.values()])
    return Trained(np.array(losses), before, kernels(trainee), seconds)


def compared(
    path: str, reference: Trained, compute: Compute, limits: tuple[float, float], *, shipped: bool = True
) -> Found:
    """How far a path differs from the reference; an exception is reported and does not stop the others."""
    device = compute.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        trainee = essnet.build(SETTINGS, device)
        trainee = accelerate(trainee, compute) if shipped else plain(trainee)
        made = trained(trainee, device)
    except Exception as error:  # whatever a toolchain does wrong: the other paths are still of interest
        traceback.print_exc()
        return Found(path, None, None, 0.0, 0.0, 0.0, False, f"{type(error).__name__}: {error}"[:300])
    loss = float(np.abs(made.losses - reference.losses).max())
    weights = float((made.after - reference.after).norm() / (reference.after - reference.before).norm())
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0
    found = Found(
        path, loss, weights, sum(made.seconds[:5]), 1e3 * float(np.median(made.seconds[-10:])), peak,
        # NaN is never within limits.
        loss < limits[0] and weights < limits[1] and torch.equal(made.before, reference.before),
    )  # fmt: skip
    if isinstance(trainee.step, GraphedStep) and trainee.step.failed is not None:
        return replace(found, good=False, note=f"no CUDA graph: {trainee.step.failed}")
    return found


def batch_of(step: int) -> dict[str, torch.Tensor]:
    """Smooth images, and the bright half of CT as its mask."""
    g = torch.Generator().manual_seed(step)
    few = {side: torch.rand(1, 1, 8, 8, generator=g) * 2 - 1 for side in ("ct", "mr")}
    images = {
        side: torch.nn.functional.interpolate(x, scale_factor=SIZE / 8, mode="bilinear") for side, x in few.items()
    }
    return {**images, "mask": (images["ct"][:, 0] > 0).long()}


def kernels(trainee: TrainingTask) -> torch.Tensor:
    """All weights except biases: before a norm their gradient is only rounding, which Adam turns into full steps."""
    named = [pair for network in trainee.networks.values() for pair in network.named_parameters()]
    return torch.cat([weight.detach().cpu().double().flatten() for name, weight in named if name.endswith("weight")])


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def line(found: Found) -> str:
    distance = "failed" if found.loss is None else f"losses {found.loss:.5f}, weights {found.weights:.3f}"
    times = f"first steps {found.first_seconds:.1f} s, then {found.milliseconds:.1f} ms, {found.peak_mb:.0f} MB"
    return f"{'ok ' if found.good else 'BAD'} {found.path:48} {distance}; {times} {found.note}"


if __name__ == "__main__":
    main()
