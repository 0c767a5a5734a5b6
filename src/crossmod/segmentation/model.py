"""A segmenter ready to be trained: network, loss, optimizer, step."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossmod import registry
from crossmod.data.augment import STRONG, Augmentation
from crossmod.engine.optimizers import adam
from crossmod.engine.state import Batch, Losses, TrainingTask, no_random_draws
from crossmod.networks.unet import OWN, initialise, make_network
from crossmod.seeds import derive
from crossmod.segmentation.synthetic_use import weighted
from crossmod.settings import SegmentSettings

# nnU-Net's: small compared with a single pixel; avoids division by zero.
SMOOTH = 1e-5


Logits = Float[Tensor, "batch rows columns"] | Float[Tensor, "batch outputs rows columns"]
Truth = Float[Tensor, "batch rows columns"] | Int64[Tensor, "batch rows columns"]


def soft_dice(logits: Logits, truth: Truth, outputs: int = 1) -> Tensor:
    """1 - (2 sum(p g) + s) / (sum(p) + sum(g) + s), with p = sigmoid(logits), g the truth, s = 1e-5; a scalar.

    After Milletari et al. 2016, whose denominator has squares, in nnU-Net's form (Isensee et al. 2021), which has none
    and sums over all pixels of the batch ("batch Dice"), so that slices without the organ count too. If no slice of a
    batch shows the organ, the loss is close to 1 and hardly changes: only cross-entropy teaches then. With several
    processes each has the Dice of its own slices.

    Of several organs (`outputs` above 1): the mean of this over the organs, without the background, with p their
    softmax and g 1 where the class map has the organ, as nnU-Net does.
    """
    if outputs == 1:
        p, g = torch.sigmoid(logits), truth
        return 1 - (2 * (p * g).sum() + SMOOTH) / (p.sum() + g.sum() + SMOOTH)
    p = torch.softmax(logits, dim=1)[:, 1:]
    g = torch.stack([truth == number for number in range(1, outputs)], dim=1).to(p.dtype)
    common, both = (p * g).sum(dim=(0, 2, 3)), (p + g).sum(dim=(0, 2, 3))
    return (1 - (2 * common + SMOOTH) / (both + SMOOTH)).mean()


def cross_entropy(logits: Logits, truth: Truth, outputs: int = 1) -> Losses:
    """Mean binary cross-entropy over all pixels, the loss of the paper's Keras U-Net; of several organs: the mean over
    all pixels of -log(softmax(logits)) of the true class, background included."""
    if outputs == 1:
        return {"cross_entropy": F.binary_cross_entropy_with_logits(logits, truth)}
    return {"cross_entropy": F.cross_entropy(logits, truth)}


def dice_cross_entropy(logits: Logits, truth: Truth, outputs: int = 1) -> Losses:
    """Soft Dice and cross-entropy, each with weight 1, as in nnU-Net."""
    return {**cross_entropy(logits, truth, outputs), "soft_dice": soft_dice(logits, truth, outputs)}


def loss_of(settings: SegmentSettings) -> Callable[[Tensor, Tensor], Losses]:
    """The loss of `settings`: a function of the network's logits `[batch, outputs, rows, columns]` and of the class map
    `[batch, rows, columns]`, 0 for background."""
    member: Callable[..., Losses] = registry.member("segmentation_loss", settings.loss)
    outputs = settings.outputs
    if outputs == 1:
        return lambda logits, classes: member(logits[:, 0], (classes > 0).to(logits.dtype))
    return lambda logits, classes: member(logits, classes, outputs=outputs)


def build(settings: SegmentSettings, device: torch.device) -> TrainingTask:
    """The network of `settings`, trained with Adam on its loss."""
    network = begin(settings).to(device).train()
    optimizer = adam(network.parameters(), settings.learning_rate, (0.9, 0.999), device)
    if settings.weight_decay:
        # AdamW (Loshchilov & Hutter 2019), of all weights alike.
        for group in optimizer.param_groups:
            group.update(weight_decay=settings.weight_decay, decoupled_weight_decay=True)
    losses_of = loss_of(settings)
    augmentation = _augmentation(settings)

    def step(batch: Batch) -> Losses:
        image, mask, synthetic = batch["image"], batch["mask"], batch.get("synthetic")
        if augmentation is not None:
            # The last batch of an epoch may be smaller than what was drawn for it.
            own = ("image", "mask", "synthetic")
            drawn = {name: drawn[: len(image)] for name, drawn in batch.items() if name not in own}
            image, mask = augmentation.apply(image, mask, **drawn)
        logits = network(image)
        if synthetic is None:
            losses = losses_of(logits, mask)
        else:
            losses = weighted(losses_of, logits, mask, len(synthetic), settings.synthetic_weight)
        optimizer.zero_grad(set_to_none=True)
        torch.stack([*losses.values()]).sum().backward()
        optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def draw(rng: np.random.Generator) -> Batch:
        assert augmentation is not None
        return {name: torch.from_numpy(drawn) for name, drawn in augmentation.draw(rng, settings.batch_size).items()}

    return TrainingTask(
        networks={"segmenter": network},
        optimizers={"segmenter": optimizer},
        step=step,
        draw=no_random_draws if augmentation is None else draw,
    )


def begin(settings: SegmentSettings) -> nn.Module:
    """The network of `settings` with its initial weights, which depend only on the seed."""
    seed = derive(settings.seed, "weights", "segmenter")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network(settings.network, settings.size, settings.outputs)
        if settings.network in OWN:
            # Seeded again: the layers' own draws are discarded.
            torch.manual_seed(seed)
            initialise(network)
    return network


def _augmentation(settings: SegmentSettings) -> Augmentation | None:
    """What changes each batch; `augment` changes slices as they are gathered, in `data.batches`."""
    if settings.augmentation is not None:
        return cast(Augmentation, registry.member("augmentation", settings.augmentation))
    return STRONG if settings.strong_augment else None
