"""Spectra of slices: which frequencies they hold, and how alike those of two sets are.

Crespi et al. convert images "into their spectral representation" and take "the distance between generated and original
ones through their correlation", after Frank et al. 2020, who look for what transposed convolutions leave behind. Which
transform, whether of logarithms, and which image against which, they leave open. Here: the two-dimensional Fourier
transform, the logarithm of its magnitude, averaged over each set, and Pearson's correlation over all frequencies.

Notable:
- Logarithms, since magnitudes fall by orders with frequency: without them, a handful of low ones were all that counts.
- Averages of sets, since no real slice belongs to a synthetic one. What generators leave is at the same frequencies in
  all of their slices, and stays; what is one patient's is averaged out.
- A Hann window: a slice that does not fade out towards its border (a table, an arm, a narrow field) is a cliff to a
  transform that repeats it, and a bright cross in its spectrum; the window costs two frequencies of sharpness.
- Correlations of averaged spectra are all near 1, since all images are brightest at low frequencies. The radial
  profile shows where two sets differ.
"""

import numpy as np
from jaxtyping import Float, Float32

# Least magnitude that is told from none: noise of 1e-4 of half the range, 0.02 HU in a window of 400 HU, below that of
# any scanner and above what 16 bits leave. It keeps the emptiest frequencies from being the loudest.
FLOOR = 1e-4
# Correlation of what does not vary is undefined; rounding leaves about so much of a constant.
STILL = 1e-12


def log_spectra(images: Float[np.ndarray, "slices size size"]) -> Float32[np.ndarray, "slices size half"]:
    """log10 of the magnitude of each slice's frequencies, half of the plane: the other mirrors it.

    In units of white noise: of noise with standard deviation s, all magnitudes are about s.

    Args:
        images: in [-1, 1].
    """
    size = images.shape[-1]
    hann = np.hanning(size + 2)[1:-1]  # without the two zeros at its ends
    window = np.outer(hann, hann)
    scale = 1 / np.sqrt(np.sum(window**2))
    spectra = np.empty((len(images), size, size // 2 + 1), np.float32)
    for index, image in enumerate(images):
        # The mean is not structure; left in, the window would spread it over its neighbours.
        mean = np.sum(window * image) / window.sum()
        magnitude = np.abs(np.fft.rfft2(window * (image - mean))) * scale
        spectra[index] = np.log10(np.maximum(magnitude, FLOOR))
    return spectra


def multiplicity(size: int) -> Float[np.ndarray, "size half"]:
    """How many frequencies of the full plane each of the half plane stands for; 0 for the mean."""
    counts = np.full((size, size // 2 + 1), 2.0)
    counts[:, 0] = 1
    if size % 2 == 0:
        counts[:, -1] = 1
    counts[0, 0] = 0
    return counts


def centred_spectra(spectra: Float[np.ndarray, "sets size half"]) -> Float[np.ndarray, "sets frequencies"]:
    """Rows whose scalar products are the covariances, over the full plane, of the spectra that they are made of.

    They are linear in the spectrum: the row of an average is the average of the rows.
    """
    weights = multiplicity(spectra.shape[1]).ravel()
    weights /= max(weights.sum(), 1.0)
    flat = spectra.reshape(len(spectra), -1).astype(np.float64)
    return (flat - (flat @ weights)[:, None]) * np.sqrt(weights)


def spectral_correlation(real: Float[np.ndarray, "size half"], synthetic: Float[np.ndarray, "size half"]) -> float:
    """Pearson's correlation over all frequencies of two averaged log spectra; 1 where they have one shape.

    nan where one does not vary, as that of constant images: it has no shape to compare.
    """
    a, b = centred_spectra(np.stack([real, synthetic]))
    return correlation_of(float(a @ b), float(a @ a), float(b @ b))


def correlation_of(covariance: float, first: float, second: float) -> float:
    """Covariance over the root of two variances; nan where one of those is 0."""
    return float("nan") if min(first, second) < STILL else covariance / float(np.sqrt(first * second))


def radial_profile(spectrum: Float[np.ndarray, "size half"]) -> Float[np.ndarray, " radii"]:
    """Mean of a log spectrum over rings: 1 period a slice, 2, to size // 2, the finest that all directions hold.

    Args:
        spectrum: log spectrum of a slice, or an average of such.
    """
    size = spectrum.shape[0]
    rows, columns = np.fft.fftfreq(size) * size, np.arange(spectrum.shape[1])
    rings = np.rint(np.hypot(rows[:, None], columns[None])).astype(np.int64).ravel()
    weights = multiplicity(size).ravel()
    count = np.bincount(rings, weights)[1 : size // 2 + 1]
    return np.bincount(rings, weights * spectrum.ravel())[1 : size // 2 + 1] / count
