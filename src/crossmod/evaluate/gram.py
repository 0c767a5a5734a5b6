"""The scores of sets in which images come several times, as bootstrap draws have them, in a millisecond a draw.

Notable:
- All of them follow from products of each image with each, taken once: distances need no features again, correlations
  no spectra. A draw then costs sums of at most n x n numbers, and one singular value decomposition.
- Every formula here is exact: the tests hold it against the plain score of the repeated images.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.evaluate.distribution import METRICS, ImageStatistics, Scores, histogram_scores, refuse_unlike
from crossmod.evaluate.histogram import kl_divergence
from crossmod.evaluate.kid import kernel, weighted_distance
from crossmod.evaluate.spectrum import centred_spectra, correlation_of


@dataclass(frozen=True, eq=False)
class Side:
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


def side(statistics: ImageStatistics) -> Side:
    """Make the products of a set with itself; they serve all sets that it is compared with."""
    features = statistics.features.astype(np.float64)
    spectra = centred_spectra(statistics.spectra).astype(np.float32)
    covariances = (spectra @ spectra.T).astype(np.float64)
    return Side(statistics, features, features @ features.T, kernel(features, features), spectra, covariances)


@dataclass(frozen=True, eq=False)
class Pairing:
    """Two sets of slices with their products with each other."""

    real: Side
    synthetic: Side
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


def pairing(real: Side, synthetic: Side) -> Pairing:
    """Make the products of two sets with each other.

    Raises:
        InputError: sets that were not taken alike.
    """
    refuse_unlike(real.statistics, synthetic.statistics)
    covariances = (real.spectra @ synthetic.spectra.T).astype(np.float64)
    features = real.features, synthetic.features
    return Pairing(real, synthetic, features[0] @ features[1].T, kernel(*features), covariances)


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
