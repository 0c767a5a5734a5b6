"""Guided: a synthesizer that a frozen segmentor keeps in place, for labelled source slices.

CycleGAN's losses with these parts in place of EssNet's:

- Generators repeat and convolve pixels where CycleGAN's have transposed convolutions, which leave a checkerboard.
- The segmentor S was trained before, on source slices with random contrast (`train_segmentor`), and stays as it is. A
  segmentor that is trained together with the generator learns whatever shift the generator makes; this one knows where
  organs are. Its loss, cross-entropy and soft Dice, replaces Eq. 5 of Rafiq et al. 2025.
- Discriminators see each image moved at random (Zhao et al. 2020, DiffAugment), so that they do not know real images
  by their place in the frame, which the generators cannot change.
- Each target slice of a batch is drawn from those at about the height of the source's slice, between the ends of the
  organs (`data.batches`), so that discriminators do not know real images by which organs they show.

What each part brought, and what was left out since it did not help, is in docs/log.md.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.engine.state import Batch, TrainingTask
from crossmod.networks.blocks import PatchGAN, ResNet
from crossmod.networks.unet import make_network
from crossmod.segmentation.model import dice_cross_entropy
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan
from crossmod.synthesis.families import Family

NETWORK = "tiny_instance"
# Of the image's side, by which an image that a discriminator sees is moved at most.
SHIFT = 1 / 16


class Segmentor(nn.Module):
    """S: a segmenter whose logits always include those of the background."""

    def __init__(self, network: nn.Module, organs: int):
        super().__init__()
        self.network, self.organs = network, organs

    def forward(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch classes rows columns"]:
        """Images in [-1, 1] to logits of background and of each organ."""
        logits = self.network(x)
        # The logit of one organ alone is that against a background of 0.
        return F.pad(logits, (0, 0, 0, 0, 1, 0)) if self.organs == 1 else logits


def generators(settings: TranslateSettings) -> dict[str, nn.Module]:
    """G1 (CT to MR) and G2 (MR to CT)."""
    s = settings
    return {
        name: ResNet(s.stack, s.generator_filters, s.generator_blocks, inputs=s.stack, repeated=True)
        for name in ("G1", "G2")
    }


def segmentor(settings: TranslateSettings) -> Segmentor:
    """The untrained S."""
    organs = len(settings.organs)
    return Segmentor(make_network(NETWORK, settings.size, 1 if organs == 1 else 1 + organs), organs)


def build(settings: TranslateSettings, device: torch.device) -> TrainingTask:
    """Guided generators, discriminators of images that are moved at random, and S, which is not trained."""
    s, target, classes = settings, settings.target, 1 + len(settings.organs)
    S = segmentor(s).to(device).eval().requires_grad_(False)
    discriminators = {
        name: PatchGAN(s.discriminator_filters, s.discriminator_layers, inputs=s.stack) for name in ("D1", "D2")
    }

    def on_labels(batch: Batch, fakes: Mapping[str, Tensor]) -> cyclegan.Terms:
        if target not in fakes:
            return {}
        losses = dice_cross_entropy(S(fakes[target][:, :1]), batch["mask"], outputs=classes)
        return {"segmentation": (s.lambda_5, torch.stack([*losses.values()]).sum())}

    networks = {**generators(s), **discriminators}
    task = cyclegan.build(s, device, networks=networks, term=on_labels, shift=max(round(SHIFT * s.size), 1))
    return replace(task, networks={**task.networks, "S": S})


FAMILY = Family(
    title="Guided",
    build=build,
    generators=generators,
    segmentor=segmentor,
    segmentor_first=True,
    reference="crossmod, with parts of CycleGAN (Zhu et al., ICCV 2017), EssNet (Huo et al., ISBI 2018), "
    "GIN (Ouyang et al., IEEE TMI 2022) and DiffAugment (Zhao et al., NeurIPS 2020)",
)
