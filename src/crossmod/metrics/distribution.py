"""Two sets of slices compared without pairs: every distribution metric of Crespi et al. at once.

Notable:
- What the scores need is taken from the pixels once, slice by slice (`ImageStatistics`); any choice of slices is then
  scored without them: a layer, some patients, a bootstrap draw.
- Slices are compared with slices of their own axial layer, and the layers averaged: "Metrics were computed on images
  within the same layer, after which an average value was calculated" (Sec. 4.1).
- A score that cannot be taken is nan: of a layer that one side has no slice of, the Fréchet and the kernel distance of
  a single slice, the correlation of what is constant. Equal sets are no such case: their distance is 0.
- All of them follow from products of each image with each, taken once: distances need no features again, correlations
  no spectra. A draw then costs sums of at most n x n numbers, and one singular value decomposition.
- Every formula here is exact: the tests hold it against the plain score of the repeated images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from crossmod.errors import InputError
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.features import FeatureExtractor, frechet_distance, kernel, kernel_distance, weighted_distance
from crossmod.metrics.histograms import (
    centred_spectra,
    correlation,
    correlation_of,
    grey_edges,
    histograms,
    intersection,
    kl_divergence,
    log_spectra,
    spectral_correlation,
)

METRICS: tuple[str, ...] = ("frechet", "kid", "kl_256", "kl_3", "correlation", "intersection", "spectrum")
"""Every score, in the order in which they are told.

