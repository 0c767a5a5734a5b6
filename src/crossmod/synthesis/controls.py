"""Formulas of the controls: source slices with other intensities, without training; what a network must do better than.

Notable:
- All work on slices in [-1, 1], where air is -1, and leave every structure where it is.
- Random contrasts are drawn for each slice, as in the training of the papers: two slices of a case then differ like
  slices of two scanners.
- Numbers are those of the public code of the papers; docstrings say where the code here does something else.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Num
from scipy.ndimage import gaussian_filter, zoom

from crossmod.data import random_contrast as gin
from crossmod.engine.alarms import AIR

Slices = Float32[np.ndarray, "slices rows columns"]
Slice = Float32[np.ndarray, "rows columns"]
Classes = Int[np.ndarray, "rows columns"]

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


def mean_amplitude(images: Iterable[Slice]) -> Float[np.ndarray, "rows columns"]:
    """Mean amplitude of the Fourier transforms of slices, spread over [0, 1]; frequency 0 is in the middle."""
    total, count = np.zeros(()), 0
    for image in images:
        total, count = total + np.abs(_spectrum((image + 1) / 2)), count + 1
    return total / max(count, 1)


def swap_amplitude(images: Slices, amplitude: Float[np.ndarray, "rows columns"], beta: float = 0.05) -> Slices:
    """Fourier domain adaptation (Yang and Soatto 2020, Eq. 3): amplitudes of low frequencies are those of the target.

    x' = F^-1(M_beta A_target + (1 - M_beta) A_source, P_source), where M_beta is 1 in the square
    [-beta H, beta H] x [-beta W, beta W] around frequency 0; beta 0.05 is the middle one of the three of the paper.

    Two deviations: A_target is the mean over training slices, not that of one random image; and images are in [0, 1]
    while they are transformed, so that the mean of either side, whose sign is part of the phase, is positive.
    """
    spectrum = _spectrum((images + 1) / 2)
    size = np.array(images.shape[1:])
    middle, half = size // 2, np.floor(beta * size).astype(int)
    low = tuple(slice(m - h, m + h + 1) for m, h in zip(middle, half, strict=True))
    mixed = np.abs(spectrum)
    mixed[(slice(None), *low)] = amplitude[low]
    spectrum = mixed * np.exp(1j * np.angle(spectrum))
    changed = np.real(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1))))
    return (changed.clip(0, 1) * 2 - 1).astype(np.float32)


def _spectrum(images: Float[np.ndarray, "*slices rows columns"]) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1))


def random_contrast(image: Slice, rng: np.random.Generator) -> Slice:
    """A slice with a random contrast: GIN (Ouyang et al. 2022), see `data.random_contrast`."""
    drawn = {name: torch.from_numpy(values) for name, values in gin.draw_networks(rng, 1).items()}
    return gin.random_contrast(torch.from_numpy(image)[None, None], **drawn)[0, 0].numpy()


def spread(image: Float[np.ndarray, "rows columns"]) -> Slice:
    """The same image with its lowest value at -1 and its highest at 1; a constant one at -1."""
    low, high = float(image.min()), float(image.max())
    return ((image - low) * (2 / max(high - low, 1e-6)) - 1).astype(np.float32)


def bezier(values: Float[np.ndarray, "*shape"], controls: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "*shape"]:
    """A cubic Bézier curve from (0, 0) over two control points to (1, 1), as a function of its x; linear between 1000
    points: B(t) = (1 - t)^3 P0 + 3 (1 - t)^2 t P1 + 3 (1 - t) t^2 P2 + t^3 P3. It rises if the points are in [0, 1]."""
    t = np.linspace(0, 1, 1000)[:, None]
    points = np.array([(0.0, 0.0), *controls, (1.0, 1.0)])
    x, y = (
        (1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1] + 3 * (1 - t) * t**2 * points[2] + t**3 * points[3]
    ).T
    return np.interp(values, x, y)


# Of the public code of Su et al. (dataloaders/location_scale_augmentation.py): spread of scale and location, the limits
# of the scale, and the percentiles that the location must leave inside the range.
SCALE_SPREAD, SCALE_LIMITS, LOCATION_SPREAD, KEPT = 0.1, (0.9, 1.1), 0.5, (20, 80)


def class_contrast(image: Slice, classes: Classes, rng: np.random.Generator) -> Slice:
    """Class-level location-scale augmentation of SLAug (Su et al. 2023, "local" in the code): x' = a f_c(x) + b in each
    class c; air keeps its values.

    f_c is a random Bézier curve over the range of the class, falling outside of labels, and falling or rising with
    equal chance in a label. a is from N(1, 0.1), cut to 0.9 to 1.1; b from N(0, 0.5), cut so that the middle 60 % of
    the class stay inside the range. Deviations: air is below 0.05 of the range, not 0.01, and left out of the classes'
    ranges and percentiles; no fusion with a globally changed image by the gradient of a network that is trained on it.
    """
    x = (image + 1) / 2
    result = x.copy()
    body = image > AIR
    for number in np.unique(classes[body]):
        inside = body & (classes == number)
        falls = bool(number == 0 or rng.random() < 0.5)
        result[inside] = _moved(_curved(x[inside], falls, rng), rng)
    return np.where(body, result * 2 - 1, image).astype(np.float32)


def _curved(values: Float[np.ndarray, " pixels"], falls: bool, rng: np.random.Generator) -> np.ndarray:
    """The values after a random Bézier curve from their smallest to their largest."""
    low, width = values.min(), max(np.ptp(values), 1e-6)
    curved = bezier((values - low) / width, rng.random((2, 2)))
    return low + width * (1 - curved if falls else curved)


def _moved(values: Float[np.ndarray, " pixels"], rng: np.random.Generator) -> np.ndarray:
    """A random scale and location."""
    scale = np.clip(rng.normal(1, SCALE_SPREAD), *SCALE_LIMITS)
    low, high = np.percentile(values, KEPT)
    return (scale * values + np.clip(rng.normal(0, LOCATION_SPREAD), -low, 1 - high)).clip(0, 1)


# Of the public code of SynthSeg (SynthSeg/model_inputs.py and brain_generator.py), for intensities of 0 to 255: means
# and standard deviations of tissues and of dark air, largest values, spread of the bias field in the logarithm and its
# share of the image's size, spread of the logarithm of gamma.
MEANS, SPREADS, AIR_MEANS, AIR_SPREADS = (25.0, 225.0), (5.0, 25.0), (0.0, 15.0), (0.0, 5.0)
BRIGHTEST, BIAS, BIAS_SCALE, GAMMA = 300.0, 0.7, 0.025, 0.5
# Largest standard deviation of the blur in pixels.
BLUR = 1.0


def painted(classes: Classes, rng: np.random.Generator) -> Slice:
    """An image painted from classes alone, as SynthSeg does (Billot et al. 2023): Gaussian intensities of a random mean
    and spread in each class, a smooth bias field, gamma, and blur; a slice of one class is constant.

    Deviations: class 0 is air and always dark (in the code one time in four), as in CT and MR; labels are not deformed
    and the resolution stays, since images of all controls keep their structures; slices are painted one by one.
    """
    numbers = np.unique(classes)
    if len(numbers) < 2:
        return np.full(classes.shape, -1, np.float32)
    image = np.zeros(classes.shape)
    for number in numbers:
        means, spreads = (MEANS, SPREADS) if number else (AIR_MEANS, AIR_SPREADS)
        own = rng.normal(rng.uniform(*means), rng.uniform(*spreads), classes.shape)
        image = np.where(classes == number, own, image)
    coarse = np.maximum(np.ceil(np.array(classes.shape) * BIAS_SCALE), 2).astype(int)
    field = rng.normal(0, rng.uniform(0, BIAS), tuple(coarse))
    image = image * np.exp(np.asarray(zoom(field, np.array(classes.shape) / coarse, order=1)))
    image = (spread(image.clip(0, BRIGHTEST)) + 1) / 2
    image = image ** np.exp(rng.normal(0, GAMMA))
    return spread(gaussian_filter(image, BLUR * rng.random()))


# HU below which a pixel is lung or gas, fat, fluid, soft tissue, contrast-enhanced tissue; above: bone.
TISSUES: Mapping[str, float] = {"gas": -200.0, "fat": -20.0, "fluid": 25.0, "soft": 90.0, "enhanced": 180.0}


def tissue_classes(hu: Num[np.ndarray, "*shape"], organs: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Classes to paint: tissues by HU, 0 for gas and air, and a class for each organ."""
    tissues = np.digitize(hu, [*TISSUES.values()])
    return np.where(organs > 0, organs.astype(int) + len(TISSUES), tissues)
