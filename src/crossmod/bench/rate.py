"""How fast the machine computes at its best, and how many floating-point operations a piece of work takes.

Notable:
- A large matrix product alone is no measure on a CPU: on AMD's the library for products reaches half of what the one
  for convolutions does in fp32. The rate is that of the faster one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch.utils.flop_counter import FlopCounterMode

from crossmod.bench.clock import timed

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
    """TFLOP/s of the fastest of a few rounds of square matrix products.

    On a GPU, fp32 means what its convolutions do with fp32: TF32 as PyTorch has it, unless that was turned off.

    Args:
        device: where.
        dtype: what it multiplies.
        side: rows and columns; 0: as many as the device needs to reach its rate.
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
