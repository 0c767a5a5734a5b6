"""Histograms and spectra of slices, and how alike those of two sets are.

Crespi et al. convert images "into their spectral representation" and take "the distance between generated and original
ones through their correlation", after Frank et al. 2020, who look for what transposed convolutions leave behind. Which
transform, whether of logarithms, and which image against which, they leave open. Here: the two-dimensional Fourier
transform, the logarithm of its magnitude, averaged over each set, and Pearson's correlation over all frequencies.

Notable:
- A histogram is of one slice and sums to 1; the distribution of a set is the mean of its slices' histograms
  ("Distributions are derived by averaging image histograms", Crespi et al., Sec. 3).
- The paper leaves open which HU its three bins part. Here they part what a reader of CT calls fluid, soft tissue and
  bone; fat, which lies between gas and fluid, falls into the first bin with them ("gases and liquids (first bin and
  darkest values)").
- Logarithms, since magnitudes fall by orders with frequency: without them, a handful of low ones were all that counts.
- Averages of sets, since no real slice belongs to a synthetic one. What generators leave is at the same frequencies in
  all of their slices, and stays; what is one patient's is averaged out.
- A Hann window: a slice that does not fade out towards its border (a table, an arm, a narrow field) is a cliff to a
  transform that repeats it, and a bright cross in its spectrum; the window costs two frequencies of sharpness.
- Correlations of averaged spectra are all near 1, since all images are brightest at low frequencies. The radial
  profile shows where two sets differ.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossmod.data.intensity import Intensity
from crossmod.errors import InputError

# Grey values of 8-bit images, which the paper's histograms were of.
GREY_BINS = 256
# Simple fluid measures up to 20 HU, muscle and organs above 30.
SOFT_TISSUE_FROM_HU = 20.5
# Enhanced kidneys and vessels reach 200 HU in the portal-venous phase, cortical bone lies above 300; and it must lie
# below 240, where the default window ends. Both edges lie between whole HU, so that no rounding moves a value over.
BONE_FROM_HU = 220.5

# Added to each bin before logarithms are taken. One pixel of a hundred slices of 256 px is 1.5e-7: a bin that no
# synthetic slice reaches costs little more than one that a single pixel reaches, and 18 times its share at most.
SMOOTHING = 1e-8
# From model units, rounding may lead out of [-1, 1] by this much.
ROUNDING = 1e-6


def grey_edges() -> Float[np.ndarray, " edges"]:
    """256 equal bins of the model's [-1, 1]."""
    return np.linspace(-1, 1, GREY_BINS + 1)


def tissue_edges(intensity: Intensity) -> Float[np.ndarray, " edges"]:
    """Gas and fluid, soft tissue, bone: three bins of the model's [-1, 1], for CT that was windowed by `intensity`.

    Raises:
        InputError: a window that does not reach from fluid to bone, so that a bin would always be empty.
    """
    inner = np.array([SOFT_TISSUE_FROM_HU, BONE_FROM_HU])
    edges = np.concatenate([[-1.0], (inner - intensity.low) * (2 / (intensity.high - intensity.low)) - 1, [1.0]])
    if not (np.diff(edges) > 0).all():
        found = f"a window from {intensity.low:g} to {intensity.high:g} HU"
        expected = f"one that holds {SOFT_TISSUE_FROM_HU:g} and {BONE_FROM_HU:g} HU, which part fluid, tissue and bone"
        raise InputError(
            "--window", found=found, expected=expected, do="Train with a wider window, or leave 3 bins out."
        )
    return edges


def histograms(
    images: Float[np.ndarray, "slices rows columns"],
    edges: Float[np.ndarray, " edges"],
    inside: Bool[np.ndarray, "slices rows columns"] | None = None,
) -> Float[np.ndarray, "slices bins"]:
    """The share of each slice's pixels in each bin; a bin holds its lower edge, the last one its upper edge as well.

    Args:
        images: in the units of `edges`.
        edges: rising, one more than bins.
        inside: count these pixels only, such as the body's; a slice without any has zeros in all bins.

    Raises:
        InputError: values outside of the edges, or that are no numbers.
    """
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
        smoothing: what is added to each bin of both, which are then divided by their sum; with 0, a bin that q leaves
            empty and p does not makes the divergence infinite, and a bin that p leaves empty counts as 0.
    """
    p, q = ((side + smoothing) / (side + smoothing).sum() for side in (p, q))
    held = p > 0
    with np.errstate(divide="ignore"):
        return max(0.0, float(np.sum(p[held] * np.log(p[held] / q[held]))))  # rounding may leave a little less than 0


def correlation(first: Float[np.ndarray, " bins"], second: Float[np.ndarray, " bins"]) -> float:
    """Pearson's correlation over bins: 1 for equal histograms (Crespi et al., Eq. 3 and 4; OpenCV's HISTCMP_CORREL).

    nan where a histogram has the same value in all bins, so that nothing can be said of its shape.
    """
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-15 else float("nan")


def intersection(first: Float[np.ndarray, " bins"], second: Float[np.ndarray, " bins"]) -> float:
    """Sum over bins of the lesser share: 0 to 1, 1 for equal histograms (Crespi et al., Eq. 5; HISTCMP_INTERSECT).

    The paper's own has no upper end, since its histograms need not sum to 1; ours do, or slices of different sizes
    could not be compared.
    """
    return float(np.minimum(first, second).sum())


def refuse_out_of_range(images: Float[np.ndarray, "..."], low: float, high: float) -> None:
    """Refuse values outside of a range, but for rounding.

    Raises:
        InputError: there are such.
    """
    if images.size == 0:
        return
    least, most = float(images.min()), float(images.max())
    slack = ROUNDING * (high - low)
    if not (low - slack <= least and most <= high + slack):  # also where one is no number
        found = f"values from {least:g} to {most:g}"
        do = "Bring them to the model's range first, by the intensity step of their case."
        raise InputError("images", found=found, expected=f"values from {low:g} to {high:g}", do=do)


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
