"""Batches: any step of any epoch, the same whenever it is requested.

- Slices are put on the device once, as int16 and uint8, and batches are gathered there: a step reads and sends no data.
  What an epoch draws is drawn and sent at its first step.
- Slices that would take more than half of the free memory of a CUDA device stay on the host, and each batch is sent.
- With several ranks, a step takes `batch_size * ranks` positions of the epoch's order, and each rank its part of them:
  2 ranks with 1 slice each see what 1 rank with 2 sees, augmentation included.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int16, Int64, Shaped, UInt8
from torch import Tensor

from crossmod.data.augment import Held, cut, draw_affines, draw_crops, warp, windows
from crossmod.data.slices import PIXEL_STEP, SliceSet
from crossmod.seeds import rng
from crossmod.settings import SegmentSettings, TranslateSettings

HOST = torch.device("cpu")
# One tensor on a device; on the host one per slice, where parts stay separate.
Stack = Tensor | list[Tensor]


@lru_cache(maxsize=8)
def order(total: int, count: int, seed: int, *names: str | int) -> np.ndarray:
    """`count` indexes below `total`: whole shuffles of all of them, one after another."""
    generator = rng(seed, "order", *names)
    rounds = [generator.permutation(total) for _ in range(-(-count // total))]
    indexes = np.concatenate(rounds)[:count]
    indexes.flags.writeable = False  # every step of an epoch is given the same array
    return indexes


@dataclass(frozen=True, eq=False)
class UnpairedBatches:
    """Batches of unrelated CT and MR slices: a set, or one for each input and each image of a stack, in the same order.

    An epoch passes once over the larger set; the smaller one is reshuffled as often as needed. Each modality has its
    own order; if they are `matched`, each slice of the target is drawn from those at about the height of the slice of
    the source (`heights`). `ranks` processes share the slices of each step; this one is `rank`, from 0.
    """

    ct: SliceSet | tuple[SliceSet, ...]
    mr: SliceSet | tuple[SliceSet, ...]
    settings: TranslateSettings
    device: torch.device
    rank: int = 0
    ranks: int = 1
    matched: bool = False

    @property
    def steps(self) -> int:
        """Steps an epoch, of all ranks together."""
        most = max(len(inputs[0]) for inputs in self._sides.values())
        return -(-most // (self.settings.batch_size * self.ranks))

    @property
    def _sides(self) -> dict[str, tuple[SliceSet, ...]]:
        sides = {"ct": self.ct, "mr": self.mr}
        return {name: sets if isinstance(sets, tuple) else (sets,) for name, sets in sides.items()}

    def batch(self, epoch: int, step: int) -> dict[str, Tensor]:
        """`ct`: `[batch, stack, size, size]`; `mr`: `[batch, inputs * stack, size, size]`, an input after the other.

        Where the source has labels also `mask`: `[batch, size, size]`, the classes of the slices themselves.
        """
        settings, (at, pixels, masks) = self.settings, self._held
        mine = _part(step, settings.batch_size, self.rank, self.ranks)
        count = self.steps * settings.batch_size * self.ranks
        batch: dict[str, Tensor] = {}
        for name, (first, *_) in self._sides.items():
            frame = (first.size, settings.size, settings.flip)
            places = _crops(len(first), count, frame, settings.seed, name, epoch, at)[:, mine]
            if self.matched and name == settings.target:
                # A copy: tables are shared.
                places = _with_slices(places, self._matches(epoch, count)[mine])
            parts = [_images(cut(one, places, flip=settings.flip), self.device) for one in pixels[name]]
            batch[name] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            if name in masks:
                batch["mask"] = _classes(cut(masks[name], places, flip=settings.flip), self.device)
        return batch

    @cached_property
    def _matches(self) -> Callable[[int, int], Held]:
        """Of an epoch and its length, the target's slices, each at the height of the source's; kept for two epochs."""
        s = self.settings
        source, target = (self._sides[side][0] for side in (s.source, s.target))
        ends = heights(source), heights(target)

        @lru_cache(maxsize=2)
        def of(epoch: int, count: int) -> Held:
            own = order(len(source), count, s.seed, s.source, epoch)
            return _table(drawn_near(ends[0][own], ends[1], rng(s.seed, "matched", epoch)), self._held[0])

        return of

    @cached_property
    def _held(self) -> tuple[torch.device, dict[str, list[Held]], dict[str, Held]]:
        """Where the slices are; by modality, pixels of each input and, of the source alone, masks, as `windows`."""
        arrays = {name: [one.pixels for one in inputs] for name, inputs in self._sides.items()}
        of_source = self._sides[self.settings.source][0].masks
        classes = {} if of_source is None else {self.settings.source: of_source}
        at = data_device([*itertools.chain(*arrays.values()), *classes.values()], self.device)

        def held(array: np.ndarray) -> Held:
            return windows(array if at == HOST else torch.from_numpy(array).to(at), self.settings.size)

        return (
            at,
            {name: [held(array) for array in inputs] for name, inputs in arrays.items()},
            {name: held(array) for name, array in classes.items()},
        )


# Of the target's slices, the share among which a match is drawn.
NEAR = 0.1


def heights(slices: SliceSet) -> Float[np.ndarray, " slices"]:
    """How high each slice lies between the lowest and the highest slice of its case in the set, from 0 to 1."""
    numbers: dict[str, list[int]] = {}
    for key in slices.keys:
        numbers.setdefault(key.case, []).append(key.slice)
    ends = {case: (min(own), max(own)) for case, own in numbers.items()}
    lows, highs = (np.array([ends[key.case][end] for key in slices.keys]) for end in (0, 1))
    own = np.array([key.slice for key in slices.keys])
    return np.where(highs > lows, (own - lows) / np.maximum(highs - lows, 1), 0.5)


def drawn_near(
    wanted: Float[np.ndarray, " count"], there: Float[np.ndarray, " slices"], generator: np.random.Generator
) -> Int64[np.ndarray, " count"]:
    """For each of these heights the index of one slice, drawn from the tenth of them that is nearest to it."""
    by_height = np.argsort(there, kind="stable")
    rising, most = there[by_height], max(1, round(NEAR * len(there)))
    # The nearest ones stand together: where they begin is found by halving.
    low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(there) - most)
    while (low < high).any():
        middle = (low + high) // 2
        after = rising[np.minimum(middle + most, len(there) - 1)]
        later = (low < high) & (wanted - rising[middle] > after - wanted)
        low, high = np.where(later, middle + 1, low), np.where(later, high, middle)
    return by_height[low + np.floor(generator.random(len(wanted)) * most).astype(np.int64)]


@dataclass(frozen=True, eq=False)
class LabelledBatches:
    """Batches of labelled slices of one modality, real and synthetic mixed; each slice once per epoch.

    With several ranks the last step is filled from a second shuffle, so that all ranks take the same number of slices;
    with one rank it may be smaller. `rank` and `ranks` as in `UnpairedBatches`.
    """

    parts: tuple[SliceSet, ...]
    settings: SegmentSettings
    device: torch.device
    rank: int = 0
    ranks: int = 1

    @property
    def steps(self) -> int:
        """Steps an epoch, of all ranks together: images / batch, as in the paper."""
        return -(-self._total // (self.settings.batch_size * self.ranks))

    def batch(self, epoch: int, step: int) -> dict[str, Tensor]:
        """`image`: `[batch, 1, size, size]`; `mask`: `[batch, size, size]`."""
        settings, (at, *_) = self.settings, self._held
        mine = _part(step, settings.batch_size, self.rank, self.ranks)
        count = self._total if self.ranks == 1 else self.steps * settings.batch_size * self.ranks
        return self.gather(_chosen(self._total, count, settings.seed, epoch, at)[mine], epoch, count, mine)

    def gather(self, chosen: Held, epoch: int, count: int, mine: slice) -> dict[str, Tensor]:
        """The batch of the slices with these indexes, augmented as the positions `mine` of an epoch of `count`."""
        settings, (at, pixels, masks) = self.settings, self._held
        chosen = _table(chosen, at) if isinstance(chosen, np.ndarray) else chosen
        image, mask = _images(_gathered(pixels, chosen), self.device), _classes(_gathered(masks, chosen), self.device)
        if settings.augment:
            image, mask = warp(image, mask, _affines(count, settings.seed, epoch, self.device)[mine])
        return {"image": image, "mask": mask}

    @cached_property
    def _total(self) -> int:
        return sum(len(part) for part in self.parts)

    @cached_property
    def _held(self) -> tuple[torch.device, Stack, Stack]:
        """Where the slices are, pixels and masks of all parts."""
        pixels, masks = [part.pixels for part in self.parts], [part.masks for part in self.parts]
        labelled = [array for array in masks if array is not None]
        assert len(labelled) == len(masks)
        at = data_device([*pixels, *labelled], self.device)
        return at, _stack(pixels, at), _stack(labelled, at)


def _part(step: int, count: int, rank: int, ranks: int) -> slice:
    """The positions of an epoch that a rank takes in a step."""
    begin = (step * ranks + rank) * count
    return slice(begin, begin + count)


@lru_cache(maxsize=8)
def _crops(
    total: int, count: int, frame: tuple[int, int, bool], seed: int, name: str, epoch: int, at: torch.device
) -> Held:
    """`[4, count]`: slice, top, left and whether mirrored, for each position of an epoch."""
    loaded, size, flip = frame
    crops = draw_crops(rng(seed, "augment", name, epoch), count, loaded, size, flip=flip)
    return _table(np.concatenate([order(total, count, seed, name, epoch)[None], crops]), at)


def _with_slices(places: Held, slices: Held) -> Held:
    """The same crops of other slices."""
    if isinstance(places, Tensor):
        return torch.cat([torch.as_tensor(slices, device=places.device)[None], places[1:]])
    return np.concatenate([np.asarray(slices)[None], places[1:]])


@lru_cache(maxsize=8)
def _chosen(total: int, count: int, seed: int, epoch: int, at: torch.device) -> Held:
    return _table(order(total, count, seed, epoch), at)


@lru_cache(maxsize=8)
def _affines(count: int, seed: int, epoch: int, device: torch.device) -> Float[Tensor, "count 2 3"]:
    return _sent(torch.from_numpy(draw_affines(rng(seed, "augment", epoch), count)), device)


def data_device(arrays: Sequence[np.ndarray], device: torch.device) -> torch.device:
    """Where slices are held: on the device, unless that would take more than half of what is free there."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return device if sum(array.nbytes for array in arrays) <= free / 2 else HOST
    return HOST if device.type == "cpu" else device


