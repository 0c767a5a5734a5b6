"""Slices of a CT that lie on another scale than their neighbours: one file whose rescale is wrong among right ones.

Notable:
- One histogram of the whole volume does not show it: eight slices of which one is 1024 too high look like HU.
- A slice is held against the voxels beside it, not against HU. From slice to slice most voxels stay air or stay
  tissue: no anatomy moves nine tenths of a slice the same way, nor of the tissue or the air that both neighbours show.
- A blank slice says nothing, and neither does a small one.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

# Of real and made-up CT, also of every fifth slice and of fields of a quarter of the width, no slice moved so far.
MOST_MOVED = 300.0
# Share of the voxels that must move at least so far, and how many must be looked at: a slice of 23 x 23 pixels.
MOVED_SHARE, LEAST_PIXELS = 0.9, 512
# Pixels of a slice that are looked at, about.
LOOKED_AT = 4096
# Neighbours that differ less than this show the same; above the limit it is tissue. Padding below air is air.
SAME, TISSUE_ABOVE, LOWEST = 150.0, -500.0, -1024.0
# Of one value in so many voxels a slice is blank.
BLANK = 0.99


def odd_slices(voxels: Shaped[np.ndarray, "slices rows columns"]) -> tuple[tuple[int, float], ...]:
    """The slices that lie apart from the others, from 0, and how far: the median of what their voxels moved.

    Args:
        voxels: HU, the slices in their order along the first axis.
    """
    step = max(1, int(math.sqrt(voxels[0].size / LOOKED_AT)))
    seen = voxels[:, ::step, ::step]
    flat = np.maximum(seen.reshape(len(seen), -1).astype(np.float32), LOWEST)
    if flat.shape[1] < LEAST_PIXELS:
        return ()
    told = [index for index, one in enumerate(flat) if not _blank(one)]
    steps = [_moved(flat[before], flat[after]) for before, after in itertools.pairwise(told)]
    odd = dict(_apart(told, steps))
    for before, index, after in zip(told, told[1:], told[2:], strict=False):
        if not {before, index, after} & set(odd):
            shared = _shared(flat[before], flat[after])
            moved = max((_moved(mean, flat[index][where]) for mean, where in shared), key=abs)
            if moved:
                odd[index] = moved
    return tuple(sorted(odd.items()))


def _apart(told: Sequence[int], steps: Sequence[float]) -> list[tuple[int, float]]:
    """The slices that are not on the level of most: levels rise and fall by the steps from slice to slice."""
    levels = np.concatenate([[0.0], np.cumsum(steps)])
    if not np.any(levels):
        return []
    # Levels that differ by less than a step that counts are one.
    most = max(levels, key=lambda level: int(np.count_nonzero(np.abs(levels - level) < MOST_MOVED)))
    return [
        (at, float(level - most)) for at, level in zip(told, levels, strict=True) if abs(level - most) >= MOST_MOVED
    ]


def _moved(before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"]) -> float:
    """How far the voxels moved, where nearly all of them went the same way by more than anatomy does; else 0."""
    if len(before) < LEAST_PIXELS:
        return 0.0
    change = after - before
    low, middle, high = np.percentile(change, (100 * (1 - MOVED_SHARE), 50, 100 * MOVED_SHARE))
    return float(middle) if low > MOST_MOVED or high < -MOST_MOVED else 0.0


def _shared(
    before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"]
) -> Iterator[tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " n"]]]:
    """Where two slices show the same tissue, and where the same air, with their mean there."""
    mean, same = (before + after) / 2, np.abs(after - before) < SAME
    for where in (same & (mean > TISSUE_ABOVE), same & (mean <= TISSUE_ABOVE)):
        yield mean[where], where


def _blank(one: Float[np.ndarray, " n"]) -> bool:
    low, high = np.percentile(one, (50 * (1 - BLANK), 100 - 50 * (1 - BLANK)))
    return bool(low == high)
