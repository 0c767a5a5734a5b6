"""Batches: any step of any epoch, the same whenever it is asked for."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from crossmod.data.augment import cut, draw_affine, draw_crop, warp
from crossmod.data.slices import SliceSet
from crossmod.seeds import rng
from crossmod.settings import SegmentSettings, TranslateSettings


@lru_cache(maxsize=8)
def order(total: int, wanted: int, seed: int, *names: str | int) -> np.ndarray:
    """`wanted` indexes below `total`: one shuffle after another, each shuffle whole before the next begins."""
    generator = rng(seed, "order", *names)
    rounds = [generator.permutation(total) for _ in range(-(-wanted // total))]
    indexes = np.concatenate(rounds)[:wanted]
    indexes.flags.writeable = False  # every step of an epoch is given the same array
    return indexes


@dataclass(frozen=True, eq=False)
class UnpairedBatches:
    """Batches of CT and MR slices that have nothing to do with each other.

    An epoch passes once over the larger set; the smaller one is shuffled anew as often as it takes. Each modality
    has its own order: the two are never mixed.

    Args:
        ct: CT slices.
        mr: MR slices.
        settings: sizes, augmentation and seed.
        device: where the batches go.
    """

    ct: SliceSet
    mr: SliceSet
    settings: TranslateSettings
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-max(len(self.ct), len(self.mr)) // self.settings.batch_size)

    def batch(self, epoch: int, step: int) -> dict[str, Tensor]:
        """`ct` and `mr`: `[batch, 1, size, size]`; `mask`: `[batch, size, size]`, classes of the source's slices."""
        given: dict[str, Tensor] = {}
        for name, slices in (("ct", self.ct), ("mr", self.mr)):
            images, masks = self._part(name, slices, epoch, step)
            given[name] = images
            if masks is not None and name == self.settings.source:
                given["mask"] = masks
        return given

    def _part(self, name: str, slices: SliceSet, epoch: int, step: int) -> tuple[Tensor, Tensor | None]:
        size, count, seed = self.settings.size, self.settings.batch_size, self.settings.seed
        chosen = order(len(slices), self.steps * count, seed, name, epoch)[step * count : (step + 1) * count]
        generator = rng(seed, "augment", name, epoch, step)
        images, masks = [], []
        for index in chosen:
            crop = draw_crop(generator, slices.images.shape[-1], size, flip=self.settings.flip)
            images.append(cut(torch.from_numpy(slices.images[index]), crop, size))
            if slices.masks is not None:
                masks.append(cut(torch.from_numpy(slices.masks[index]), crop, size))
        labels = torch.stack(masks).long().to(self.device) if masks else None
        return torch.stack(images)[:, None].to(self.device), labels


@dataclass(frozen=True, eq=False)
class LabelledBatches:
    """Batches of labelled slices of one modality, real and synthetic mixed.

    Args:
        parts: slice sets that are trained on together.
        settings: augmentation and seed.
        device: where the batches go.
    """

    parts: tuple[SliceSet, ...]
    settings: SegmentSettings
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps an epoch: images / batch, as in the paper."""
        return -(-sum(len(part) for part in self.parts) // self.settings.batch_size)

    def batch(self, epoch: int, step: int) -> dict[str, Tensor]:
        """`image`: `[batch, 1, size, size]`; `mask`: `[batch, size, size]`."""
        total, count, seed = sum(len(part) for part in self.parts), self.settings.batch_size, self.settings.seed
        chosen = order(total, total, seed, epoch)[step * count : (step + 1) * count]
        images, masks = zip(*(self._slice(int(index)) for index in chosen), strict=True)
        image, mask = torch.stack(images)[:, None], torch.stack(masks).long()
        if self.settings.augment:
            image, mask = warp(image, mask, draw_affine(rng(seed, "augment", epoch, step), len(chosen)))
        return {"image": image.to(self.device), "mask": mask.to(self.device)}

    def _slice(self, index: int) -> tuple[Tensor, Tensor]:
        for part in self.parts:
            if index < len(part):
                assert part.masks is not None
                return torch.from_numpy(part.images[index]), torch.from_numpy(part.masks[index])
            index -= len(part)
        raise IndexError(index)