`frechet`: Fréchet distance of the detector's features; FID where those are Inception's (Eq. 1). `kid`: kernel distance
of the same. `kl_256`, `kl_3`: divergence of the averaged histograms (Eq. 2). `correlation`, `intersection`: of the
256-bin histograms (Eq. 3 to 5). `spectrum`: correlation of the averaged log spectra.
"""
HIGHER_IS_BETTER = frozenset({"correlation", "intersection", "spectrum"})
LIMITS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("frechet", "kl_256", "kl_3"), (0.0, math.inf)),
    **dict.fromkeys(("correlation", "spectrum"), (-1.0, 1.0)),
    "intersection": (0.0, 1.0),
}
"""The least and the most that a score can be; the kernel distance has no such."""

Scores: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """All that the scores need of a set of slices; about 140 kB a slice of 256 px, nearly all of it spectrum.

    Args:
        features: of a detector.
        grey: shares of 256 equal bins of [-1, 1].
        tissue: shares of three bins, gas and fluid, soft tissue, bone; None for images that are no CT.
        spectra: log spectra, as `spectrum.log_spectra` gives them.
        layers: axial layer of each slice, 1 to 10; 0 outside of them.
        patients: who each slice is of: what the bootstrap draws.
        detector: hash of the detector.
        edges: of the three bins.
    """

    features: Float[np.ndarray, "slices features"]
    grey: Float[np.ndarray, "slices 256"]
    tissue: Float[np.ndarray, "slices 3"] | None
    spectra: Float32[np.ndarray, "slices size half"]
    layers: Int[np.ndarray, " slices"]
    patients: tuple[str, ...]
    detector: str
    edges: tuple[float, ...] | None

    def __len__(self) -> int:
        return len(self.patients)

    def take(self, indexes: Sequence[int] | Int[np.ndarray, " some"]) -> "ImageStatistics":
        """Only the slices at `indexes`, in that order; one may come several times."""
        where = np.asarray(indexes, dtype=np.int64)
        arrays = {name: value[where] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays, patients=tuple(self.patients[i] for i in where))

    def in_layer(self, layer: int) -> "ImageStatistics":
        """Only the slices of one layer."""
        return self.take(np.flatnonzero(self.layers == layer))

    def of_patients(self, patients: Sequence[str]) -> "ImageStatistics":
        """Only the slices of some patients."""
        chosen = set(patients)
        return self.take([i for i, patient in enumerate(self.patients) if patient in chosen])


def image_statistics(
    images: Float[np.ndarray, "slices size size"],
    layers: Int[np.ndarray, " slices"],
    patients: Sequence[str],
    detector: FeatureExtractor,
    edges: Float[np.ndarray, " edges"] | None = None,
    inside: Bool[np.ndarray, "slices size size"] | None = None,
) -> ImageStatistics:
    """Take from a set of slices, of one case or of many, all that the scores need.

    Args:
        images: in [-1, 1].
        layers: axial layer of each.
        patients: whose each is.
        detector: what its features are taken with.
        edges: of three bins, as `histogram.tissue_edges` gives them; None for images that are no CT.
        inside: pixels that histograms count; by default all, as in the paper. Half of a slice is air, which a window
            makes one single value: with all pixels, correlation and intersection are mostly of that.

    Raises:
        InputError: no slice, or values outside of [-1, 1].
    """
    if len(images) == 0:
        raise InputError("slices to score", found="none", expected="one or more", do="Give a store that has slices.")
    grey = histograms(images, grey_edges(), inside)  # refuses a wrong range, before the detector takes its time
    return ImageStatistics(
        features=detector.features(images),
        grey=grey,
        tissue=None if edges is None else histograms(images, edges, inside),
        spectra=log_spectra(images),
        layers=layers,
        patients=tuple(patients),
        detector=detector.sha256,
        edges=None if edges is None else tuple(edges.tolist()),
    )


def joined(parts: Sequence[ImageStatistics]) -> ImageStatistics:
    """The statistics of one set, from those of its parts.

    Raises:
        InputError: parts that were not taken alike.
    """
    for part in parts[1:]:
        refuse_unlike(parts[0], part)
    names = [field.name for field in fields(ImageStatistics) if isinstance(getattr(parts[0], field.name), np.ndarray)]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays, patients=tuple(patient for part in parts for patient in part.patients))


def score(real: ImageStatistics, synthetic: ImageStatistics, layer: int | None = None) -> Scores:
    """Every metric of two sets of slices, or of their slices of one layer. They need not be as many.

    Raises:
        InputError: sets that were not taken alike.
    """
    refuse_unlike(real, synthetic)
    if layer is not None:
        real, synthetic = real.in_layer(layer), synthetic.in_layer(layer)
    scores = dict.fromkeys(METRICS, math.nan)
    if min(len(real), len(synthetic)) >= 2:
        scores["frechet"] = frechet_distance(real.features, synthetic.features)
        scores["kid"] = kernel_distance(real.features, synthetic.features)
    if min(len(real), len(synthetic)) >= 1:
        scores |= histogram_scores(real.grey.mean(axis=0), synthetic.grey.mean(axis=0))
        if real.tissue is not None and synthetic.tissue is not None:
            scores["kl_3"] = kl_divergence(real.tissue.mean(axis=0), synthetic.tissue.mean(axis=0))
        means = (side.spectra.mean(axis=0, dtype=np.float64) for side in (real, synthetic))
        scores["spectrum"] = spectral_correlation(*means)
    return scores


def histogram_scores(real: Float[np.ndarray, " 256"], synthetic: Float[np.ndarray, " 256"]) -> Scores:
    """The three scores of averaged 256-bin histograms."""
    return {
        "kl_256": kl_divergence(real, synthetic),
        "correlation": correlation(real, synthetic),
        "intersection": intersection(real, synthetic),
    }


def score_layers(real: ImageStatistics, synthetic: ImageStatistics) -> dict[int, Scores]:
    """Every metric in each of the ten layers.

    Raises:
        InputError: sets that were not taken alike.
    """
    return {layer: score(real, synthetic, layer) for layer in range(1, LAYERS + 1)}


def average(by_layer: Mapping[int, Mapping[str, float]]) -> Scores:
    """The mean of each metric over the layers that have it; nan where none has."""
    means = {}
    for metric in METRICS:
        values = [scores[metric] for scores in by_layer.values() if not math.isnan(scores[metric])]
        means[metric] = float(np.mean(values)) if values else math.nan
    return means


def refuse_unlike(first: ImageStatistics, second: ImageStatistics) -> None:
    """Refuse to score two sets against each other whose difference would be one of how they were measured.

    Raises:
        InputError: other detectors, sizes or bins.
    """
    sizes = first.spectra.shape[1], second.spectra.shape[1]
    for what, pair in (
        ("detectors", (first.detector[:12], second.detector[:12])),
        ("sizes", sizes),
        ("tissue bins", (first.edges, second.edges)),
    ):
        if pair[0] != pair[1]:
            found = f"two {what} ({pair[0]} and {pair[1]})"
            do = "Measure both sets with the same settings."
            raise InputError("sets of slices", found=found, expected="the same on both sides", do=do)


@dataclass(frozen=True, eq=False)
class WeightedSet:
    """One set of slices with its products with itself.

    Args:
        statistics: of the slices.
        features: the same, double precision.
        gram: scalar products of features.
        kernel: of the kernel distance.
        spectra: centred, single precision, so that no correlation is off by more than 1e-6.
        covariances: of spectra.
    """

    statistics: ImageStatistics
    features: Float[np.ndarray, "n features"]
    gram: Float[np.ndarray, "n n"]
    kernel: Float[np.ndarray, "n n"]
    spectra: Float[np.ndarray, "n frequencies"]
    covariances: Float[np.ndarray, "n n"]


def side(statistics: ImageStatistics) -> WeightedSet:
    """Make the products of a set with itself; they serve all sets that it is compared with."""
    features = statistics.features.astype(np.float64)
    spectra = centred_spectra(statistics.spectra).astype(np.float32)
    covariances = (spectra @ spectra.T).astype(np.float64)
    return WeightedSet(statistics, features, features @ features.T, kernel(features, features), spectra, covariances)


@dataclass(frozen=True, eq=False)
class WeightedComparison:
    """Two sets of slices with their products with each other."""

    real: WeightedSet
    synthetic: WeightedSet
    gram: Float[np.ndarray, "n m"]
    kernel: Float[np.ndarray, "n m"]
    covariances: Float[np.ndarray, "n m"]

    def scores(self, times_real: Float[np.ndarray, " n"], times_synthetic: Float[np.ndarray, " m"]) -> Scores:
        """What `distribution.score` gives for the two sets with each image repeated so many times.

        Args:
            times_real: how often each real image comes: whole numbers, 0 for one that was not drawn.
            times_synthetic: how often each synthetic one.
        """
        real, synthetic, a, b = self.real, self.synthetic, times_real, times_synthetic
        n, m = a.sum(), b.sum()
        scores = dict.fromkeys(METRICS, math.nan)
        if min(n, m) >= 2:
            scores["frechet"] = weighted_frechet(real.gram, synthetic.gram, self.gram, a, b)
            scores["kid"] = weighted_distance(real.kernel, synthetic.kernel, self.kernel, a, b)
        if min(n, m) >= 1:
            p, q = a / n, b / m
            first, second = real.statistics, synthetic.statistics
            scores |= histogram_scores(p @ first.grey, q @ second.grey)
            if first.tissue is not None and second.tissue is not None:
                scores["kl_3"] = kl_divergence(p @ first.tissue, q @ second.tissue)
            variances = float(p @ real.covariances @ p), float(q @ synthetic.covariances @ q)
            scores["spectrum"] = correlation_of(float(p @ self.covariances @ q), *variances)
        return scores


def pairing(real: WeightedSet, synthetic: WeightedSet) -> WeightedComparison:
    """Make the products of two sets with each other.

    Raises:
        InputError: sets that were not taken alike.
    """
    refuse_unlike(real.statistics, synthetic.statistics)
    covariances = (real.spectra @ synthetic.spectra.T).astype(np.float64)
    features = real.features, synthetic.features
    return WeightedComparison(real, synthetic, features[0] @ features[1].T, kernel(*features), covariances)


def weighted_frechet(
    aa: Float[np.ndarray, "n n"],
    bb: Float[np.ndarray, "m m"],
    ab: Float[np.ndarray, "n m"],
    times_a: Float[np.ndarray, " n"],
    times_b: Float[np.ndarray, " m"],
) -> float:
    """`frechet.frechet_distance` of sets in which images come several times, from scalar products of their features.

    An image that comes w times is w equal rows of A: together they do to the singular values of A B.T what one row
    does that is sqrt(w) times as long. What was not drawn drops out, so that draws decompose less than n x m.

    Args:
        aa: scalar products of the first set's features with one another.
        bb: the second set's.
        ab: between the two.
        times_a: how often each image of the first set comes; two or more in all.
        times_b: the second set's.
    """
    n, m = times_a.sum(), times_b.sum()
    p, q = times_a / n, times_b / m
    mean_aa, mean_bb = p @ aa @ p, q @ bb @ q
    apart = mean_aa + mean_bb - 2 * (p @ ab @ q)
    traces = (p @ np.diagonal(aa) - mean_aa) * n / (n - 1) + (q @ np.diagonal(bb) - mean_bb) * m / (m - 1)
    rows, columns = np.flatnonzero(times_a), np.flatnonzero(times_b)
    p, q = p[rows], q[columns]
    drawn = ab[np.ix_(rows, columns)]
    centred = drawn - p @ drawn - (drawn @ q)[:, None] + p @ drawn @ q
    lengths = np.sqrt(p * n / (n - 1))[:, None] * np.sqrt(q * m / (m - 1))
    shared = np.linalg.svd(lengths * centred, compute_uv=False).sum()  # Tr sqrt(S1 S2)
    return max(0.0, float(apart + traces - 2 * shared))
