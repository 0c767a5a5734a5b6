"""Images of any size for networks that take sizes in steps alone, since they halve the image several times."""

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float
from torch import Tensor, nn


def on_grid(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "batch 1 rows columns"], step: int, least: int = 1
) -> Float[Tensor, "batch 1 rows columns"]:
    """What a network says of images that are padded to what it needs, cut back to what was given.

    Args:
        network: images to logits, pixel by pixel.
        x: images in [-1, 1].
        step: both sides become a multiple of it.
        least: both sides become at least as long.
    """
    rows, columns = x.shape[-2:]
    more_rows, more_columns = (max(-(-side // step) * step, least) - side for side in (rows, columns))
    # Background (-1) where the image ends.
    return network(F.pad(x, (0, more_columns, 0, more_rows), value=-1.0))[..., :rows, :columns]


class OnGrid(nn.Module):
    """Somebody else's network, for images of any size.

    Args:
        network: images to logits, pixel by pixel.
        step: what both sides must be a multiple of.
        least: shortest side that it can be trained with.
    """

    def __init__(self, network: nn.Module, step: int, least: int = 1):
        super().__init__()
        self.network, self.step, self.least = network, step, least

    def forward(self, x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
        """Images in [-1, 1] of any size to logits."""
        return on_grid(self.network, x, self.step, self.least)
