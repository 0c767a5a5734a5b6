"""Two sets of slices compared without pairs: every distribution metric of Crespi et al.

Notable:
- Pixels are read once (`ImageStatistics`). Any choice of slices (a layer, some patients, a bootstrap draw) is then
  scored from products of each image with each: sums of at most n x n numbers, and one singular value decomposition.
- Slices are compared within their axial layer, and layers averaged: "Metrics were computed on images within the same
  layer, after which an average value was calculated" (Sec. 4.1).
- An undefined score is NaN: in a layer that one set does not show, the Fréchet and the kernel distance of a single
  slice, the correlation of constants. Equal sets are defined: their distance is 0.
- Every formula is exact: the tests compare it with the plain scores of the repeated images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from crossmod.errors import InputError
from crossmod.metrics.features import FeatureExtractor, kernel, weighted_frechet_distance, weighted_kernel_distance
from crossmod.metrics.histograms import (
    centred_spectra,
    correlation,
    correlation_of,
    grey_edges,
    histograms,
    intersection,
    kl_divergence,
    log_spectra,
)
from crossmod.registry import Members

Scores: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """All that the scores need of a set of slices; about 140 kB per slice of 256 px, nearly all of it spectrum."""

    features: Float[np.ndarray, "slices features"]  # of a detector
    grey: Float[np.ndarray, "slices 256"]  # shares of 256 equal bins of [-1, 1]
    tissue: Float[np.ndarray, "slices 3"] | None  # shares of three bins (gas and fluid, soft tissue, bone); None for MR
    spectra: Float32[np.ndarray, "slices size half"]  # from `log_spectra`
    layers: Int[np.ndarray, " slices"]  # axial layer of each slice, 1 to 10; 0 outside
    patients: tuple[str, ...]  # of each slice; the bootstrap draws them
    detector: str
    edges: tuple[float, ...] | None  # of the three bins

    def __len__(self) -> int:
        return len(self.patients)

    def take(self, indexes: Sequence[int] | Int[np.ndarray, " some"]) -> "ImageStatistics":
        """Only the slices at `indexes`, in that order, repeated where an index is."""
        where = np.asarray(indexes, dtype=np.int64)
        arrays = {name: value[where] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays, patients=tuple(self.patients[i] for i in where))

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
    """Compute all that the scores need of slices in [-1, 1]. `edges`: of three bins, from `tissue_edges`; None for MR.

    Histograms count only pixels `inside`; default: all, as in the paper. Half of a slice is air, which a window makes a
    single value: with all pixels, correlation and intersection mostly depend on that.
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
    """The statistics of one set, from those of its parts."""
    for part in parts[1:]:
        refuse_unlike(parts[0], part)
    names = [field.name for field in fields(ImageStatistics) if isinstance(getattr(parts[0], field.name), np.ndarray)]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays, patients=tuple(patient for part in parts for patient in part.patients))


def refuse_unlike(first: ImageStatistics, second: ImageStatistics) -> None:
    """Refuse two sets whose difference would be one of how they were measured."""
    for what, a, b in (
        ("detectors", first.detector[:12], second.detector[:12]),
        ("sizes", first.spectra.shape[1], second.spectra.shape[1]),
        ("tissue bins", first.edges, second.edges),
    ):
        if a != b:
            do = "Measure both sets with the same settings."
            raise InputError("sets of slices", found=f"two {what} ({a} and {b})", expected="equal ones", do=do)


@dataclass(frozen=True, eq=False)
class WeightedSet:
    """One set of slices with its products with itself."""

    statistics: ImageStatistics
    features: Float[np.ndarray, "n features"]  # the same, in double precision
    gram: Float[np.ndarray, "n n"]  # scalar products of features
    kernel: Float[np.ndarray, "n n"]
    # Centred, in single precision, so that no correlation is off by more than 1e-6
    spectra: Float[np.ndarray, "n frequencies"]
    covariances: Float[np.ndarray, "n n"]


