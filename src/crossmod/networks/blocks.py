"""Layers and networks that several rooms share: ResNet generator, PatchGAN discriminator, padding to a multiple.

Notable:
- Generators and segmentor have the same network (Johnson et al. 2016; Rafiq et al. 2025, 2.1.1 and Fig. 3): two layers
  down, residual blocks, two layers up. They differ in the number of output channels and in the last activation.
- Convolutions have biases and instance norm has no weights, which gives the published parameter counts.
- The discriminator is the 70 x 70 PatchGAN (Isola et al. 2017; Rafiq et al. 2025, 2.1.2 and Fig. 4).
- With several inputs (Crespi et al., Fig. 2c) a generator has many images in and one out, or the other way round.
- Last layers compute in fp32 even if the rest computes in bf16, which would leave images 256 gray levels or fewer.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn


class CompiledSequential(nn.Sequential):
    """Layers one after the other, compiled as one: PyTorch's compiler skips PyTorch's own containers."""

    def forward(self, input: Tensor) -> Tensor:  # the name that nn.Sequential gave it
        """Run the layers."""
        for layer in self:
            input = layer(input)
        return input


class Float32Sequential(CompiledSequential):
    """The last layers of a network, which compute in fp32 even within autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """Run the layers in fp32, or in fp64 if the input is."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input if input.dtype == torch.float64 else input.float())


Head = Literal["tanh", "linear"]


class InstanceNorm(nn.Module):
    """Instance norm without weights (Ulyanov et al. 2016), in any memory layout.

    With channels last, PyTorch's own copies to another layout and back, and on a CPU its gradient is wrong for a batch
    of one whose gradients have channels last (2.13; tests/networks/test_blocks.py). In that layout the formula is
    written out, and the compiler makes one pass of it; otherwise the gradient is made contiguous first.
    """

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        """Bring each channel of each image to mean 0 and variance 1."""
        if x.is_contiguous() and not torch.compiler.is_compiling():
            normed = F.instance_norm(x)
            if normed.requires_grad:
                normed.register_hook(torch.Tensor.contiguous)
            return normed
        y = x if x.dtype == torch.float64 else x.float()
        variance, mean = torch.var_mean(y, dim=(2, 3), correction=0, keepdim=True)
        return ((y - mean) * torch.rsqrt(variance + 1e-5)).to(x.dtype)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a skip connection."""

    def __init__(self, width: int):
        super().__init__()
        self.body = CompiledSequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), InstanceNorm(), nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), InstanceNorm(),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        """Add the output of the convolutions to their input."""
        return x + self.body(x)


def encoder(channels: int, filters: int) -> CompiledSequential:
    """One 7 x 7 convolution and two steps down: `channels` to `4 * filters` at a quarter of the size."""
    return CompiledSequential(
        nn.ReflectionPad2d(3), nn.Conv2d(channels, filters, 7), InstanceNorm(), nn.ReLU(inplace=True),
        *_down(filters), *_down(2 * filters),
    )  # fmt: skip


def decoder(filters: int, channels: int, head: Head, *, repeated: bool = False) -> CompiledSequential:
    """Two steps up and one 7 x 7 convolution: `4 * filters` to `channels` at four times the size; `repeated` as in
    `ResNet`."""
    last: list[nn.Module] = [nn.Tanh()] if head == "tanh" else []
    return CompiledSequential(
        *_up(4 * filters, repeated=repeated),
        *_up(2 * filters, repeated=repeated),
        Float32Sequential(nn.ReflectionPad2d(3), nn.Conv2d(filters, channels, 7), *last),
    )


def _down(width: int) -> list[nn.Module]:
    halve = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
    return [halve, InstanceNorm(), nn.ReLU(inplace=True)]


def _up(width: int, *, repeated: bool = False) -> list[nn.Module]:
    if repeated:
        double = [nn.Upsample(scale_factor=2, mode="nearest"), nn.ReflectionPad2d(1), nn.Conv2d(width, width // 2, 3)]
    else:
        double = [nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)]
    return [*double, InstanceNorm(), nn.ReLU(inplace=True)]


class ResNet(nn.Module):
    """Generator or segmentor: encoder, residual blocks, decoder.

    `outputs`: 1 for a generator, the number of classes for S; `head`: `tanh` for images in [-1, 1], `linear` for
    logits; `repeated`: in the decoder pixels are repeated and convolved, which leaves no checkerboard (Odena et al.
    2016, "Deconvolution and Checkerboard Artifacts"), where the published network has transposed convolutions.
    """

    def __init__(
        self,
        outputs: int = 1,
        filters: int = 64,
        blocks: int = 9,
        head: Head = "tanh",
        *,
        inputs: int = 1,
        repeated: bool = False,
    ):
        super().__init__()
        self.encode = encoder(inputs, filters)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * filters) for _ in range(blocks)))
        self.decode = decoder(filters, outputs, head, repeated=repeated)

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Images in [-1, 1] in, images or logits out; rows and columns must be multiples of 4."""
        return self.decode(self.blocks(self.encode(x)))


class PatchGAN(nn.Module):
    """Discriminator of overlapping patches; logits, the higher the more real. `layers` of stride 2: 3 of them see 70 x
    70 pixels, 2 see 34 x 34, 1 sees 16 x 16; `inputs`: images that are judged as one."""

    def __init__(self, filters: int = 64, layers: int = 3, *, inputs: int = 1):
        super().__init__()
        widths = [filters * min(2**level, 8) for level in range(layers + 1)]
        first = nn.Conv2d(inputs, filters, 4, stride=2, padding=1)
        body: list[nn.Module] = [first, nn.LeakyReLU(0.2, inplace=True)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            body += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=1),
                InstanceNorm(),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = CompiledSequential(*body, Float32Sequential(nn.Conv2d(widths[-1], 1, 4, padding=1)))

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch 1 patch_rows patch_columns"]:
        """One logit per patch."""
        return self.body(x)


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


def blocks(networks: Iterable[nn.Module]) -> tuple[nn.Module, ...]:
    """The parts that are compiled, each as one: equal ones share their code."""
    parts: list[nn.Module] = []
    for network in networks:
        for part in network.children():
            parts += [part] if isinstance(part, CompiledSequential | ResidualBlock) else blocks([part])
    return tuple(parts)


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Weights from N(0, 0.02), biases 0, as in the public EssNet and CycleGAN code."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.normal_(0.0, 0.02)
            if module.bias is not None:
                module.bias.zero_()


def on_grid(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "batch 1 rows columns"], step: int, least: int = 1
) -> Float[Tensor, "batch outputs rows columns"]:
    """Run a network on images in [-1, 1], padded to a multiple of `step` and at least `least` pixels per side, and crop
    its output to theirs."""
    rows, columns = x.shape[-2:]
    more_rows, more_columns = (max(-(-side // step) * step, least) - side for side in (rows, columns))
    # Padded with background (-1).
    return network(F.pad(x, (0, more_columns, 0, more_rows), value=-1.0))[..., :rows, :columns]


class PadToMultiple(nn.Module):
    """Makes a network accept images of any size; arguments as for `on_grid`."""

    def __init__(self, network: nn.Module, step: int, least: int = 1):
        super().__init__()
        self.network, self.step, self.least = network, step, least

    def forward(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Images in [-1, 1] of any size to logits."""
        return on_grid(self.network, x, self.step, self.least)
