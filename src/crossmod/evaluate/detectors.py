"""Detectors: fixed networks that turn images into the features of which Fréchet distances are taken.

Notable:
- A distance means something only together with the detector that it was taken with: name both, and its hash.
- `random` was never trained and needs no download. Distances of a random network's features rank gross failures: blur,
  wrong contrast, wrong texture, noise. They see no anatomy, do not follow a reader's judgement, and are not comparable
  to published FIDs, which are of Inception's features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float
from torch import Tensor

from crossmod.engine.checkpoint import weights_hash
from crossmod.errors import InputError
from crossmod.seeds import rng

# The seed and the widths name the random detector: other ones would be another detector, with another hash.
SEED = 0
WIDTHS = (16, 32, 64, 128)
SLOPE = 0.2
# Slices at a time: the largest layer of `random` then takes 16 MB at 256 px.
BATCH = 16


@dataclass(frozen=True, eq=False)
class Detector:
    """A fixed feature extractor.

    Args:
        name: what reports call it.
        sha256: hash of its weights, the same wherever and whenever it was made.
        extract: from images in [-1, 1], `[batch, 1, rows, columns]` on the CPU, to features, `[batch, features]`.
    """

    name: str
    sha256: str
    extract: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def features(self, images: Float[np.ndarray, "slices size size"]) -> Float[np.ndarray, "slices features"]:
        """Features of one or more images in [-1, 1]; an image's own do not depend on the others."""
        # Copied, because PyTorch warns of arrays that may not be written to.
        parts = (np.array(images[i : i + BATCH], np.float32) for i in range(0, len(images), BATCH))
        # In fp32 whatever a training around it computes in: features of one run are held against those of another.
        with torch.autocast("cpu", enabled=False):
            return np.concatenate([self.extract(torch.from_numpy(part)[:, None]).numpy() for part in parts])


def detector(name: str) -> Detector:
    """The detector of that name, ready to use on the CPU.

    Raises:
        InputError: there is none.
    """
    if name not in _MAKERS:
        wanted = " or ".join(sorted(_MAKERS))
        raise InputError("detector", found=f"{name!r}", wanted=wanted, do="Name one of these.")
    return _MAKERS[name]()


def _random() -> Detector:
    weights = random_filters()

    def extract(images: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch features"]:
        """Mean and standard deviation over the image, of every map of four stages of half the size each."""
        x, pooled = images, []
        for weight in weights:
            # The border repeats itself: zeros, mid-grey in [-1, 1], would frame every image with an edge.
            x = F.leaky_relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, stride=2), SLOPE)
            pooled += [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]
        return torch.cat(pooled, dim=1)

    digest = weights_hash({"random": {f"stage {number}": weight for number, weight in enumerate(weights)}})
    return Detector("random", digest, extract)


def random_filters() -> list[Float[Tensor, "maps_out maps_in 3 3"]]:
    """The filters of `random`, one array a stage, with the variance of He et al. 2015, Eq. 15, for leaky ReLU.

    From NumPy, not PyTorch, whose draws may change between versions; uniform, since that takes no logarithm that
    another machine may round in another way.
    """
    draws, maps, weights = rng(SEED, "detector", "random"), 1, []
    for width in WIDTHS:
        bound = np.sqrt(6 / ((1 + SLOPE**2) * 9 * maps))  # of a uniform draw; its variance is bound^2 / 3
        weight = draws.uniform(-bound, bound, (width, maps, 3, 3))
        # Every other filter sees only edges: the brightness that the rest sees is so much larger that blur would hide.
        weight[::2] -= weight[::2].mean(axis=(2, 3), keepdims=True)
        weights.append(torch.from_numpy(weight.astype(np.float32)))
        maps = width
    return weights


_MAKERS: Mapping[str, Callable[[], Detector]] = {"random": _random}
