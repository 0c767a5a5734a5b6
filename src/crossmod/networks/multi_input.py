"""Generators of several images: many in and one out, and the other way round (Crespi et al., Fig. 2c)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.networks.blocks import CompiledSequential, InstanceNorm, PatchGAN, ResidualBlock, decoder, encoder


class MultiInputGenerator(nn.Module):
    """Several images in, one out; `branch_blocks` of the residual `blocks` are before the merge. `stack`: slices of
    each that are seen together."""

    def __init__(self, inputs: int, filters: int, blocks: int, branch_blocks: int, stack: int = 1):
        super().__init__()
        self.stack = stack
        width, before = 4 * filters, min(branch_blocks, blocks)
        self.branches = nn.ModuleList(
            nn.Sequential(encoder(stack, filters), *(ResidualBlock(width) for _ in range(before)))
            for _ in range(inputs)
        )
        self.merge = (
            CompiledSequential(nn.Conv2d(inputs * width, width, 1), InstanceNorm(), nn.ReLU(inplace=True))
            if inputs > 1
            else nn.Identity()
        )
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks - before)))
        self.decode = decoder(filters, stack, "tanh")

    def forward(self, x: Float[Tensor, "batch images rows columns"]) -> Float[Tensor, "batch stack rows columns"]:
        """Images in [-1, 1] in and out, the stack of the first input first; rows and columns are multiples of 4."""
        latents = [branch(image) for branch, image in zip(self.branches, x.split(self.stack, dim=1), strict=True)]
        return self.decode(self.blocks(self.merge(torch.cat(latents, dim=1))))


class MultiOutputGenerator(nn.Module):
    """One image in, several out; residual blocks before the heads. `stack`: slices of each that are seen together."""

    def __init__(self, outputs: int, filters: int, blocks: int, stack: int = 1):
        super().__init__()
        self.encode = encoder(stack, filters)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * filters) for _ in range(blocks)))
        self.heads = nn.ModuleList(decoder(filters, stack, "tanh") for _ in range(outputs))

    def forward(self, x: Float[Tensor, "batch stack rows columns"]) -> Float[Tensor, "batch images rows columns"]:
        """Images in [-1, 1] in and out, the stack of the first output first; rows and columns are multiples of 4."""
        latent = self.blocks(self.encode(x))
        return torch.cat([head(latent) for head in self.heads], dim=1)


class MultiDiscriminator(nn.Module):
    """One discriminator for each of several images, or of several stacks of them."""

    def __init__(self, inputs: int, filters: int, layers: int, stack: int = 1):
        super().__init__()
        self.stack = stack
        self.judges = nn.ModuleList(PatchGAN(filters, layers, inputs=stack) for _ in range(inputs))

    def forward(
        self, x: Float[Tensor, "batch images rows columns"]
    ) -> Float[Tensor, "batch inputs patch_rows patch_columns"]:
        """One logit per patch of each image."""
        parts = zip(self.judges, x.split(self.stack, dim=1), strict=True)
        return torch.cat([judge(image) for judge, image in parts], dim=1)
