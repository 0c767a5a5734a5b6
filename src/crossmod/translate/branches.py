"""Generators of several images: many in and one out, and the other way round (Crespi et al., Fig. 2c)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.engine.layers import Stack
from crossmod.translate.networks import InstanceNorm, ResidualBlock, decoder, encoder


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
