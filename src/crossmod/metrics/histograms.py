"""Histograms and spectra of slices, and their similarity between two sets.

Crespi et al. convert images "into their spectral representation" and take "the distance between generated and original
ones through their correlation", after Frank et al. 2020, who look for artifacts of transposed convolutions. They do not
specify the transform, the use of logarithms, or the pairs of images. Here: the two-dimensional Fourier transform, the
logarithm of its magnitude, averaged over each set, and Pearson's correlation over all frequencies.

Notable:
- A histogram is of one slice and sums to 1; the distribution of a set is the mean of its slices' histograms
  ("Distributions are derived by averaging image histograms", Crespi et al., Sec. 3).
- The paper does not specify the HU that separate its three bins. Here they separate fluid, soft tissue and bone; fat is
  in the first bin ("gases and liquids (first bin and darkest values)").
- Logarithms, since magnitudes fall by orders with frequency: without them, only a few low frequencies would count.
- Averages of sets, since no real slice belongs to a synthetic one. Artifacts of generators are at the same frequencies
  in all slices and remain; what is specific to a patient is averaged out.
- A Hann window: the transform repeats the slice, so that content at its border (a table, an arm, a narrow field) would
  give a bright cross in the spectrum. The window costs two frequencies of sharpness.
- Correlations of averaged spectra are all near 1, since all images are brightest at low frequencies. The radial
  profile shows where two sets differ.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossmod.data.intensity import Intensity
from crossmod.errors import InputError

# The grey values of 8-bit images, as in the paper.
GREY_BINS = 256
# Simple fluid measures up to 20 HU, muscle and organs above 30.
SOFT_TISSUE_FROM_HU = 20.5
# Enhanced kidneys and vessels reach 200 HU in the portal-venous phase, cortical bone is above 300; and the default
# window ends at 240. Both edges are between whole HU, so that rounding moves no value across.
BONE_FROM_HU = 220.5

# Added to each bin before logarithms are taken. One pixel of a hundred slices of 256 px is 1.5e-7: an empty bin costs
# little more than a bin of one pixel, and at most 18 times its share.
SMOOTHING = 1e-8
# Rounding may exceed [-1, 1] by this share of the range.
ROUNDING = 1e-6


def grey_edges() -> Float[np.ndarray, " edges"]:
    """256 equal bins of the model's [-1, 1]."""
    return np.linspace(-1, 1, GREY_BINS + 1)


def tissue_edges(intensity: Intensity) -> Float[np.ndarray, " edges"]:
    """Gas and fluid, soft tissue, bone: three bins of the model's [-1, 1], for CT windowed by `intensity`."""
    inner = np.array([SOFT_TISSUE_FROM_HU, BONE_FROM_HU])
    edges = np.concatenate([[-1.0], (inner - intensity.low) * (2 / (intensity.high - intensity.low)) - 1, [1.0]])
    if not (np.diff(edges) > 0).all():
        found = f"a window from {intensity.low:g} to {intensity.high:g} HU"
        expected = f"one with {SOFT_TISSUE_FROM_HU:g} and {BONE_FROM_HU:g} HU, which separate fluid, tissue and bone"
        do = "Train with a wider window, or omit the 3 bins."
        raise InputError("--window", found=found, expected=expected, do=do)
    return edges


def histograms(
    images: Float[np.ndarray, "slices rows columns"],
    edges: Float[np.ndarray, " edges"],
    inside: Bool[np.ndarray, "slices rows columns"] | None = None,
) -> Float[np.ndarray, "slices bins"]:
    """The share of each slice's pixels `inside` in each bin; a bin includes its lower edge, the last one its upper edge
    too. A slice without such pixels has zeros in all bins."""
    refuse_out_of_range(images, float(edges[0]), float(edges[-1]))
    bins = len(edges) - 1
    shares = np.zeros((len(images), bins))
    for index, image in enumerate(images):
        values = image.ravel() if inside is None else image[inside[index]]
        places = np.searchsorted(edges[1:-1], values, side="right")
        shares[index] = np.bincount(places, minlength=bins) / max(values.size, 1)
    return shares


