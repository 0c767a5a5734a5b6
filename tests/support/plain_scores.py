"""The scores of two sets of slices, image by image: what draws of repeated images are compared with."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from crossmod.metrics.distribution import METRICS, ImageStatistics, Scores
from crossmod.metrics.features import frechet_distance, kernel_distance
from crossmod.metrics.histograms import centred_spectra, correlation, correlation_of, intersection, kl_divergence


def in_layer(statistics: ImageStatistics, layer: int) -> ImageStatistics:
    """Only the slices of one layer."""
    return statistics.take(np.flatnonzero(statistics.layers == layer))


def score(real: ImageStatistics, synthetic: ImageStatistics, layer: int | None = None) -> Scores:
    """Every metric of two sets of slices, or of their slices of one layer."""
    if layer is not None:
        real, synthetic = in_layer(real, layer), in_layer(synthetic, layer)
    scores = dict.fromkeys(METRICS, math.nan)
    if min(len(real), len(synthetic)) >= 2:
        scores["frechet"] = frechet_distance(real.features, synthetic.features)
        scores["kid"] = kernel_distance(real.features, synthetic.features)
    if min(len(real), len(synthetic)) >= 1:
        grey = real.grey.mean(axis=0), synthetic.grey.mean(axis=0)
        scores["kl_256"], scores["correlation"] = kl_divergence(*grey), correlation(*grey)
        scores["intersection"] = intersection(*grey)
        if real.tissue is not None and synthetic.tissue is not None:
            scores["kl_3"] = kl_divergence(real.tissue.mean(axis=0), synthetic.tissue.mean(axis=0))
        means = (side.spectra.mean(axis=0, dtype=np.float64) for side in (real, synthetic))
        scores["spectrum"] = spectral_correlation(*means)
    return scores


def score_layers(real: ImageStatistics, synthetic: ImageStatistics) -> dict[int, Scores]:
    """Every metric in each of the ten layers."""
    return {layer: score(real, synthetic, layer) for layer in range(1, 11)}


def average(by_layer: Mapping[int, Mapping[str, float]]) -> Scores:
    """The mean of each metric over the layers that have it; NaN where none has."""
    means = {}
    for metric in METRICS:
        values = [scores[metric] for scores in by_layer.values() if not math.isnan(scores[metric])]
        means[metric] = float(np.mean(values)) if values else math.nan
    return means


def spectral_correlation(real: Float[np.ndarray, "size half"], synthetic: Float[np.ndarray, "size half"]) -> float:
    """Pearson's correlation over all frequencies of two averaged log spectra; NaN if one is constant."""
    a, b = centred_spectra(np.stack([real, synthetic]))
    return correlation_of(float(a @ b), float(a @ a), float(b @ b))
