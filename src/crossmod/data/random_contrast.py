"""Random contrast: global intensity non-linear augmentation, GIN (Ouyang et al. 2022, Sec. III-B).

A random network of four convolutions changes contrasts and leaves edges where they are; each slice has a network of its
own. As an augmentation of segmenters it makes them find organs in images of another contrast; as a control it makes
synthetic slices without training.

Deviations from the paper: x is in [0, 1], not standardised; instead of scaling the result to the Frobenius norm of x,
it is spread over [-1, 1], which any scale leads to; edges are repeated, not padded with 0, which would frame the image.
"""

import numpy as np
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float, Shaped
from torch import Tensor

from crossmod.data.augment import Affines, Augmentation, Classes, Images, draw_variations, vary

# Layers and hidden channels of the public code of Ouyang et al.; inputs and outputs of each layer.
LAYERS, CHANNELS = 4, 2
_SIDES = [(1 if layer == 0 else CHANNELS, 1 if layer == LAYERS - 1 else CHANNELS) for layer in range(LAYERS)]
# Share of the slices of a batch that the augmentation changes in this way; the others keep their contrast.
SHARE = 0.8


def draw_networks(rng: np.random.Generator, count: int) -> dict[str, Shaped[np.ndarray, "count _"]]:
    """Random networks for `count` slices: `kernels` (1 x 1 or 3 x 3) and `shifts` from N(0, 1), and `shares`, the
    network's share a of the result, uniform in [0, 1]; float32, a row per slice."""
    kernels = []
    for inputs, outputs in _SIDES:
        kernel = rng.standard_normal((count, outputs * inputs, 3, 3))
        # A 1 x 1 kernel is a 3 x 3 one with zeros around, so that the slices of a batch may differ in it.
        pointwise = rng.random(count) < 0.5
        middle = kernel[:, :, 1, 1].copy()
        kernel[pointwise] = 0
        kernel[:, :, 1, 1] = middle
        kernels.append(kernel.reshape(count, -1))
    shifts = rng.standard_normal((count, sum(outputs for _, outputs in _SIDES)))
    drawn = {"kernels": np.concatenate(kernels, axis=1), "shifts": shifts, "shares": rng.random((count, 1))}
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def random_contrast(
    images: Float[Tensor, "batch 1 rows columns"],
    kernels: Float[Tensor, "batch _"],
    shifts: Float[Tensor, "batch _"],
    shares: Float[Tensor, "batch 1"],
) -> Float[Tensor, "batch 1 rows columns"]:
    """g(x) = a net(x) + (1 - a) x, spread over [-1, 1]; leaky ReLU between the layers of the network.

    Args:
        images: in [-1, 1].
        kernels: of `draw_networks`, as are the others.
        shifts: biases.
        shares: a.
    """
    count, _, rows, columns = images.shape
    x = (images + 1) / 2
    hidden, weights_used, shifts_used = x, 0, 0
    for layer, (inputs, outputs) in enumerate(_SIDES):
        weights_end, shifts_end = weights_used + 9 * inputs * outputs, shifts_used + outputs
        # All slices at once, a group of channels each.
        weights = kernels[:, weights_used:weights_end].reshape(count * outputs, inputs, 3, 3)
        padded = F.pad(hidden, (1, 1, 1, 1), mode="replicate").reshape(1, count * inputs, rows + 2, columns + 2)
        hidden = F.conv2d(padded, weights, groups=count).reshape(count, outputs, rows, columns)
        hidden = hidden + shifts[:, shifts_used:shifts_end, None, None]
        hidden = F.leaky_relu(hidden) if layer < LAYERS - 1 else hidden
        weights_used, shifts_used = weights_end, shifts_end
    share = shares[:, :, None, None]
    return spread(share * hidden + (1 - share) * x)


def spread(images: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
    """The same images, each with its lowest value at -1 and its highest at 1; a constant one at -1."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return (images - low) * (2 / (high - low).clamp(min=1e-6)) - 1


def _draw(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    changed = (rng.random((count, 1)) < SHARE).astype(np.float32)
    return {**draw_networks(rng, count), "changed": changed, **draw_variations(rng, count)}


def _apply(
    images: Images,
    masks: Classes,
    kernels: Tensor,
    shifts: Tensor,
    shares: Tensor,
    changed: Float[Tensor, "batch 1"],
    affines: Affines,
    intensities: Float[Tensor, "batch 3"],
) -> tuple[Images, Classes]:
    """Another contrast, then what `strong_augment` does."""
    other = random_contrast(images, kernels, shifts, shares)
    images = images.where(changed[:, :, None, None] == 0, other)
    return vary(images, masks, affines, intensities)


AUGMENTATION = Augmentation(_draw, _apply)
