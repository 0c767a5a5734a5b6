"""The image pool: discriminators see synthetic images of earlier steps too (Shrivastava et al. 2017; CycleGAN).

Notable:
- What to exchange is drawn on the host, before the step; the exchange itself is a pure function of tensors. So the step
  never waits for the device, and can be recorded once and replayed as a CUDA graph.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossmod.engine.state import State

Draws = Int[Tensor, "batch 3"]


class ImagePool:
    """Up to `size` synthetic images of earlier steps, each of channels, rows, columns.

    Until the pool is full, every image is kept and returned. From then on each image is returned unchanged with
    probability 1/2; otherwise a kept one is returned and the new one takes its place.
    """

    def __init__(self, size: int, shape: tuple[int, int, int], device: torch.device):
        self.size = size
        self.filled = 0
        # With one place more, for images that are not kept, so that every image is written somewhere.
        self._places = torch.zeros(size + 1, *shape, device=device)

    @property
    def images(self) -> Float[Tensor, "kept channels rows columns"]:
        """The kept images."""
        return self._places[: self.filled]

    def draw(self, batch: int, rng: np.random.Generator) -> Draws:
        """What to exchange: for each image whether it is returned (1), the place of its substitute, and its own."""
        rows = []
        for _ in range(batch):
            if self.filled < self.size:
                rows.append((1, self.filled, self.filled))
                self.filled += 1
            elif self.size == 0 or rng.random() < 0.5:
                rows.append((1, self.size, self.size))
            else:
                place = int(rng.integers(self.size))
                rows.append((0, place, place))
        return torch.tensor(rows, dtype=torch.int64)

    def exchange(
        self, images: Float[Tensor, "batch channels rows columns"], draws: Draws
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Exchange some of `images` for earlier ones as drawn; the result has no gradient."""
        images = images.detach()
        if self.size == 0:
            return images
        exchanged = []
        # One after the other: an image may replace the one before it.
        for image, (new, source, place) in zip(images.split(1), (row.split(1) for row in draws), strict=True):
            exchanged.append(torch.where(new.bool().view(1, 1, 1, 1), image, self._places.index_select(0, source)))
            self._places.index_copy_(0, place, image.to(self._places.dtype))
        return torch.cat(exchanged)

    def state_dict(self) -> State:
        """The kept images, for a checkpoint."""
        return {"images": self.images.clone()}

    def load_state_dict(self, state: State, /) -> None:
        """Restore the images of a checkpoint."""
        self.filled = len(state["images"])
        self._places[: self.filled] = state["images"].to(self._places.device)
