"""Slices through a trained generator, and what its segmentor sees in them: of a run and of a bundle alike."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from crossmod.engine.device import Compute, batches_of


@torch.inference_mode()
def apply(
    generator: nn.Module,
    segmentor: nn.Module | None,
    images: Float[np.ndarray, "slices images size size"],
    compute: Compute,
) -> tuple[Float[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
    """Translate slices.

    Args:
        generator: gives, of each slice, the slice itself first.
        segmentor: S, where there is one.
        images: in [-1, 1], of each slice the stacks of all inputs.
        compute: where and how.

    Returns:
        The synthetic slices in [-1, 1]; also the class that S sees at each pixel of them, where there is an S.
    """
    shape = (len(images), *images.shape[2:])
    fakes = np.empty(shape, np.float32)
    answers = None if segmentor is None else np.empty(shape, np.uint8)
    with compute.autocast():
        for part, given in batches_of(images, compute):
            fake = generator(part)
            fakes[given] = fake[: len(fakes[given]), 0].cpu().numpy()
            if segmentor is not None and answers is not None:
                seen = segmentor(fake[:, :1]).argmax(dim=1).to(torch.uint8)
                answers[given] = seen[: len(fakes[given])].cpu().numpy()
    return fakes, answers
