"""The image pool: discriminators see synthetic images of earlier steps too (Shrivastava et al. 2017; CycleGAN)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class ImagePool:
    """Up to `size` synthetic images of earlier steps.

    Until the pool is full, every image is kept and given back. From then on each image is given back as it is with
    probability 1/2; otherwise a kept one is given back and the new one takes its place.
    """

    def __init__(self, size: int):
        self.size = size
        self.images: list[Tensor] = []

    def query(
        self, images: Float[Tensor, "batch 1 rows columns"], rng: np.random.Generator
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """Exchange some of `images` for earlier ones; nothing that comes back carries a gradient."""
        images = images.detach()
        if self.size == 0:
            return images
        given = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.clone())
                given.append(image)
            elif rng.random() < 0.5:
                given.append(image)
            else:
                place = int(rng.integers(self.size))
                # A pool that came from a checkpoint lies on the CPU until its images are taken.
                given.append(self.images[place].to(image.device))
                self.images[place] = image.clone()
        return torch.stack(given)

    def state_dict(self) -> dict[str, Tensor]:
        """The kept images, for a checkpoint."""
        return {"images": torch.stack([image.cpu() for image in self.images])} if self.images else {}

    def load_state_dict(self, state: dict[str, Tensor], /) -> None:
        """Take the images of a checkpoint."""
        self.images = list(state["images"].unbind()) if state else []
