"""Slices through a network: in batches of one size, to the device and back."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossmod.engine.compute import Compute

BATCH = {"cpu": 4, "cuda": 16}
# Pixels a side from which a CPU takes one slice at a time: four of 256 outgrow its cache, and took 1.3 times as long.
ALONE = 256


def batch_size(device: torch.device, size: int) -> int:
    """Slices of so many pixels a side that a device is quickest with."""
    return 1 if device.type == "cpu" and size >= ALONE else BATCH[device.type]


def batches_of(
    images: Float[np.ndarray, "slices images size size"], compute: Compute
) -> Iterator[tuple[Float[Tensor, "batch images size size"], slice]]:
    """Slices as batches on the device, and which slices each holds.

    Where blocks are compiled, the last batch is filled up with its last slice: another size would be compiled anew.
    """
    count = batch_size(compute.device, images.shape[-1])
    for start in range(0, len(images), count):
        part = torch.from_numpy(images[start : start + count])
        held = slice(start, start + len(part))
        if compute.compiled and len(part) < count:
            part = torch.cat([part, part[-1:].expand(count - len(part), -1, -1, -1)])
        yield part.to(compute.device, non_blocking=True), held
