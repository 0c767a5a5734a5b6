"""A synthetic image compared with its source or its paired real image: shift, kept structure, MAE, PSNR, SSIM.

A translator may shift the image and shift it back: the cycle closes, the discriminators do not see the source, and a
segmentor trained jointly learns the same shift. The labels then do not match the image, which label consistency does
not show.

Notable:
- Gradient magnitudes are compared, so that contrast may differ, or be inverted, between the two images.
- The peak of the cross-correlation is found to the pixel, then on a grid 20 times as fine around it, by the matrix form
  of the discrete Fourier transform (Guizar-Sicairos, Thurman and Fienup, Optics Letters 33, 156, 2008).
- Only the inside of the body is compared: a translation takes its outline from the source, and air is easy and most of
  the picture. Slowly varying brightness is removed, since CT and MR differ in it.
- The correlations of all slices are averaged, which reduces noise: a network shifts and scales all of them equally.
- Scale: the second stack is scaled by some percent and compared again; a parabola through the best three correlations
  gives the scale. For true pairs of CT and MR phantoms it was within 2 %.
- For unpaired or badly registered images the paired scores measure the misregistration, not the quality.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Num, UInt8
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter, gaussian_gradient_magnitude

from crossmod.data.intensity import Intensity
from crossmod.errors import InputError

# Share of the image's size. No translator was seen to shift further; a wider search finds false peaks.
FURTHEST = 1 / 8
# Steps per pixel in which the peak is found.
FINE = 20
# A shift of this many millimetres or more is a warning, in the trust report and in `synthesize`.
SHIFT_LIMIT_MM = 2.0


@dataclass(frozen=True)
class Peak:
    """Where two images match best."""

    rows: float  # pixels by which the second lies further down than the first
    columns: float  # further right
    height: float  # correlation of the gradient magnitudes there, up to 1; 0 where an image has no edges


def shift_between(
    first: Float[np.ndarray, "rows columns"], second: Float[np.ndarray, "rows columns"]
) -> tuple[float, float]:
    """Rows and columns from `first` to `second`, to a fraction of a pixel; (0, 0) without edges."""
    edges = [gaussian_gradient_magnitude(image.astype(np.float64), 1.0) for image in (first, second)]
    peak = peak_of(cross_spectrum(*edges), first.shape)
    return peak.rows, peak.columns


def shift_of_labels(
    labels: UInt8[np.ndarray, "slices rows columns"], answers: UInt8[np.ndarray, "slices rows columns"]
) -> tuple[float, float] | None:
    """Rows and columns by which organs in `answers` lie away from those in `labels`, to a fraction of a pixel: where
    the outlines match best, of all slices and organs together; None if no slice has an organ in both.

    Parts that are missing or invented have an outline too, but none that agrees from slice to slice.
    """
    total = np.zeros((labels.shape[1], labels.shape[2] // 2 + 1), np.complex128)
    for label, answer in zip(labels, answers, strict=True):
        for organ in np.intersect1d(label[label > 0], answer[answer > 0]):
            sides = [gaussian_gradient_magnitude((side == organ).astype(np.float64), 1.0) for side in (label, answer)]
            total += cross_spectrum(*sides)
    if not total.any():
        return None
    peak = peak_of(total, (labels.shape[1], labels.shape[2]))
    return peak.rows, peak.columns


def cross_spectrum(
    first: Float[np.ndarray, "rows columns"],
    second: Float[np.ndarray, "rows columns"],
) -> Complex[np.ndarray, "rows half"]:
    """Spectrum of the correlation of two edge images over all shifts, scaled so that equal images reach 1; zeros
    without edges."""
    sides = [edge - edge.mean() for edge in (first, second)]
    scale = float(np.sqrt((sides[0] ** 2).sum() * (sides[1] ** 2).sum()))
    if scale <= 0:
        return np.zeros((first.shape[0], first.shape[1] // 2 + 1), np.complex128)
    a, b = (np.fft.rfft2(side) for side in sides)
    return np.conj(a) * b / scale


def peak_of(spectrum: Complex[np.ndarray, "rows half"], shape: tuple[int, int]) -> Peak:
    """The best match within an eighth of the image, by the spectrum of the correlation or a mean of several."""
    correlation = np.fft.irfft2(spectrum, shape)
    limits = [max(1, int(length * FURTHEST)) for length in shape]
    near = np.roll(correlation, limits, axis=(0, 1))[: 2 * limits[0] + 1, : 2 * limits[1] + 1]
    if near.max() <= 0:  # an image has no edges
        return Peak(0.0, 0.0, 0.0)
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    rows, columns = (float(at) + np.arange(-FINE, FINE + 1) / FINE for at in (row - limits[0], column - limits[1]))
    fine = correlation_at(spectrum, shape, rows, columns)
    r, c = np.unravel_index(int(np.argmax(fine)), fine.shape)
    return Peak(round(float(rows[r]), 6), round(float(columns[c]), 6), float(fine[r, c]))


def correlation_at(
    spectrum: Complex[np.ndarray, "rows half"],
    shape: tuple[int, int],
    rows: Float[np.ndarray, " r"],
    columns: Float[np.ndarray, " c"],
) -> Float[np.ndarray, "r c"]:
    """The correlation at shifts between pixels: the inverse transform, written as two products of matrices."""
    height, width = shape
    # A column of the half plane stands for two, itself and its mirror image, except the first and, if even, the last.
    counts = np.full(spectrum.shape[1], 2.0)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    down = np.exp(2j * np.pi * np.outer(rows, np.fft.fftfreq(height)))
    along = np.exp(2j * np.pi * np.outer(np.arange(spectrum.shape[1]) / width, columns))
    return np.real(down @ (spectrum * counts) @ along) / (height * width)


# Pixels: smoothing of what is subtracted before edges are compared; width of the excluded rim of the body.
COARSE, RIM = 3.0, 4
# Scales that are tested.
SCALES = (0.92, 0.96, 1.0, 1.04, 1.08)
# Edges below this share of the largest value are rounding errors.
FLAT = 1e-6
# The shift is unknown if fewer slices than this share agree with it to a pixel, or below this correlation.
AGREE, LEAST_STRUCTURE = 0.5, 0.1


@dataclass(frozen=True)
class Kept:
    """Position of a stack of slices relative to its source."""

    # Correlation of edges inside the body, in the best position: 1 for equal edges, about 0 for others
    structure: float
    rows: float  # pixels by which it is shifted down
    columns: float  # pixels by which it is shifted to the right
    scale: float  # 1.05: 5 % larger
    agreement: float  # share of the slices whose own shift is within a pixel of the common one

    @property
    def placed(self) -> bool:
        """Whether shift and scale are known."""
        return self.structure >= LEAST_STRUCTURE and self.agreement >= AGREE


def kept_structure(
    sources: Float[np.ndarray, "slices rows columns"],
    made: Float[np.ndarray, "slices rows columns"],
    bodies: Bool[np.ndarray, "slices rows columns"],
    *,
    scaled: bool = False,
) -> Kept | None:
    """Compare the structure of two stacks, of any units, inside the body of the sources; None if no body is wider than
    the rim. Finding the scale (`scaled`) takes five times as long; else it is 1."""
    chosen = [index for index, body in enumerate(bodies) if _core(body).any()]
    if not chosen:
        return None
    firsts = [inner_edges(sources[index], bodies[index]) for index in chosen]
    seconds = [inner_edges(made[index], bodies[index]) for index in chosen]
    shape = bodies.shape[1:]
    spectra = [cross_spectrum(a, b) for a, b in zip(firsts, seconds, strict=True)]
    best = peak_of(np.mean(spectra, axis=0), shape)
    own = [peak for peak in (peak_of(spectrum, shape) for spectrum in spectra) if peak.height > 0]
    near = [abs(peak.rows - best.rows) <= 1 and abs(peak.columns - best.columns) <= 1 for peak in own]
    scale = _best_scale(firsts, seconds, bodies[chosen], best) if scaled and best.height >= LEAST_STRUCTURE else 1.0
    return Kept(best.height, best.rows, best.columns, scale, float(np.mean(near)) if near else 0.0)


def inner_edges(
    image: Float[np.ndarray, "rows columns"], body: Bool[np.ndarray, "rows columns"]
) -> Float[np.ndarray, "rows columns"]:
    """Edges of the fine structure inside the body, minus their mean; 0 at the rim, outside, and for flat images."""
    values, weights = image.astype(np.float64), body.astype(np.float64)
    slow = gaussian_filter(values * weights, COARSE) / np.maximum(gaussian_filter(weights, COARSE), 1e-6)
    edges = gaussian_gradient_magnitude((values - slow) * weights, 1.0)
    fading = gaussian_filter(_core(body).astype(np.float64), RIM / 2) * weights
    flat = FLAT * max(float(np.abs(values[body]).max(initial=0.0)), 1.0)
    if fading.sum() <= 0 or float(edges[fading > 0.5].max(initial=0.0)) < flat:
        return np.zeros(image.shape)
    return (edges - np.average(edges, weights=fading)) * fading


def _core(body: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    return np.asarray(binary_erosion(body, iterations=RIM))


def _best_scale(
    firsts: list[np.ndarray], seconds: list[np.ndarray], bodies: Bool[np.ndarray, "slices rows columns"], best: Peak
) -> float:
    rows, columns = np.nonzero(bodies.any(axis=0))
    middle = np.array([(at.min() + at.max()) / 2 for at in (rows, columns)])
    shape, heights = bodies.shape[1:], []
    for scale in SCALES:
        if scale == 1:
            heights.append(best.height)
            continue
        # Scales back: an image that is `scale` times too large fits best.
        offset = tuple(middle * (1 - scale))
        back = [affine_transform(edges, [scale, scale], offset, order=1) for edges in seconds]  # pyright: ignore[reportArgumentType]
        spectra = [cross_spectrum(a, b) for a, b in zip(firsts, back, strict=True)]
        heights.append(peak_of(np.mean(spectra, axis=0), shape).height)
    at = int(np.clip(np.argmax(heights), 1, len(SCALES) - 2))
    before, here, after = heights[at - 1 : at + 2]
    bend = before - 2 * here + after
    step = (before - after) / (2 * bend) if bend < 0 else 0.0
    return float(SCALES[at] + np.clip(step, -1, 1) * (SCALES[1] - SCALES[0]))


# Wang et al. 2004, Sec. III-B and III-C: Gaussian weights of 11 x 11 pixels, and constants that avoid 0 / 0.
SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03


@dataclass(frozen=True)
class PairedScores:
    """A synthetic image compared with its truth."""

    mae: float  # mean absolute error, in the images' units: HU for CT
    psnr: float  # peak signal-to-noise ratio, dB; infinite for equal images
    ssim: float  # structural similarity, 1 for equal images


def paired_scores(
    truth: Num[np.ndarray, "*slices rows columns"],
    synthetic: Num[np.ndarray, "*slices rows columns"],
    inside: Bool[np.ndarray, "*slices rows columns"],
    span: float,
) -> PairedScores:
    """All three scores of a slice or a volume.

    Args:
        synthetic: in the units of the truth.
        inside: pixels that count, such as the body's.
        span: range of possible values, such as the width of the window in HU: the size of the signal for PSNR and SSIM.
            Scores of different spans cannot be compared.

    Raises:
        InputError: no pixel counts, a span of 0 or less, or values that are NaN or infinite.
    """
    if not inside.any():
        do = "Check the mask, or omit the case."
        raise InputError("paired scores", found="an empty mask", expected="pixels that count", do=do)
    if not span > 0:
        raise InputError("span", found=f"{span}", expected="more than 0", do="Give the width of the window.")
    first, second = truth.astype(np.float64), synthetic.astype(np.float64)
    error = (second - first)[inside]
    if not np.isfinite(error).all():
        found, do = "values that are NaN or infinite", "Check the images."
        raise InputError("paired scores", found=found, expected="finite values", do=do)
    squared = float(np.mean(error**2))
    return PairedScores(
        mae=float(np.mean(np.abs(error))),
        psnr=10 * math.log10(span**2 / squared) if squared else math.inf,
        ssim=float(ssim_map(first, second, span)[inside].mean()),
    )


def in_percent(
    image: Num[np.ndarray, "*slices rows columns"], percentiles: tuple[float, float]
) -> Float[np.ndarray, "*slices rows columns"]:
    """MR, which has no unit, scaled so that two percentiles of its values become 0 and 100, and cut there."""
    low, high = (float(value) for value in np.percentile(image, percentiles))
    return (Intensity(low, high if high > low else low + 1).to_model(image) + 1).astype(np.float64) * 50


def ssim_map(
    first: Float[np.ndarray, "*slices rows columns"], second: Float[np.ndarray, "*slices rows columns"], span: float
) -> Float[np.ndarray, "*slices rows columns"]:
    """Structural similarity around each pixel, slice by slice, with mirrored borders (Wang et al. 2004, Eq. 13)."""
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    mean_x, mean_y = _local(first), _local(second)
    variance_x, variance_y = _local(first**2) - mean_x**2, _local(second**2) - mean_y**2
    covariance = _local(first * second) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return above / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))


def _local(image: Float[np.ndarray, "*slices rows columns"]) -> Float[np.ndarray, "*slices rows columns"]:
    """Weighted mean around each pixel."""
    return gaussian_filter(image, SIGMA, radius=RADIUS, axes=(-2, -1))
