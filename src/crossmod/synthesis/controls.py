"""Controls: source slices with other intensities, made without training; what a translator must do better than.

Notable:
- All work on the slices of one case in [-1, 1], where air is -1, and leave every structure where it is.
- What is drawn is drawn for each slice, so that two slices of a case differ like slices of two scanners.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float, Float32, Int
from scipy.ndimage import gaussian_filter, zoom

Slices = Float32[np.ndarray, "slices rows columns"]
Slice = Float32[np.ndarray, "rows columns"]

# Pixels above this are not air; as in `engine.alarms`.
AIR = -0.9
QUANTILES = 1001


def quantiles(images: Slices) -> Float[np.ndarray, " quantiles"]:
    """Values below which 0, 0.1, ..., 100 % of the pixels that are not air lie."""
    inside = images[images > AIR]
    return np.quantile(inside if inside.size else np.array([-1.0]), np.linspace(0, 1, QUANTILES))


def match_histogram(images: Slices, target: Float[np.ndarray, " quantiles"]) -> Slices:
    """Histogram specification (Gonzalez and Woods, Digital Image Processing, Sec. 3.3): s = G^-1(T(r)).

    T is the cumulative distribution of the source's pixels, G that of the target's; air stays air. It is monotone:
    bone, the brightest in CT, stays the brightest.

    Args:
        images: of one case.
        target: `quantiles` of the target's training slices.
    """
    own = quantiles(images)
    rank = np.interp(images, own, np.linspace(0, 1, QUANTILES))
    matched = np.interp(rank, np.linspace(0, 1, QUANTILES), target)
    return np.where(images > AIR, matched, -1).astype(np.float32)


def mean_amplitude(images: Slices) -> Float[np.ndarray, "rows columns"]:
    """Mean amplitude of the Fourier transforms of slices, the mean in the middle."""
    return np.abs(np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1))).mean(axis=0)


def swap_amplitude(images: Slices, amplitude: Float[np.ndarray, "rows columns"], beta: float = 0.05) -> Slices:
    """Fourier domain adaptation (Yang and Soatto 2020, Eq. 3): amplitudes of low frequencies are those of the target.

    x' = F^-1(M_beta A_target + (1 - M_beta) A_source, P_source), where M_beta is 1 in the square
    [-beta H, beta H] x [-beta W, beta W] around frequency 0. Here A_target is the mean over training slices.
    """
    spectrum = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1))
    size = np.array(images.shape[1:])
    middle, half = size // 2, np.floor(beta * size).astype(int)
    low = tuple(slice(m - h, m + h + 1) for m, h in zip(middle, half, strict=True))
    mixed = np.abs(spectrum)
    mixed[(slice(None), *low)] = amplitude[low]
    spectrum = mixed * np.exp(1j * np.angle(spectrum))
    return np.real(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1)))).clip(-1, 1).astype(np.float32)


# Layers, hidden channels and kernel sizes of the public code of Ouyang et al.
LAYERS, CHANNELS, KERNELS = 4, 2, (1, 3)


def random_contrast(image: Slice, rng: np.random.Generator) -> Slice:
    """Global intensity non-linear augmentation, GIN (Ouyang et al. 2022, Sec. III-B).

    g(x) = a net(x) + (1 - a) x, with a uniform in [0, 1] and a random net of four convolutions (1 x 1 or 3 x 3, two
    channels, weights and shifts from N(0, 1), leaky ReLU between them); then g is scaled to the Frobenius norm of x.
    Here x is in [0, 1], so that the norm is not that of the air; the result is spread over [-1, 1].
    """
    x = torch.from_numpy((image + 1) / 2)[None, None]
    hidden = x
    for layer in range(LAYERS):
        inputs = 1 if layer == 0 else CHANNELS
        outputs = 1 if layer == LAYERS - 1 else CHANNELS
        size = int(rng.choice(KERNELS))
        weights = torch.from_numpy(rng.standard_normal((outputs, inputs, size, size)).astype(np.float32))
        shift = torch.from_numpy(rng.standard_normal(outputs).astype(np.float32))
        hidden = F.conv2d(hidden, weights, shift, padding=size // 2)
        hidden = F.leaky_relu(hidden) if layer < LAYERS - 1 else hidden
    share = float(rng.random())
    mixed = share * hidden + (1 - share) * x
    mixed = mixed * (x.norm() / mixed.norm().clamp(min=1e-6))
    return spread(mixed[0, 0].numpy())


def spread(image: Float[np.ndarray, "rows columns"]) -> Slice:
    """The same image with its lowest value at -1 and its highest at 1; a constant one at -1."""
    low, high = float(image.min()), float(image.max())
    return ((image - low) * (2 / max(high - low, 1e-6)) - 1).astype(np.float32)


def bezier(values: Float[np.ndarray, "*shape"], controls: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "*shape"]:
    """A cubic Bézier curve from (0, 0) over two control points to (1, 1), as a function of its x; linear between 1000
    points: B(t) = (1 - t)^3 P0 + 3 (1 - t)^2 t P1 + 3 (1 - t) t^2 P2 + t^3 P3."""
    t = np.linspace(0, 1, 1000)[:, None]
    points = np.array([(0.0, 0.0), *controls, (1.0, 1.0)])
    x, y = (
        (1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1] + 3 * (1 - t) * t**2 * points[2] + t**3 * points[3]
    ).T
    return np.interp(values, x, y)


# Of the public code of Su et al.: spread of scale and location, and their limits.
SCALE_SPREAD, SCALE_LIMITS, LOCATION_SPREAD = 0.1, (0.9, 1.1), 0.1


def class_contrast(image: Slice, classes: Int[np.ndarray, "rows columns"], rng: np.random.Generator) -> Slice:
    """Location-scale augmentation by class (Su et al. 2023, Sec. 3.1): x' = a f_c(x) + b in each class c.

    f_c is a random Bézier curve, rising, or falling for half of the classes; a is from N(1, 0.1), cut to 0.9 to 1.1,
    b from N(0, 0.1). Air stays air.
    """
    x = (image + 1) / 2
    result = np.zeros_like(x)
    for number in np.unique(classes):
        value = bezier(x, rng.random((2, 2)))
        value = 1 - value if rng.random() < 0.5 else value
        scale = np.clip(rng.normal(1, SCALE_SPREAD), *SCALE_LIMITS)
        result = np.where(classes == number, scale * value + rng.normal(0, LOCATION_SPREAD), result)
    return np.where(image > AIR, result.clip(0, 1) * 2 - 1, -1).astype(np.float32)


# Of SynthSeg (Billot et al. 2023, Table 1), for intensities of 0 to 255: means, spreads, and log of the bias field.
MEANS, SPREADS, BIAS, BLUR = (25.0, 225.0), (5.0, 25.0), 0.5, 1.0


def painted(classes: Int[np.ndarray, "rows columns"], rng: np.random.Generator) -> Slice:
    """An image painted from classes alone, as SynthSeg does (Billot et al. 2023, Sec. 3.1): Gaussian intensities of a
    random mean and spread in each class, a smooth random bias field, and blur. Class 0 is air and stays dark."""
    image = np.zeros(classes.shape)
    for number in np.unique(classes):
        mean, width = (rng.uniform(*MEANS), rng.uniform(*SPREADS)) if number else (0.0, MEANS[0] / 5)
        image = np.where(classes == number, rng.normal(mean, width, classes.shape), image)
    coarse = rng.normal(0, rng.uniform(0, BIAS), (4, 4))
    field = zoom(coarse, np.array(classes.shape) / 4, order=3)
    image = gaussian_filter(np.abs(image) * np.exp(field), BLUR * rng.random())
    return (image.clip(0, 255) / 127.5 - 1).astype(np.float32)


# HU below which a pixel is lung or gas, fat, fluid, soft tissue, contrast-enhanced tissue; above: bone.
TISSUES: Mapping[str, float] = {"gas": -200.0, "fat": -20.0, "fluid": 25.0, "soft": 90.0, "enhanced": 180.0}


def tissue_classes(
    hu: Float[np.ndarray, "rows columns"], organs: Int[np.ndarray, "rows columns"]
) -> Int[np.ndarray, "rows columns"]:
    """Classes to paint: tissues by HU, 0 for gas and air, and a class for each organ."""
    tissues = np.digitize(hu, [*TISSUES.values()])
    return np.where(organs > 0, organs + len(TISSUES), tissues)
