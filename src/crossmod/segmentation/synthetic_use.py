"""How a segmenter uses synthetic slices beside real ones: share of real slices, weight of the loss, pre-training.

With the defaults none of this file is used: slices are mixed as they come (`data.batches.LabelledBatches`).

Notable: every batch depends only on the seed and its step, so that a run resumes with the same batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from crossmod.data.batches import LabelledBatches, order
from crossmod.engine.state import Batches, Losses
from crossmod.segmentation.data import Split
from crossmod.settings import SegmentSettings


@dataclass(frozen=True, eq=False)
class MixedBatches:
    """Batches of real and synthetic slices, by `real_share`, `pretrain` and `synthetic_weight`.

    All batches are full, and an epoch has as many steps as without these settings; which slices it passes how often
    follows from them. In each batch real slices come first; with `synthetic_weight`, `synthetic` is an empty tensor
    whose length is the number of synthetic slices, `[count]`: its shape is known without waiting for the device.
    """

    slices: LabelledBatches  # of two parts, real and synthetic

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.slices.steps

    def batch(self, epoch: int, step: int) -> dict[str, Tensor]:
        """As of `LabelledBatches`."""
        real, synthetic = map(len, self.slices.parts)
        settings, ranks = self.slices.settings, self.slices.ranks
        chosen = chosen_slices(real, synthetic, settings, self.steps, epoch, step, ranks=ranks, rank=self.slices.rank)
        begin = (step * ranks + self.slices.rank) * settings.batch_size
        count = self.steps * settings.batch_size * ranks
        batch = self.slices.gather(chosen, epoch, count, slice(begin, begin + settings.batch_size))
        if settings.synthetic_weight != 1:
            batch["synthetic"] = torch.empty(int((chosen >= real).sum()), device=self.slices.device)
        return batch


def batches_of(sides: Split, settings: SegmentSettings, device: torch.device, *, rank: int, ranks: int) -> Batches:
    """The batches of a training: `MixedBatches` if it has slices of both kinds and a setting for their use."""
    slices = LabelledBatches(sides.parts, settings, device, rank=rank, ranks=ranks)
    asked = settings.real_share or settings.pretrain or settings.synthetic_weight != 1
    return MixedBatches(slices) if asked and len(sides.parts) == 2 else slices


def chosen_slices(
    real: int,
    synthetic: int,
    settings: SegmentSettings,
    steps: int,
    epoch: int,
    step: int,
    *,
    rank: int = 0,
    ranks: int = 1,
) -> Int[np.ndarray, " batch"]:
    """The slices of a step of one rank, real ones first: indexes below `real`, then up to `real + synthetic`.

    - `pretrain`: the first round(pretrain x all steps) steps take synthetic slices only, the others real ones only.
    - `real_share`: ceil(real_share x batch) slices are real, the others are drawn from all slices.
    - otherwise all are drawn from all slices.

    Each kind is taken in whole shuffles, one after another in an epoch.
    """

    def taken(total: int, count: int, name: str) -> Int[np.ndarray, " taken"]:
        places = order(total, steps * count * ranks, settings.seed, name, epoch)
        begin = (step * ranks + rank) * count
        return places[begin : begin + count]

    size = settings.batch_size
    if settings.pretrain:
        first = round(settings.pretrain * (settings.steps or settings.epochs * steps))
        if epoch * steps + step < first:
            return taken(synthetic, size, "synthetic") + real
        return taken(real, size, "real")
    # Shares such as 0.3 of 10 must not become 4 by rounding errors.
    sure = ceil(round(settings.real_share * size, 9))
    parts = [taken(real, sure, "real")] if sure else []
    parts += [taken(real + synthetic, size - sure, "all")] if sure < size else []
    chosen = np.concatenate(parts)
    return chosen[np.argsort(chosen >= real, kind="stable")]


def weighted(
    losses_of: Callable[[Tensor, Tensor], Losses],
    logits: Float[Tensor, "batch ..."],
    truth: Shaped[Tensor, "batch ..."],
    synthetic: int,
    weight: float,
) -> Losses:
    """The losses of a batch whose last `synthetic` slices count `weight` times: (R L_r + w C L_c) / (R + w C).

    L_r and L_c are the losses of its R real and C synthetic slices on their own. For a mean over pixels, such as
    cross-entropy, this is the weighted mean; soft Dice, which is of a batch, is taken of each kind.
    """
    real = len(logits) - synthetic
    if not real or not synthetic:
        return losses_of(logits, truth)
    of_real, of_synthetic = losses_of(logits[:real], truth[:real]), losses_of(logits[real:], truth[real:])
    total = real + weight * synthetic
    return {name: (real * of_real[name] + weight * synthetic * of_synthetic[name]) / total for name in of_real}
