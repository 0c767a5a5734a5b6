"""A segmenter, ready to be trained: network, optimizer, step."""

import numpy as np
import torch
from torch import Tensor, nn

from crossmod.data.augment import draw_variations, vary
from crossmod.engine.optimizers import adam
from crossmod.engine.state import Batch, Losses, Trainee, no_draws
from crossmod.networks.unet import OWN, initialise, make_network
from crossmod.seeds import derive
from crossmod.segment.losses import LOSSES
from crossmod.settings import SegmentSettings


def build(settings: SegmentSettings, device: torch.device) -> Trainee:
    """The network of `settings`, trained with Adam on its loss.

    Raises:
        InputError: the network is MONAI's, and MONAI is not installed.
    """
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

    return Trainee(
        networks={"segmenter": network},
        optimizers={"segmenter": optimizer},
        step=step,
        draw=draw if settings.strong_augment else no_draws,
    )


def begin(settings: SegmentSettings) -> nn.Module:
    """The network of `settings` with the weights that it begins with, which depend on the seed alone."""
    seed = derive(settings.seed, "weights", "segmenter")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network(settings.network, settings.size)
        if settings.network in OWN:
            # Anew: what the layers drew for themselves when they were made is thrown away.
            torch.manual_seed(seed)
            initialise(network)
    return network


def _varied(batch: Batch) -> tuple[Tensor, Tensor]:
    # The last batch of an epoch may be smaller than what was drawn for it.
    count = len(batch["image"])
    return vary(batch["image"], batch["mask"], batch["affines"][:count], batch["intensities"][:count])