def weighted_set(statistics: ImageStatistics) -> WeightedSet:
    """Compute the products of a set with itself, once for all sets that it is compared with."""
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
        """Every metric of the two sets, with each image as often as stated (whole numbers); NaN where it is
        undefined."""
        draw, images = Draw(self, times_real, times_synthetic), min(times_real.sum(), times_synthetic.sum())
        return {name: float(m.of(draw)) if images >= m.images else math.nan for name, m in METRICS.items()}


def weighted_comparison(real: WeightedSet, synthetic: WeightedSet) -> WeightedComparison:
    """Compute the products of two sets with each other."""
    refuse_unlike(real.statistics, synthetic.statistics)
    covariances = (real.spectra @ synthetic.spectra.T).astype(np.float64)
    features = real.features, synthetic.features
    return WeightedComparison(real, synthetic, features[0] @ features[1].T, kernel(*features), covariances)


@dataclass(frozen=True, eq=False)
class Draw:
    """A comparison with the number of times that each real (`a`) and each synthetic image (`b`) occurs."""

    pair: WeightedComparison
    a: Float[np.ndarray, " n"]
    b: Float[np.ndarray, " m"]

    @cached_property
    def shares(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
        """The weights of the real images, and of the synthetic ones."""
        return self.a / self.a.sum(), self.b / self.b.sum()

    @cached_property
    def grey(self) -> tuple[Float[np.ndarray, " 256"], Float[np.ndarray, " 256"]]:
        """The averaged histogram of each side."""
        p, q = self.shares
        return p @ self.pair.real.statistics.grey, q @ self.pair.synthetic.statistics.grey


def _frechet(draw: Draw) -> float:
    pair = draw.pair
    return weighted_frechet_distance(pair.real.gram, pair.synthetic.gram, pair.gram, draw.a, draw.b)


def _kid(draw: Draw) -> float:
    pair = draw.pair
    return weighted_kernel_distance(pair.real.kernel, pair.synthetic.kernel, pair.kernel, draw.a, draw.b)


def _kl_3(draw: Draw) -> float:
    (p, q), first, second = draw.shares, draw.pair.real.statistics.tissue, draw.pair.synthetic.statistics.tissue
    return math.nan if first is None or second is None else kl_divergence(p @ first, q @ second)


def _spectrum(draw: Draw) -> float:
    (p, q), pair = draw.shares, draw.pair
    variances = float(p @ pair.real.covariances @ p), float(q @ pair.synthetic.covariances @ q)
    return correlation_of(float(p @ pair.covariances @ q), *variances)


@dataclass(frozen=True)
class Metric:
    """One score of two sets of slices, with all that results and reports need to know of it.

    Args:
        title: for people.
        of: the score of a draw, whose sets of slices are `draw.pair.real` and `draw.pair.synthetic`, and their images'
            weights, with a sum of 1, `draw.shares`.
        higher_is_better: whether sets that are nearer to each other have more.
        divided: whether it is divided by its baseline. The kernel distance is not: it is unbiased, so that its
            baseline is near 0, and may be negative.
        limits: the least and the largest possible value.
        images: needed on each side.
    """

    title: str
    of: Callable[[Draw], float]
    higher_is_better: bool = False
    divided: bool = True
    limits: tuple[float, float] = (0.0, math.inf)
    images: int = 1


# Of the detector's features; FID if those are Inception's (Eq. 1).
FRECHET = Metric("Fréchet distance", _frechet, images=2)
KID = Metric("kernel distance", _kid, divided=False, limits=(-math.inf, math.inf), images=2)
# Of the averaged histograms (Eq. 2), and of those with 256 bins (Eq. 3 to 5).
KL_256 = Metric("KL, 256 bins", lambda draw: kl_divergence(*draw.grey))
KL_3 = Metric("KL, 3 bins", _kl_3)
CORRELATION = Metric("histogram correlation", lambda draw: correlation(*draw.grey), True, limits=(-1.0, 1.0))
INTERSECTION = Metric("histogram intersection", lambda draw: intersection(*draw.grey), True, limits=(0.0, 1.0))
# Of the averaged log spectra.
SPECTRUM = Metric("spectral correlation", _spectrum, True, limits=(-1.0, 1.0))

METRICS = Members[Metric]("image_metric")
"""Every metric by its name, in the order of tables; docs/how-to/extend.md shows how to add one."""