def _stack(arrays: Sequence[np.ndarray], at: torch.device) -> Stack:
    """Slices of several sets: on the host their own memory, elsewhere one tensor."""
    tensors = [torch.from_numpy(array) for array in arrays]
    if at == HOST:
        return [one for tensor in tensors for one in tensor]
    counts = [len(tensor) for tensor in tensors]
    joined = torch.empty((sum(counts), *tensors[0].shape[1:]), dtype=tensors[0].dtype, device=at)
    # Part by part: no second copy, on either side.
    for place, tensor in zip(joined.split(counts), tensors, strict=True):
        place.copy_(tensor)
    return joined


def _gathered(stack: Stack, chosen: Held) -> Shaped[Tensor, "batch size size"]:
    # On the host the quickest way for a few slices that lie in several arrays; on a device one gather.
    return stack[chosen] if isinstance(stack, Tensor) else torch.stack([stack[i] for i in chosen.tolist()])


def _table(table: np.ndarray, at: torch.device) -> Held:
    """A table of draws next to what it chooses from."""
    return table if at == HOST else _sent(torch.tensor(table), at)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it; CUDA can do that from pinned memory alone."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _images(pixels: Int16[Tensor, "batch size size"], device: torch.device) -> Float[Tensor, "batch 1 size size"]:
    """Sent as int16, in [-1, 1] from there on."""
    return _sent(pixels, device)[:, None].float().mul_(PIXEL_STEP)


def _classes(masks: UInt8[Tensor, "batch size size"], device: torch.device) -> Int64[Tensor, "batch size size"]:
    return _sent(masks, device).long()
