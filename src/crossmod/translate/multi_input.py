"""CycleGAN with several registered MR inputs and one CT output (Crespi et al., "Methodology", Fig. 2c).

Notable:
- MR to CT: one branch an input (encoder, four residual blocks), merged in the latent space, then decoded. The paper
  does not say how the branches are merged; here they are put side by side and a 1 x 1 convolution brings them back to
  the width of one. The residual blocks that the single-input network has beyond those of a branch follow the merge.
- CT to MR: one encoder and one latent space, one decoder an input, so that the cycle closes over all of them.
- One discriminator for CT and one for each input. Adversarial and cycle terms are means over the inputs, so that the
  weights of the losses mean the same however many there are.
- With one input it is CycleGAN, to the last weight.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.engine.layers import Stack
from crossmod.engine.trainee import Trainee
from crossmod.settings import TranslateSettings
from crossmod.translate import cyclegan
from crossmod.translate.networks import InstanceNorm, PatchGAN, ResidualBlock, decoder, encoder


class Merge(nn.Module):
    """Several images in, one out.

    Args:
        inputs: images that come in.
        filters: width of the first layer.
        blocks: residual blocks that each input passes.
        branch_blocks: how many of them lie before the merge.
    """

    def __init__(self, inputs: int, filters: int, blocks: int, branch_blocks: int):
        super().__init__()
        width, before = 4 * filters, min(branch_blocks, blocks)
        self.branches = nn.ModuleList(
            nn.Sequential(encoder(1, filters), *(ResidualBlock(width) for _ in range(before))) for _ in range(inputs)
        )
        self.merge = (
            Stack(nn.Conv2d(inputs * width, width, 1), InstanceNorm(), nn.ReLU(inplace=True))
            if inputs > 1
            else nn.Identity()
        )
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks - before)))
        self.decode = decoder(filters, 1, "tanh")

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
        """Images in [-1, 1] in and out; rows and columns must be multiples of 4."""
        latents = [branch(image) for branch, image in zip(self.branches, x.split(1, dim=1), strict=True)]
        return self.decode(self.blocks(self.merge(torch.cat(latents, dim=1))))


class Spread(nn.Module):
    """One image in, several out.

    Args:
        outputs: images that come out.
        filters: width of the first layer.
        blocks: residual blocks before the heads.
    """

    def __init__(self, outputs: int, filters: int, blocks: int):
        super().__init__()
        self.encode = encoder(1, filters)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * filters) for _ in range(blocks)))
        self.heads = nn.ModuleList(decoder(filters, 1, "tanh") for _ in range(outputs))

    def forward(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Images in [-1, 1] in and out; rows and columns must be multiples of 4."""
        latent = self.blocks(self.encode(x))
        return torch.cat([head(latent) for head in self.heads], dim=1)


class Panel(nn.Module):
    """One discriminator for each of several images."""

    def __init__(self, inputs: int, filters: int, layers: int):
        super().__init__()
        self.judges = nn.ModuleList(PatchGAN(filters, layers) for _ in range(inputs))

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch inputs patch_rows patch_columns"]:
        """One logit a patch of each image."""
        return torch.cat([judge(image) for judge, image in zip(self.judges, x.split(1, dim=1), strict=True)], dim=1)


def generators(settings: TranslateSettings) -> dict[str, nn.Module]:
    """G1 (CT to the inputs) and G2 (the inputs to CT)."""
    s, inputs = settings, len(settings.mr_inputs)
    return {
        "G1": Spread(inputs, s.generator_filters, s.generator_blocks),
        "G2": Merge(inputs, s.generator_filters, s.generator_blocks, s.branch_blocks),
    }


def build(settings: TranslateSettings, device: torch.device) -> Trainee:
    """CycleGAN's training of these networks."""
    s, inputs = settings, len(settings.mr_inputs)
    networks = {
        **generators(s),
        "D1": Panel(inputs, s.discriminator_filters, s.discriminator_layers),
        "D2": PatchGAN(s.discriminator_filters, s.discriminator_layers),
    }
    return cyclegan.build(s, device, networks=networks)
