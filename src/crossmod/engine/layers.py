"""Layers that every room's networks may need because of how the engine computes."""

import torch
from torch import Tensor, nn


class Stack(nn.Sequential):
    """Layers one after the other, compiled as one: PyTorch's compiler passes over the containers of PyTorch itself."""

    def forward(self, input: Tensor) -> Tensor:  # the name that nn.Sequential gave it
        """Run the layers."""
        for layer in self:
            input = layer(input)
        return input


class Fp32(Stack):
    """Layers that compute in fp32 where autocast has the others compute in less.

    For the last layers of a network: in bf16 an image would come out in a few hundred gray levels.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Run the layers on `input` in fp32, or in fp64 where that comes."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input if input.dtype == torch.float64 else input.float())
