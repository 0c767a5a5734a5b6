"""Random contrast: global intensity non-linear augmentation, GIN (Ouyang et al. 2022, "Causality-inspired Single-source
Domain Generalization for Medical Image Segmentation", Sec. III-B).

Notable:
- A random network of four convolutions, whose kernels see 1 x 1 or 3 x 3 pixels, changes contrasts and keeps edges
  where they are. Each slice has a network of its own.
- Here x lies in [0, 1], so that air, which is 0, adds nothing to the norm; results are spread over [-1, 1] again. The
  public code does the same with images of mean 0.
- A 1 x 1 kernel is a 3 x 3 one with zeros around, so that the slices of a batch can differ in it.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float, Shaped
from torch import Tensor

from crossmod.data.augment import Augmentation, Classes, Images, draw_affines, warp

# Layers and hidden channels of the public code of Ouyang et al.
LAYERS, CHANNELS = 4, 2
# Kernels and shifts of all layers of a slice, one after the other.
_SIDES = [(1 if layer == 0 else CHANNELS, 1 if layer == LAYERS - 1 else CHANNELS) for layer in range(LAYERS)]


def draw_networks(rng: np.random.Generator, count: int) -> dict[str, Shaped[np.ndarray, "count _"]]:
    """Random networks for `count` slices: `kernels` and `shifts` from N(0, 1), and `shares` a, uniform in [0, 1]."""
    kernels = []
    for inputs, outputs in _SIDES:
        kernel = rng.standard_normal((count, outputs, inputs, 3, 3))
        small = rng.random(count) < 0.5
        around = np.ones((3, 3), bool)
        around[1, 1] = False
        kernel[np.ix_(small, range(outputs), range(inputs))] *= ~around
        kernels.append(kernel.reshape(count, -1))
    shifts = rng.standard_normal((count, sum(outputs for _, outputs in _SIDES)))
    drawn = {"kernels": np.concatenate(kernels, axis=1), "shifts": shifts, "shares": rng.random((count, 1))}
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def random_contrast(
    images: Images,
    kernels: Float[Tensor, "batch _"],
    shifts: Float[Tensor, "batch _"],
    shares: Float[Tensor, "batch 1"],
) -> Images:
    """g(x) = a net(x) + (1 - a) x, scaled to the Frobenius norm of x (Ouyang et al. 2022, Eq. 3), in [-1, 1].

    Args:
        images: in [-1, 1].
        kernels: by `draw_networks`, as are the others.
        shifts: biases of the layers.
        shares: a.
    """
    count, _, rows, columns = images.shape
    x = (images + 1) / 2
    hidden, used, biases = x, 0, 0
    for layer, (inputs, outputs) in enumerate(_SIDES):
        size = outputs * inputs * 9
        weight = kernels[:, used : used + size].reshape(count * outputs, inputs, 3, 3)
        shift = shifts[:, biases : biases + outputs].reshape(count, outputs, 1, 1)
        used, biases = used + size, biases + outputs
        # All slices at once, each with its own network: a group of channels each.
        together = hidden.reshape(1, count * inputs, rows, columns)
        hidden = F.conv2d(together, weight, padding=1, groups=count).reshape(count, outputs, rows, columns) + shift
        hidden = F.leaky_relu(hidden) if layer < LAYERS - 1 else hidden
    share = shares[:, :, None, None]
    mixed = share * hidden + (1 - share) * x
    norms = (image.flatten(1).norm(dim=1)[:, None, None, None] for image in (x, mixed))
    norm, own = norms
    return spread(mixed * (norm / own.clamp(min=1e-6)))


def spread(images: Images) -> Images:
    """The same images, each with its lowest value at -1 and its highest at 1; a constant one is -1 everywhere."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return (images - low) * (2 / (high - low).clamp(min=1e-6)) - 1
