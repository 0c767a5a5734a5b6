"""Whether a synthetic slice lies where its source lies, to a fraction of a pixel.

A translator may shift everything and shift it back on the way home: the cycle closes, the discriminators see no source,
and a segmentor trained along learns the same shift. The labels then do not match the image, and label consistency does
not show it.

Notable:
- Gradient magnitudes are compared, so that contrast may differ, or be inverted, between the two images.
- The peak of the cross-correlation is found to the pixel, then on a grid 20 times as fine around it, by the matrix form
  of the discrete Fourier transform (Guizar-Sicairos, Thurman and Fienup, Optics Letters 33, 156, 2008).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float
from scipy.ndimage import gaussian_gradient_magnitude

# No translator was seen to shift further; a wider search finds chance likenesses.
FURTHEST = 1 / 8
# Steps of a pixel to which the peak is found.
FINE = 20
# A shift of this many millimetres or more is a warning, in the trust report and in `synthesize`.
SHIFT_LIMIT_MM = 2.0


@dataclass(frozen=True)
class Peak:
    """Where two images match best.

    Args:
        rows: pixels by which the second lies further down than the first.
        columns: further right.
        height: correlation of the gradient magnitudes there, up to 1; 0 where an image has no edges.
    """

    rows: float
    columns: float
    height: float


def shift_between(
    first: Float[np.ndarray, "rows columns"], second: Float[np.ndarray, "rows columns"]
) -> tuple[float, float]:
    """How many rows and columns `second` lies away from `first`, to a fraction of a pixel; (0, 0) without edges."""
    found = peak_of(cross_spectrum(edges_of(first), edges_of(second)), first.shape)
    return found.rows, found.columns


def edges_of(image: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Gradient magnitudes, smoothed by a pixel."""
    return gaussian_gradient_magnitude(image.astype(np.float64), 1.0)


def cross_spectrum(
    first: Float[np.ndarray, "rows columns"],
    second: Float[np.ndarray, "rows columns"],
) -> Complex[np.ndarray, "rows half"]:
    """Spectrum of the correlation of two edge images over all shifts; divided so that equal images reach 1.

    Zeros where one of the two has no edges.

    Args:
        first: from `edges_of`.
        second: likewise.
    """
    sides = [edge - edge.mean() for edge in (first, second)]
    scale = float(np.sqrt((sides[0] ** 2).sum() * (sides[1] ** 2).sum()))
    if scale <= 0:
        return np.zeros((first.shape[0], first.shape[1] // 2 + 1), np.complex128)
    a, b = (np.fft.rfft2(side) for side in sides)
    return np.conj(a) * b / scale


def peak_of(spectrum: Complex[np.ndarray, "rows half"], shape: tuple[int, int]) -> Peak:
    """The best match within an eighth of the image.

    Args:
        spectrum: of the correlation, from `cross_spectrum`, or a mean of several.
        shape: of the images.
    """
    likeness = np.fft.irfft2(spectrum, shape)
    limits = [max(1, int(length * FURTHEST)) for length in shape]
    near = np.roll(likeness, limits, axis=(0, 1))[: 2 * limits[0] + 1, : 2 * limits[1] + 1]
    if near.max() <= 0:  # an image without edges lies nowhere
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
    # Each column of the half plane stands for itself and its mirror image, but the first and, of even widths, the last.
    counts = np.full(spectrum.shape[1], 2.0)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    down = np.exp(2j * np.pi * np.outer(rows, np.fft.fftfreq(height)))
    along = np.exp(2j * np.pi * np.outer(np.arange(spectrum.shape[1]) / width, columns))
    return np.real(down @ (spectrum * counts) @ along) / (height * width)
