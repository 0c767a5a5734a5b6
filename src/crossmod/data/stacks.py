"""Stacks: a slice and those above and below it, which a network sees together (2.5D).

Notable:
- The slice itself is the first of its stack; then come the next ones towards the feet and towards the head, and so on
  outwards. So what is done with the first image of a stack is done with the slice, whatever the height of the stack.
- The distance is in millimetres, and the same for CT and MR: slices of CT often lie four times as close. A
  discriminator that is shown neighbours would otherwise tell CT from MR by how little they differ.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Num

from crossmod.data.slices import SliceKey, SliceSet, resampled, to_pixels
from crossmod.data.store import CaseRecord
from crossmod.data.volume import Volume
from crossmod.progress import track

log = logging.getLogger(__name__)


def offsets(height: int, apart_mm: float, spacing_mm: float) -> tuple[int, ...]:
    """Which slices make a stack, counted from the slice itself, as near to the wanted distance as there are any.

    Args:
        height: slices of a stack: 1, 3, 5, ...
        apart_mm: distance from one to the next.
        spacing_mm: distance of neighbours in the volume. Where it is more than `apart_mm`, neighbours are taken.
    """
    step = max(1, round(apart_mm / spacing_mm))
    return (0, *(sign * step * far for far in range(1, height // 2 + 1) for sign in (-1, 1)))


def places(slices: Sequence[int], offset: int, count: int) -> list[int]:
    """Where the slices at `offset` from some slices lie; beyond either end of `count` slices, the last one."""
    return [min(max(index + offset, 0), count - 1) for index in slices]


def stack_of(
    voxels: Num[np.ndarray, "all rows columns"], slices: Sequence[int], of_stack: Sequence[int]
) -> Num[np.ndarray, "slices stack rows columns"]:
    """The stack of each of some slices of a volume."""
    return np.stack([voxels[places(slices, offset, len(voxels))] for offset in of_stack], axis=1)


def load_beside(
    slices: SliceSet,
    cases: Iterable[CaseRecord],
    of_stack: Callable[[CaseRecord], Sequence[int]],
    read: Callable[[CaseRecord], Volume],
) -> tuple[SliceSet, ...]:
    """The rest of the stacks of slices that are loaded: a set for each offset, in the order of `slices`, without masks.

    Args:
        slices: the slices themselves.
        cases: those that they come from, and maybe others.
        of_stack: the offsets of a case; as many for each.
        read: gives the volume of a case.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(slices.keys):
        rows.setdefault(key.case, []).append(row)
    used = [record for record in cases if record.id in rows]
    count = len(of_stack(used[0])) - 1
    pixels = [np.empty_like(slices.pixels) for _ in range(count)]
    keys = [list(slices.keys) for _ in range(count)]
    beyond = 0
    for record in track(used, f"Reading the neighbours of {len(slices)} slices"):
        volume, own = read(record), rows[record.id]
        middle = [slices.keys[row].slice for row in own]
        wanted = [places(middle, offset, len(volume.voxels)) for offset in of_stack(record)[1:]]
        beyond += sum(
            not 0 <= index + offset < len(volume.voxels) for index in middle for offset in of_stack(record)[1:]
        )
        needed = sorted({index for one in wanted for index in one})
        step = slices.intensities[record.id]
        runs = resampled(volume.with_labels(None, {}), needed, slices.frame(record))
        found = np.concatenate([to_pixels(step.to_model(run.voxels)) for run in runs])
        for into, names, one in zip(pixels, keys, wanted, strict=True):
            into[own] = found[np.searchsorted(needed, one)]
            for row, index in zip(own, one, strict=True):
                names[row] = SliceKey(record.id, record.patient, index)
    if beyond > count * len(slices) / 2:
        log.warning("More than half of the neighbours lie beyond the ends of their volumes: stacks show little.")
    return tuple(
        replace(slices, pixels=into, masks=None, keys=tuple(names)) for into, names in zip(pixels, keys, strict=True)
    )
