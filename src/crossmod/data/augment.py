"""Augmentation: drawn on the host for a whole epoch, applied to the images and masks of a whole batch.

- Row p of a draw belongs to position p of the epoch's order, and a longer draw begins with a shorter one: how an epoch
  is divided into steps and ranks changes the augmentation of no slice.
- Slices on the host are NumPy arrays, those on a device tensors; both are cut by the same indexes. On the host NumPy
  takes an eighth of torch's time, since it copies whole rows of pixels (256 px, one core).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

Images = Float[Tensor, "batch 1 size size"]
Affines = Float[Tensor, "batch 2 3"]
Classes = Int[Tensor, "batch size size"]

# An array on the host, a tensor on a device.
Held = np.ndarray | Tensor


@dataclass(frozen=True)
class Augmentation:
    """A random change of the training slices of a segmenter, drawn for a batch and applied to it.

    Args:
        draw: from a random generator and the number of slices, arrays by name with a row per slice.
        apply: from images in [-1, 1] `[batch, 1, size, size]`, masks `[batch, size, size]` and these arrays, as
            tensors by the same names on the same device, to the changed images and masks.
    """

    draw: Callable[[np.random.Generator, int], Mapping[str, np.ndarray]]
    apply: Callable[..., tuple[Tensor, Tensor]]


def draw_crops(
    rng: np.random.Generator, count: int, loaded: int, size: int, *, flip: bool
) -> Int64[np.ndarray, "3 count"]:
    """Random crops of `size` pixels out of `loaded`: top, left, and 1 where mirrored, which is half of the time.

    Without `flip` nothing is mirrored, and the crops are the same.
    """
    top, left, mirrored = rng.random((count, 3)).T
    room = loaded - size + 1
    crops = np.stack([np.floor(top * room), np.floor(left * room), (mirrored < 0.5) & flip])
    return crops.astype(np.int64)


def windows(slices: Shaped[Held, "slices loaded loaded"], size: int) -> Shaped[Held, "slices tops lefts size size"]:
    """All crops of `size` x `size` pixels, by slice, top and left: a view, nothing is copied."""
    if isinstance(slices, Tensor):
        return slices.unfold(1, size, 1).unfold(2, size, 1)
    return np.lib.stride_tricks.sliding_window_view(slices, (size, size), axis=(1, 2))


def cut(
    parts: Shaped[Held, "slices tops lefts size size"], places: Int64[Held, "4 batch"], *, flip: bool
) -> Shaped[Tensor, "batch size size"]:
    """Cut a batch out of slices on their device, without waiting for it.

    `parts` are the slices' `windows`; `places`, on the same device: slice, top, left, and 1 where mirrored. `flip`:
    whether any may be mirrored.
    """
    index, top, left, mirrored = places
    found = parts[index, top, left]
    if isinstance(found, Tensor):
        return torch.where(mirrored[:, None, None] == 1, found.flip(-1), found) if flip else found
    if flip:
        # On the host only those are touched that are mirrored; NumPy copies and torch turns, each the faster at it.
        turned = np.flatnonzero(mirrored)
        found[turned] = torch.from_numpy(found[turned]).flip(-1).numpy()
    return torch.from_numpy(found)


def draw_affines(
    rng: np.random.Generator, count: int, *, scales: float = 0.1, degrees: float = 10.0, shifts: float = 0.05
) -> Float[np.ndarray, "count 2 3"]:
    """Random scale (1 ± `scales`), rotation (± `degrees`) and shift (± `shifts` of the field) per slice; float32."""
    drawn = rng.random((count, 4))
    scale, turn = 1 - scales + 2 * scales * drawn[:, 0], np.deg2rad(2 * degrees * drawn[:, 1] - degrees)
    shift = 4 * shifts * drawn[:, 2:] - 2 * shifts
    rows = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], axis=1).reshape(count, 2, 2)
    return np.concatenate([rows * scale[:, None, None], shift[:, :, None]], axis=2).astype(np.float32)


def warp(images: Images, masks: Classes, affines: Affines) -> tuple[Images, Classes]:
    """Move images (linearly, background -1 from outside) and masks (by the nearest pixel) in the same way.

    All three lie on the same device. A slice is moved the same, to the bit, whatever else is in its batch.
    """
    grid = _grid(affines, images.shape[-1])
    moved = F.grid_sample(images + 1, grid, mode="bilinear", align_corners=False) - 1
    classes = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    return moved, classes[:, 0].to(masks.dtype)


def _grid(affines: Affines, size: int) -> Float[Tensor, "batch size size 2"]:
    """Where each pixel comes from: torch's `affine_grid` without its matrix product, whose rounding may depend on the
    batch size and on TF32.
    """
    centres = (torch.arange(size, device=affines.device) * 2 + (1 - size)) / size
    x, y = centres[None, None, :, None], centres[None, :, None, None]
    across, down, shift = affines[:, None, None].unbind(-1)
    return across * x + down * y + shift


def draw_variations(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """All that `vary` needs for a step.

    Gamma of 0.7 to 1.5 and contrast of 0.75 to 1.25 are nnU-Net's ranges (Isensee et al. 2021); the others are ours.
    Each of gamma, contrast and noise touches half of the slices.

    Returns:
        `affines` `[count, 2, 3]` and `intensities` `[count, 3]` (gamma, contrast, noise), float32.
    """
    affines = draw_affines(rng, count, scales=0.25, degrees=20.0, shifts=0.1)
    low, high, nothing = np.array([[0.7, 0.75, 0.0], [1.5, 1.25, 0.1], [1.0, 1.0, 0.0]])
    touched, values = rng.random((count, 3)) < 0.5, low + (high - low) * rng.random((count, 3))
    return {"affines": affines, "intensities": np.where(touched, values, nothing).astype(np.float32)}


def vary(
    images: Images, masks: Classes, affines: Affines, intensities: Float[Tensor, "batch 3"]
) -> tuple[Images, Classes]:
    """Move images and masks, and change the images' intensities: u = contrast * u ** gamma + noise * normal.

    u is the intensity in [0, 1], and cut to it; background stays background, but for the noise. The normal draws are
    made where the images are, by torch's generator, which a checkpoint keeps as it does for dropout.
    """
    moved, classes = warp(images, masks, affines)
    gamma, contrast, noise = intensities[:, :, None, None, None].unbind(1)
    u = ((moved + 1) / 2).clamp(0, 1)
    u = contrast * u**gamma + noise * torch.randn_like(u)
    return u.clamp(0, 1) * 2 - 1, classes


STRONG = Augmentation(draw_variations, vary)
