"""Clock, memory and peak rate of the machine.

- On a GPU all memory of torch's tensors counts, from building on. Later steps may be replays of a recorded one, which
  use the memory of the recording and allocate none.
- On a CPU one step counts, beyond what is held before it. Earlier ones load libraries and compile, and both paths hold
  the same weights, gradients and moments.
- A large matrix product alone is no measure on a CPU: on AMD's the library for products reaches half of what the one
  for convolutions does in fp32. The rate is that of the faster one.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch.utils.flop_counter import FlopCounterMode

from crossmod.engine.device import wait_for
from crossmod.engine.memory import peak_bytes, resident_bytes
from crossmod.progress import progress

Repeated = Callable[[int], object]

# Steps of one path before it is the other's turn. A GPU wants more: at each turn it must first be filled with work.
MOST_IN_TURN = {"cpu": 5, "cuda": 20}


def turns(steps: int, device: torch.device) -> list[int]:
    """How many steps each turn takes: four turns or more where there are steps enough, all of them about as long."""
    most = min(MOST_IN_TURN[device.type], max(1, steps // 4))
    count = -(-steps // most)
    return [steps // count + (place < steps % count) for place in range(count)]


def race(first: Repeated, second: Repeated, *, begin: int, steps: int, device: torch.device) -> tuple[list[float], ...]:
    """Time two functions of a step number in turns; nothing but the end of a turn waits for the device, as in a
    training. Seconds of each step of both; on a GPU the mean of each turn, once for each turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    at = begin
    with progress("Timing", steps * 2) as advance:
        for count in turns(steps, device):
            for work, taken in zip((first, second), seconds, strict=True):
                taken += _turn(work, range(at, at + count), device)
                advance(count)
            at += count
    return seconds


def _turn(work: Repeated, steps: range, device: torch.device) -> list[float]:
    if device.type == "cpu":
        return [timed(work, step, device) for step in steps]

    def whole(_: int) -> None:
        for step in steps:
            work(step)

    return [timed(whole, 0, device) / len(steps)]


def timed(work: Repeated, step: int, device: torch.device) -> float:
    """Seconds that one call takes, to the end of what it ordered from the device."""
    wait_for(device)
    began = time.perf_counter()
    work(step)
    wait_for(device)
    return time.perf_counter() - began


STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def meaning(device: torch.device) -> str:
    """What the number is, for people."""
    if device.type == "cuda":
        return "GPU memory: weights, Adam and the first steps at their peak, without the slices"
    return "main memory that one step adds at its peak to what is held before and after it, such as weights and Adam"


def begin(device: torch.device) -> int:
    """Start measuring; returns the bytes from which `added` counts.

    Freed memory is returned to the system first, or it would be reused without being counted. If the system cannot
    forget an earlier peak (macOS), only what exceeds that counts.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if sys.platform == "linux":
        # musl's library has no such function.
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    try:
        # "5": forget the peak (proc(5)).
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return _peak()
    return resident_bytes()


def added(since: int, device: torch.device) -> int:
    """Peak bytes beyond those that `begin` returned."""
    return max((peak_bytes(device) if device.type == "cuda" else _peak()) - since, 0)


def _peak() -> int:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return peak_bytes(torch.device("cpu"))
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


# Large enough that the rate no longer grows: sides of the matrices, and images of 256 channels of 64 x 64, as inside of
# a generator for 256 px.
SIDE = {"cpu": 2048, "cuda": 8192}
IMAGES = {"cpu": 1, "cuda": 64}
CHANNELS, PIXELS = 256, 64
REPEATS = {"cpu": 3, "cuda": 20}
ROUNDS = 4


def best_rate(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s that the device reaches in a large matrix product or a large convolution, whichever is faster."""
    return max(matmul_rate(device, dtype), convolution_rate(device, dtype))


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int = 0) -> float:
    """TFLOP/s of the fastest of a few rounds of square matrix products; `side` 0: as large as the device needs.

    On a GPU, fp32 means what its convolutions do with fp32: TF32 as PyTorch sets it, unless that was turned off.
    """
    side = side or SIDE[device.type]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    with _as_convolutions(device):
        return _rate(lambda: torch.mm(left, right, out=out), 2 * side**3, device)


def convolution_rate(device: torch.device, dtype: torch.dtype, channels: int = CHANNELS) -> float:
    """TFLOP/s of the fastest of a few rounds of 3 x 3 convolutions, `channels` to `channels`."""
    shape = (IMAGES[device.type], channels, PIXELS, PIXELS)
    order = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    images = torch.randn(shape, device=device).to(dtype, memory_format=order)
    weight = torch.randn(channels, channels, 3, 3, device=device).to(dtype, memory_format=order)
    return _rate(lambda: F.conv2d(images, weight, padding=1), 2 * images.numel() * channels * 9, device)


@torch.no_grad()
def _rate(work: Callable[[], object], operations: int, device: torch.device) -> float:
    repeats = REPEATS[device.type]

    def several(_: int) -> None:
        for _ in range(repeats):
            work()

    # The first round wakes clocks and libraries up.
    rounds = [timed(several, place, device) for place in range(1 + ROUNDS)][1:]
    return operations * repeats / min(rounds) / 1e12


@contextmanager
def _as_convolutions(device: torch.device) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if torch.backends.cudnn.allow_tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in eager work; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
