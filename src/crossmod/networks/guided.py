"""Guided generator: context at a quarter of the size, and a map of each pixel that depends on its context.

A residual network sees the image at a quarter of its size, and says what tissue lies where; its features are enlarged
linearly. The output at a pixel is a small network of the input there, a few local features, and the context. So fine
edges come from the input, pixel by pixel, since the context is too coarse to draw them elsewhere, and there is no
checkerboard.

The idea is that of bilateral learning (Gharbi et al. 2017, "Deep Bilateral Learning for Real-Time Image Enhancement")
and of pixelwise networks (Shaham et al. 2021, "Spatially-Adaptive Pixelwise Networks for Fast Image Translation"),
where the coefficients of each pixel's map come from a small image; here the context is an input of one common map.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.networks.blocks import CompiledSequential, Float32Sequential, InstanceNorm, ResidualBlock

# Features of the context, of the neighbourhood, and of the layers of each pixel's map.
CONTEXT, LOCAL, PIXELWISE = 16, 8, 32


class Doubled(nn.Module):
    """Twice the size, linearly between pixels."""

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width twice_r twice_c"]:
        """Enlarge all features."""
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class GuidedGenerator(nn.Module):
    """Generator of images in [-1, 1]; `images` in and out, the slices of a stack."""

    def __init__(self, images: int = 1, filters: int = 64, blocks: int = 9):
        super().__init__()
        wide = 4 * filters
        self.context = CompiledSequential(
            *_halved(images, 2 * filters), *_halved(2 * filters, wide),
            *(ResidualBlock(wide) for _ in range(blocks)),
            Doubled(), nn.ReflectionPad2d(1), nn.Conv2d(wide, 2 * filters, 3), InstanceNorm(), nn.ReLU(inplace=True),
            nn.Conv2d(2 * filters, CONTEXT, 1), Doubled(),
        )  # fmt: skip
        self.local = CompiledSequential(nn.ReflectionPad2d(1), nn.Conv2d(images, LOCAL, 3), nn.ReLU(inplace=True))
        self.pixelwise = Float32Sequential(
            nn.Conv2d(images + LOCAL + CONTEXT, PIXELWISE, 1), nn.ReLU(inplace=True),
            nn.Conv2d(PIXELWISE, PIXELWISE, 1), nn.ReLU(inplace=True),
            nn.Conv2d(PIXELWISE, images, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "batch images rows columns"]) -> Float[Tensor, "batch images rows columns"]:
        """Images in [-1, 1] in and out; rows and columns must be multiples of 4."""
        return self.pixelwise(torch.cat([x, self.local(x), self.context(x)], dim=1))

    @torch.no_grad()
    def initialise(self) -> None:
        """Initial weights of the layers that no instance norm follows: He et al. 2015; of the last, N(0, 0.1)."""
        for layer in (*self.local, *self.pixelwise, *self.context):
            if isinstance(layer, nn.Conv2d) and (layer.kernel_size == (1, 1) or layer in [*self.local]):
                nn.init.kaiming_normal_(layer.weight)
        last = self.pixelwise[-2]
        assert isinstance(last, nn.Conv2d)
        last.weight.normal_(0.0, 0.1)


def _halved(inputs: int, outputs: int) -> list[nn.Module]:
    pad = nn.ReflectionPad2d(1)
    return [pad, nn.Conv2d(inputs, outputs, 4, stride=2), InstanceNorm(), nn.ReLU(inplace=True)]
