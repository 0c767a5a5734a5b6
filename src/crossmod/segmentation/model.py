"""A segmenter ready to be trained: network, loss, optimizer, step."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.data.augment import draw_variations, vary
from crossmod.engine.optimizers import adam
from crossmod.engine.state import Batch, Losses, TrainingTask, no_random_draws
from crossmod.networks.unet import OWN, initialise, make_network
from crossmod.seeds import derive
from crossmod.settings import SegmentSettings

# nnU-Net's: small compared with a single pixel; avoids division by zero.
SMOOTH = 1e-5


def soft_dice(logits: Float[Tensor, "batch rows columns"], truth: Float[Tensor, "batch rows columns"]) -> Tensor:
    """1 - (2 sum(p g) + s) / (sum(p) + sum(g) + s), with p = sigmoid(logits), g the truth, s = 1e-5; a scalar.

    After Milletari et al. 2016, whose denominator has squares, in nnU-Net's form (Isensee et al. 2021), which has none
    and sums over all pixels of the batch ("batch Dice"), so that slices without the organ count too. If no slice of a
    batch shows the organ, the loss is close to 1 and hardly changes: only cross-entropy teaches then. With several
    processes each has the Dice of its own slices.
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


def build(settings: SegmentSettings, device: torch.device) -> TrainingTask:
    """The network of `settings`, trained with Adam on its loss."""
    network = begin(settings).to(device).train()
    optimizer = adam(network.parameters(), settings.learning_rate, (0.9, 0.999), device)
    if settings.weight_decay:
        # AdamW (Loshchilov & Hutter 2019), of all weights alike.
        for group in optimizer.param_groups:
            group.update(weight_decay=settings.weight_decay, decoupled_weight_decay=True)
    losses_of = LOSSES[settings.loss]

    def step(batch: Batch) -> Losses:
        image, mask = _varied(batch) if settings.strong_augment else (batch["image"], batch["mask"])
        logits = network(image)[:, 0]
        losses = losses_of(logits, (mask > 0).to(logits.dtype))
        optimizer.zero_grad(set_to_none=True)
        torch.stack([*losses.values()]).sum().backward()
        optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def draw(rng: np.random.Generator) -> Batch:
        return {name: torch.from_numpy(drawn) for name, drawn in draw_variations(rng, settings.batch_size).items()}

    return TrainingTask(
        networks={"segmenter": network},
        optimizers={"segmenter": optimizer},
        step=step,
        draw=draw if settings.strong_augment else no_random_draws,
    )


def begin(settings: SegmentSettings) -> nn.Module:
    """The network of `settings` with its initial weights, which depend only on the seed."""
    seed = derive(settings.seed, "weights", "segmenter")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network(settings.network, settings.size)
        if settings.network in OWN:
            # Seeded again: the layers' own draws are discarded.
            torch.manual_seed(seed)
            initialise(network)
    return network


def _varied(batch: Batch) -> tuple[Tensor, Tensor]:
    # The last batch of an epoch may be smaller than what was drawn for it.
    count = len(batch["image"])
    return vary(batch["image"], batch["mask"], batch["affines"][:count], batch["intensities"][:count])
