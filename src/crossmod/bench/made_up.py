"""Slices of noise: networks take as long over them as over patients."""

import numpy as np
from jaxtyping import Float

from crossmod.data.intensity import Intensity
from crossmod.data.slices import SliceKey, SliceSet, to_pixels
from crossmod.seeds import rng


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
