import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.errors import InputError
from crossmod.metrics.features import kernel, kernel_distance, weighted_kernel_distance


def naive(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, Eq. 3, with the kernel of Binkowski et al. 2018, pair by pair."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(u) * float(v) for u, v in zip(x, y, strict=True)) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 12), st.integers(0, 2**32))
def test_against_a_double_loop(n: int, m: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, features)), rng.normal(0.5, 2, (m, features))
    assert kernel_distance(a, b) == pytest.approx(naive(a, b), rel=1e-9, abs=1e-9)
    assert kernel_distance(b, a) == pytest.approx(kernel_distance(a, b), rel=1e-9, abs=1e-9)
    times_a, times_b = rng.integers(0, 4, n), rng.integers(0, 4, m)
    times_a[0], times_b[0] = 2, 3
    found = weighted_kernel_distance(
        kernel(a, a), kernel(b, b), kernel(a, b), times_a.astype(np.float64), times_b.astype(np.float64)
    )
    expected = naive(np.repeat(a, times_a, axis=0), np.repeat(b, times_b, axis=0))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_it_is_unbiased() -> None:
    """Two samples of one distribution, 2000 times: 0 on average, as often below as above, however few they are."""
    rng = np.random.default_rng(0)
    found = np.array([kernel_distance(rng.normal(size=(4, 6)), rng.normal(size=(7, 6))) for _ in range(2000)])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(2000)
    assert 0.3 < np.mean(found > 0) < 0.7


def test_single_precision_is_computed_in_double(rng: np.random.Generator) -> None:
    a, b = (rng.normal(50, 1, (9, 5)).astype(np.float32) for _ in range(2))
    assert kernel_distance(a, b) == pytest.approx(naive(a.astype(float), b.astype(float)), rel=1e-6)


@pytest.mark.parametrize("few", [0, 1])
def test_one_image_is_refused(few: int) -> None:
    for a, b in ((few, 5), (5, few)):
        with pytest.raises(InputError, match=f"{few} image.*two or more"):
            kernel_distance(np.zeros((a, 3)), np.zeros((b, 3)))


def test_features_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        kernel_distance(np.zeros((3, 2)), np.array([[0.0, 1.0], [np.nan, 0.0]]))
