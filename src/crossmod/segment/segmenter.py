"""A segmenter, ready to be trained: network, optimizer, step."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows

from crossmod.engine.optimizers import adam
from crossmod.engine.trainee import Batch, Losses, Trainee
from crossmod.seeds import derive
from crossmod.segment.networks import NETWORKS, initialise
from crossmod.settings import SegmentSettings


def build(settings: SegmentSettings, device: torch.device) -> Trainee:
    """The network of `settings`, trained with Adam on binary cross-entropy, the loss of the paper's Keras U-Net."""
    network = NETWORKS[settings.network]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(settings.seed, "weights", "segmenter"))
        initialise(network)
    network.to(device).train()
    optimizer = adam(network.parameters(), settings.learning_rate, (0.9, 0.999), device)

    def step(batch: Batch) -> Losses:
        logits = network(batch["image"])[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, (batch["mask"] > 0).to(logits.dtype))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"cross_entropy": loss.detach()}

    return Trainee(networks={"segmenter": network}, optimizers={"segmenter": optimizer}, step=step)
