"""Segmentation networks by name: the paper's U-Net, a small one for a CPU, and MONAI's. All give one logit
per pixel, or, of `outputs` classes, one of each.

Notable, of the paper's (Rafiq et al. 2025, 2.3, as implemented in Keras; 31,031,685 parameters):
- Widths 64 to 1024, two 3 x 3 convolutions per level, no batch norm; dropout of 0.5 after levels 4 and 5.
- Up: each pixel is doubled, then a 2 x 2 'same' convolution, which in Keras extends one pixel right and down.
- The head has two channels and a ReLU before its 1 x 1 convolution. If both are dead the output is constant: that
  happens, and such a seed is reported unchanged. For several organs it has a channel per class, as two are for one.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn

from crossmod import registry
from crossmod.networks.blocks import Float32Sequential, InstanceNorm, on_grid

PAPER_WIDTHS = (64, 128, 256, 512, 1024)
TINY_WIDTHS = (12, 24, 48, 96)


class UpConvolution(nn.Module):
    """Double each pixel, then a 2 x 2 convolution padded on the right and below, as Keras' 'same' does."""

    def __init__(self, width: int):
        super().__init__()
        self.convolution = nn.Conv2d(width, width // 2, 2)

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch half up_rows up_columns"]:
        """Twice the size, half the width."""
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.relu(self.convolution(F.pad(doubled, (0, 1, 0, 1))))


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015); `widths` from the top. Dropout is after the last two levels on the way down;
    `head`: channels of a last 3 x 3 convolution before the 1 x 1 (0: none); `norm`: makes the norm of
    this many channels (the paper's network has none); `outputs`: logits per pixel."""

    def __init__(
        self,
        widths: Sequence[int] = PAPER_WIDTHS,
        *,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.5,
        head: int = 2,
        outputs: int = 1,
    ):
        super().__init__()
        self.down = nn.ModuleList(
            _two_convolutions(1 if level == 0 else widths[level - 1], width, norm) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(UpConvolution(width) for width in reversed(widths[1:]))
        self.merge = nn.ModuleList(_two_convolutions(2 * width, width, norm) for width in reversed(widths[:-1]))
        self.dropout = nn.Dropout(dropout)
        before = [nn.Conv2d(widths[0], head, 3, padding=1), nn.ReLU()] if head else []
        self.head = Float32Sequential(*before, nn.Conv2d(head or widths[0], outputs, 1))

    def forward(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Images in [-1, 1] of any size to logits."""
        return on_grid(self._logits, x, step=2 ** (len(self.down) - 1))

    def _logits(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        skips = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(F.max_pool2d(x, 2) if level else x)
            if level >= len(self.down) - 2:
                x = self.dropout(x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(x)


def _two_convolutions(inputs: int, outputs: int, norm: Callable[[int], nn.Module] | None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
        layers += [] if norm is None else [norm(outputs)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """He initialisation as Keras' `he_normal`, truncated at two standard deviations; the last 1 x 1 by Glorot."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        fan_in = convolution.weight[0].numel()
        # 0.8796 is the standard deviation of a unit normal cut at two.
        sigma = (2 / fan_in) ** 0.5 / 0.87962566103423978
        nn.init.trunc_normal_(convolution.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
        if convolution.bias is not None:
            convolution.bias.zero_()
    nn.init.xavier_uniform_(convolutions[-1].weight)


def paper_unet(size: int = 256, outputs: int = 1) -> UNet:
    """The paper's U-Net: 31,031,685 parameters."""
    return UNet(head=max(2, outputs), outputs=outputs)


def tiny_unet(size: int = 64, outputs: int = 1) -> UNet:
    """A U-Net with batch norm and few channels, for a demonstration on a CPU."""
    return UNet(TINY_WIDTHS, norm=nn.BatchNorm2d, dropout=0.1, head=0, outputs=outputs)


def tiny_instance_unet(size: int = 64, outputs: int = 1) -> UNet:
    """The same with instance norm, whose statistics are those of each image: for images of another contrast than those
    it was trained on."""
    return UNet(TINY_WIDTHS, norm=lambda _: InstanceNorm(), dropout=0.1, head=0, outputs=outputs)


# Their initial weights are drawn by `initialise`; those of other networks by their own code.
OWN = ("unet", "tiny", "tiny_instance")


def make_network(name: str, size: int, outputs: int = 1) -> nn.Module:
    """A network by its name, for images of `size` pixels per side; DynUNet's depth depends on it. `outputs`: logits per
    pixel; of an added network whose function does not take them only 1."""
    make = registry.member("segmenter", name)
    return make(size) if outputs == 1 else make(size, outputs=outputs)
