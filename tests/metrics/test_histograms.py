import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.stats import entropy, norm

from crossmod.data.intensity import Intensity
from crossmod.errors import InputError
from crossmod.metrics.histograms import (
    BONE_FROM_HU,
    SMOOTHING,
    SOFT_TISSUE_FROM_HU,
    correlation,
    grey_edges,
    histograms,
    intersection,
    kl_divergence,
    tissue_edges,
)

NAN = float("nan")


def two(seed: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Two distributions, with empty bins."""
    rng = np.random.default_rng(seed)
    first, second = (rng.gamma(0.3, size=bins) * (rng.random(bins) > 0.2) + 1e-12 for _ in range(2))
    return first / first.sum(), second / second.sum()


def grey(pixels: np.ndarray) -> np.ndarray:
    """8-bit grey values, in the middle of their bins of [-1, 1]."""
    return ((pixels + 0.5) / 128 - 1).astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 31, 45), (1, 1, 1), (1, 16, 16)])
def test_histograms_against_opencv(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    found = histograms(grey(pixels), grey_edges())
    expected = np.stack([cv2.calcHist([image], [0], None, [256], [0, 256]).ravel() for image in pixels])
    np.testing.assert_allclose(found * pixels[0].size, expected, rtol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_histograms_of_any_edges_against_numpy(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.unique(np.concatenate([[-1, 1], rng.choice(np.linspace(-1, 1, 101), bins)]))
    # Many values lie on edges.
    images = rng.choice(np.linspace(-1, 1, 101), (2, 7, 9))
    inside = rng.random(images.shape) > 0.3
    for mask, counted in ((None, np.ones_like(inside)), (inside, inside)):
        found = histograms(images, edges, mask)
        for row, image, which in zip(found, images, counted, strict=True):
            np.testing.assert_allclose(row * which.sum(), np.histogram(image[which], edges)[0], atol=1e-9)


def test_a_slice_without_body_is_empty() -> None:
    inside = np.zeros((1, 4, 4), dtype=bool)
    assert histograms(np.zeros((1, 4, 4)), grey_edges(), inside).sum() == 0


def test_tissue_bins_by_hand() -> None:
    """Gas, fat, water and fluid of 20 HU; muscle and an enhanced kidney; and bone, cut at the window's end."""
    window = Intensity(-160.0, 240.0)
    hu = np.array([[[-1000, -100, 0, 20, 21, 60, 190, 220, 221, 900]]])
    edges = tissue_edges(window)
    np.testing.assert_allclose(window.to_units(edges[1:3]), [SOFT_TISSUE_FROM_HU, BONE_FROM_HU], rtol=1e-5)
    np.testing.assert_allclose(histograms(window.to_model(hu), edges), [[0.4, 0.4, 0.2]])


@pytest.mark.parametrize("window", [(-160.0, 200.0), (50.0, 400.0)])
def test_a_window_without_bone_or_without_fluid_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"window.*220\.5"):
        tissue_edges(Intensity(*window))


@pytest.mark.parametrize("value", [1.01, -1.01, 60.0, NAN, float("inf")])
def test_values_out_of_range_are_refused(value: float) -> None:
    images = np.zeros((2, 3, 3))
    images[1, 2, 0] = value
    with pytest.raises(InputError, match="values from -1 to 1"):
        histograms(images, grey_edges())


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 256]))
def test_divergence_against_scipy(seed: int, bins: int) -> None:
    p, q = two(seed, bins)
    assert kl_divergence(p, q, smoothing=0.0) == pytest.approx(entropy(p, q), rel=1e-9, abs=1e-14)
    # What smoothing moves is far below what is told.
    assert kl_divergence(p, q) == pytest.approx(np.sum(rel_entr(p + SMOOTHING, q + SMOOTHING)), rel=1e-4, abs=1e-5)
    assert kl_divergence(p, q) >= 0
    assert kl_divergence(p, p) == 0


def test_divergence_of_gaussians_has_a_closed_form() -> None:
    """log(s2 / s1) + (s1^2 + (m1 - m2)^2) / 2 s2^2 - 1/2, and the other way round is another number."""
    x = np.linspace(-12, 12, 4801)
    p, q = (norm.pdf(x, *at) / norm.pdf(x, *at).sum() for at in ((0.5, 1.0), (-0.3, 1.5)))
    assert kl_divergence(p, q, smoothing=0.0) == pytest.approx(np.log(1.5) + (1 + 0.64) / 4.5 - 0.5, rel=1e-6)
    assert kl_divergence(q, p, smoothing=0.0) == pytest.approx(-np.log(1.5) + (2.25 + 0.64) / 2 - 0.5, rel=1e-6)


def test_empty_bins() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0])
    assert kl_divergence(p, q, smoothing=0.0) == float("inf")
    assert kl_divergence(q, p, smoothing=0.0) == pytest.approx(np.log(2))
    # 0.5 log(0.5 / 1) + 0.5 log(0.5 / smoothing)
    assert kl_divergence(p, q) == pytest.approx(0.5 * np.log(0.25 / SMOOTHING), rel=1e-6)
    assert kl_divergence(q, p) == pytest.approx(np.log(2), rel=1e-6)


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 256]))
def test_correlation_and_intersection_against_opencv(seed: int, bins: int) -> None:
    p, q = two(seed, bins)
    a, b = p.astype(np.float32), q.astype(np.float32)
    if np.ptp(p) > 1e-3 and np.ptp(q) > 1e-3:  # OpenCV calls flat histograms alike
        assert correlation(p, q) == pytest.approx(cv2.compareHist(a, b, cv2.HISTCMP_CORREL), abs=1e-5)
        assert correlation(p, p) == pytest.approx(1)
    assert intersection(p, q) == pytest.approx(cv2.compareHist(a, b, cv2.HISTCMP_INTERSECT), abs=1e-5)
    assert intersection(p, p) == pytest.approx(1)
    assert intersection(p, q) == pytest.approx(1 - np.abs(p - q).sum() / 2)


def test_flat_histograms_have_no_correlation() -> None:
    flat, peak = np.full(8, 1 / 8), np.eye(8)[2]
    assert np.isnan([correlation(flat, peak), correlation(peak, flat), correlation(flat, flat)]).all()
    assert np.isnan(correlation(np.ones(1), np.ones(1)))
