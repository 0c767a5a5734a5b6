"""Scores of a synthetic image against its truth, pixel by pixel, where there is one: a phantom, or a registered pair.

Notable:
- Inside the body only: air is easy, and most of the picture.
- Of two unpaired or badly registered images these scores say how they are misplaced, not how they look.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import gaussian_filter

from crossmod.data.intensity import Intensity
from crossmod.errors import InputError

# Wang et al. 2004, Sec. III-B and III-C: Gaussian weights of 11 x 11 pixels, and what keeps the quotients from 0 / 0.
SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03


@dataclass(frozen=True)
class PairedScores:
    """A synthetic image against its truth.

    Args:
        mae: mean absolute error, in the images' units: HU for CT.
        psnr: peak signal-to-noise ratio, dB; infinite for equal images.
        ssim: structural similarity, 1 for equal images.
    """

    mae: float
    psnr: float
    ssim: float


def paired_scores(
    truth: Num[np.ndarray, "*slices rows columns"],
    synthetic: Num[np.ndarray, "*slices rows columns"],
    inside: Bool[np.ndarray, "*slices rows columns"],
    span: float,
) -> PairedScores:
    """All three scores of a slice or a volume.

    Args:
        truth: what the synthetic image should be.
        synthetic: in the same units.
        inside: pixels that count, such as the body's.
        span: least to most that the images can hold, such as the width of the window in HU: what PSNR and SSIM take
            for the size of the signal. Scores of different spans cannot be compared.

    Raises:
        InputError: no pixel counts, a span of 0 or less, or values that are no numbers.
    """
    if not inside.any():
        do = "Look at the mask, or leave the case out."
        raise InputError("paired scores", found="an empty mask", wanted="pixels that count", do=do)
    if not span > 0:
        raise InputError("span", found=f"{span}", wanted="more than 0", do="Give the width of the window.")
    first, second = truth.astype(np.float64), synthetic.astype(np.float64)
    error = (second - first)[inside]
    if not np.isfinite(error).all():
        found = "values that are no numbers"
        raise InputError("paired scores", found=found, wanted="finite ones", do="Look at the images.")
    squared = float(np.mean(error**2))
    return PairedScores(
        mae=float(np.mean(np.abs(error))),
        psnr=10 * math.log10(span**2 / squared) if squared else math.inf,
        ssim=float(ssim_map(first, second, span)[inside].mean()),
    )


def in_percent(
    image: Num[np.ndarray, "*slices rows columns"], percentiles: tuple[float, float]
) -> Float[np.ndarray, "*slices rows columns"]:
    """MR, which has no unit, by its own percentiles: 0 to 100, what lies outside is cut.

    Args:
        image: in any unit.
        percentiles: of all its values, those that become 0 and 100.
    """
    low, high = (float(value) for value in np.percentile(image, percentiles))
    return (Intensity(low, high if high > low else low + 1).to_model(image) + 1).astype(np.float64) * 50


def ssim_map(
    first: Float[np.ndarray, "*slices rows columns"], second: Float[np.ndarray, "*slices rows columns"], span: float
) -> Float[np.ndarray, "*slices rows columns"]:
    """Structural similarity around each pixel, in each slice by itself (Wang et al. 2004, Eq. 13).

    Images go on as their own mirror beyond the border.
    """
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    mean_x, mean_y = _local(first), _local(second)
    variance_x, variance_y = _local(first**2) - mean_x**2, _local(second**2) - mean_y**2
    covariance = _local(first * second) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return above / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))


def _local(image: Float[np.ndarray, "*slices rows columns"]) -> Float[np.ndarray, "*slices rows columns"]:
    """Weighted mean around each pixel."""
    return gaussian_filter(image, SIGMA, radius=RADIUS, axes=(-2, -1))