def kl_divergence(p: Float[np.ndarray, " bins"], q: Float[np.ndarray, " bins"], smoothing: float = SMOOTHING) -> float:
    """D(p || q) = sum p log(p / q), natural logarithm: 0 for equal distributions, else more (Crespi et al., Eq. 2).

    Args:
        p: distribution of the real images, with sum 1.
        q: distribution of the synthetic images, with sum 1.
        smoothing: added to each bin of both, which are then divided by their sum; with 0, a bin that is empty only in q
            makes the divergence infinite, and a bin that is empty in p counts as 0.
    """
    p, q = ((side + smoothing) / (side + smoothing).sum() for side in (p, q))
    held = p > 0
    with np.errstate(divide="ignore"):
        return max(0.0, float(np.sum(p[held] * np.log(p[held] / q[held]))))  # rounding may give a little less than 0


def correlation(first: Float[np.ndarray, " bins"], second: Float[np.ndarray, " bins"]) -> float:
    """Pearson's correlation over bins: 1 for equal histograms, NaN if one has the same value in all bins (Crespi et
    al., Eq. 3 and 4; OpenCV's HISTCMP_CORREL)."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-15 else float("nan")


def intersection(first: Float[np.ndarray, " bins"], second: Float[np.ndarray, " bins"]) -> float:
    """Sum over bins of the smaller share: 0 to 1, 1 for equal histograms (Crespi et al., Eq. 5; HISTCMP_INTERSECT).

    The paper's has no upper limit, since its histograms need not sum to 1; these do, so that slices of different sizes
    can be compared.
    """
    return float(np.minimum(first, second).sum())


def refuse_out_of_range(images: Float[np.ndarray, "..."], low: float, high: float) -> None:
    """Refuse values outside a range, except for rounding."""
    if images.size == 0:
        return
    least, most = float(images.min()), float(images.max())
    slack = ROUNDING * (high - low)
    if not (low - slack <= least and most <= high + slack):  # NaN fails too
        found = f"values from {least:g} to {most:g}"
        do = "Convert them to the model's range first, by the intensity step of their case."
        raise InputError("images", found=found, expected=f"values from {low:g} to {high:g}", do=do)


# Smallest magnitude: noise of 1e-4 of half the range, 0.02 HU in a window of 400 HU, below that of any scanner and
# above the rounding of 16 bits. Without it, empty frequencies would dominate the logarithms.
FLOOR = 1e-4
# Variance below which a spectrum is constant but for rounding, and its correlation undefined.
STILL = 1e-12


def log_spectra(images: Float[np.ndarray, "slices size size"]) -> Float32[np.ndarray, "slices size half"]:
    """log10 of the magnitude of each slice's frequencies, half of the plane: the other mirrors it. In units of white
    noise: all magnitudes of noise with standard deviation s are about s."""
    size = images.shape[-1]
    hann = np.hanning(size + 2)[1:-1]  # without the two zeros at its ends
    window = np.outer(hann, hann)
    scale = 1 / np.sqrt(np.sum(window**2))
    spectra = np.empty((len(images), size, size // 2 + 1), np.float32)
    for index, image in enumerate(images):
        # The mean is not structure, and the window would spread it over neighbouring frequencies.
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
    """Rows whose scalar products are the covariances of the spectra over the full plane; the row of an average is the
    average of the rows."""
    weights = multiplicity(spectra.shape[1]).ravel()
    weights /= max(weights.sum(), 1.0)
    flat = spectra.reshape(len(spectra), -1).astype(np.float64)
    return (flat - (flat @ weights)[:, None]) * np.sqrt(weights)


def correlation_of(covariance: float, first: float, second: float) -> float:
    """Covariance divided by the root of two variances; NaN if one of them is 0."""
    return float("nan") if min(first, second) < STILL else covariance / float(np.sqrt(first * second))


def radial_profile(spectrum: Float[np.ndarray, "size half"]) -> Float[np.ndarray, " radii"]:
    """Mean of a log spectrum over rings of 1, 2, ... size // 2 periods per slice, the highest of all directions."""
    size = spectrum.shape[0]
    rows, columns = np.fft.fftfreq(size) * size, np.arange(spectrum.shape[1])
    rings = np.rint(np.hypot(rows[:, None], columns[None])).astype(np.int64).ravel()
    weights = multiplicity(size).ravel()
    count = np.bincount(rings, weights)[1 : size // 2 + 1]
    return np.bincount(rings, weights * spectrum.ravel())[1 : size // 2 + 1] / count
