"""What a segmenter's logits are trained on: binary cross-entropy, alone or with soft Dice beside it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float
from torch import Tensor

from crossmod.engine.state import Losses

# nnU-Net's: small beside a single pixel, and no division by zero.
SMOOTH = 1e-5


def soft_dice(logits: Float[Tensor, "batch rows columns"], truth: Float[Tensor, "batch rows columns"]) -> Tensor:
    """1 - (2 sum(p g) + s) / (sum(p) + sum(g) + s), with p = sigmoid(logits), g the truth, s = 1e-5.

    After Milletari et al. 2016, whose denominator has squares, in nnU-Net's form (Isensee et al. 2021), which has none
    and takes the sums over all pixels of the batch together ("batch Dice"): slices without the organ are then judged
    by what is found in them beside the others'. Where no slice of a batch shows the organ the loss is close to 1 and
    hardly changes: there cross-entropy alone teaches. With several processes each has the Dice of its own slices.

    Returns:
        A scalar.
    """
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * truth).sum() + SMOOTH) / (p.sum() + truth.sum() + SMOOTH)


def cross_entropy(logits: Float[Tensor, "batch rows columns"], truth: Float[Tensor, "batch rows columns"]) -> Losses:
    """Mean binary cross-entropy over all pixels, the loss of the paper's Keras U-Net."""
    return {"cross_entropy": F.binary_cross_entropy_with_logits(logits, truth)}


def dice_cross_entropy(
    logits: Float[Tensor, "batch rows columns"], truth: Float[Tensor, "batch rows columns"]
) -> Losses:
    """Soft Dice and cross-entropy, each with weight 1, as in nnU-Net."""
    return {**cross_entropy(logits, truth), "soft_dice": soft_dice(logits, truth)}


# Terms that are added up.
LOSSES: dict[str, Callable[[Tensor, Tensor], Losses]] = {
    "cross_entropy": cross_entropy,
    "dice_cross_entropy": dice_cross_entropy,
}
