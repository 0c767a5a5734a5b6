from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.metrics.distribution import ImageStatistics, weighted_comparison, weighted_set
from crossmod.metrics.features import frechet_distance, weighted_frechet_distance
from tests.support.plain_scores import score


def made(seed: int, count: int, features: int = 5, size: int = 9) -> ImageStatistics:
    rng = np.random.default_rng(seed)
    return ImageStatistics(
        features=rng.normal(3, 1, (count, features)) * rng.uniform(0.5, 2, features),
        grey=rng.dirichlet(np.full(256, 0.1), count),
        tissue=rng.dirichlet(np.ones(3), count),
        spectra=rng.normal(-1, 0.5, (count, size, size // 2 + 1)).astype(np.float32),
        layers=np.ones(count, np.int64),
        patients=("a",) * count,
        detector="toy",
        edges=(-1.0, 0.0, 0.5, 1.0),
    )


def times(rng: np.random.Generator, count: int) -> np.ndarray:
    """How often each comes: some not at all, two in all at the least."""
    drawn = rng.integers(0, 4, count)
    drawn[rng.integers(count)] = 2
    return drawn


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 5, 30]), st.integers(0, 2**32))
def test_a_draw_is_the_plain_score_of_repeated_images(n: int, m: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, synthetic = made(seed, n, features), made(seed + 1, m, features)
    a, b = times(rng, n), times(rng, m)
    found = weighted_comparison(weighted_set(real), weighted_set(synthetic)).scores(
        a.astype(np.float64), b.astype(np.float64)
    )
    expected = score(real.take(np.repeat(np.arange(n), a)), synthetic.take(np.repeat(np.arange(m), b)))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 7, 64]), st.integers(0, 2**32))
def test_frechet_distance_of_repeated_rows(n: int, m: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(features, features))
    x, y = rng.normal(size=(n, features)) @ mix, rng.normal(1, 2, (m, features)) @ mix
    a, b = times(rng, n), times(rng, m)
    found = weighted_frechet_distance(x @ x.T, y @ y.T, x @ y.T, a.astype(np.float64), b.astype(np.float64))
    expected = frechet_distance(np.repeat(x, a, axis=0), np.repeat(y, b, axis=0))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.sum(mix**2))


def test_draws_without_enough_images_have_no_score() -> None:
    pair = weighted_comparison(weighted_set(made(1, 3)), weighted_set(made(2, 3)))
    one, none, some = np.array([0.0, 1, 0]), np.zeros(3), np.array([1.0, 2, 0])
    assert np.isnan([*pair.scores(some, none).values()]).all()
    found = pair.scores(some, one)
    assert {name for name, value in found.items() if np.isnan(value)} == {"frechet", "kid"}


def test_without_tissue_bins() -> None:
    first, second = (replace(made(seed, 3), tissue=None, edges=None) for seed in (1, 2))
    ones = np.ones(3)
    found = weighted_comparison(weighted_set(first), weighted_set(second)).scores(ones, ones)
    assert found == pytest.approx(score(first, second), rel=1e-6, nan_ok=True)
