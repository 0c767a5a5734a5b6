"""Augmentation: parameters are drawn in one place and applied, to image and mask alike, by a pure function."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """Where a part of a slice is cut out, and whether it is mirrored."""

    top: int
    left: int
    mirrored: bool


def draw_crop(rng: np.random.Generator, loaded: int, size: int, *, flip: bool) -> Crop:
    """A random part of `size` pixels out of `loaded`, mirrored half of the time where `flip` is on."""
    top, left = (int(value) for value in rng.integers(0, loaded - size + 1, size=2))
    return Crop(top, left, flip and bool(rng.random() < 0.5))


def cut(slices: Tensor, crop: Crop, size: int) -> Tensor:
    """Cut `size` x `size` pixels out of the last two axes of an image or a mask."""
    part = slices[..., crop.top : crop.top + size, crop.left : crop.left + size]
    return part.flip(-1) if crop.mirrored else part


def draw_affine(rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 2 3"]:
    """Random scale (0.9 to 1.1), turn (up to 10 degrees) and shift (up to 5 % of the field), one a slice."""
    scale, turn = rng.uniform(0.9, 1.1, count), np.deg2rad(rng.uniform(-10, 10, count))
    shift = rng.uniform(-0.1, 0.1, (count, 2))
    rows = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], axis=1).reshape(count, 2, 2)
    return np.concatenate([rows * scale[:, None, None], shift[:, :, None]], axis=2)


def warp(
    images: Float[Tensor, "batch 1 size size"],
    masks: Int[Tensor, "batch size size"],
    affines: Float[np.ndarray, "batch 2 3"],
) -> tuple[Float[Tensor, "batch 1 size size"], Int[Tensor, "batch size size"]]:
    """Move images (linearly, background -1 from outside) and masks (by the nearest pixel) in the same way."""
    theta = torch.from_numpy(affines.astype(np.float32)).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images + 1, grid, mode="bilinear", align_corners=False) - 1
    classes = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    return moved, classes[:, 0].to(masks.dtype)
