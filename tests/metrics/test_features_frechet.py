import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from crossmod.errors import InputError
from crossmod.metrics.features import frechet_distance

# More images than features and fewer, on one side or on both: each side is made small in its own way.
SIZES = [(9, 7, 5), (5, 40, 12), (40, 5, 12), (6, 7, 31), (2, 2, 8), (2, 3, 1), (13, 13, 13), (14, 13, 13)]


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """The formula of Heusel et al. 2017, Eq. 6, as it stands."""
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    # Covariances of few images are singular; so small a ridge moves the root by far less than is asked for.
    ridge = 1e-12 * np.eye(len(first))
    root = np.real(sqrtm((first + ridge) @ (second + ridge)))
    return float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(first + second - 2 * root))


def drawn(seed: int, n: int, m: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets with different means and correlated features."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, features)) @ rng.normal(size=(features, features))
    return a, rng.normal(1.0, 2.0, (m, features)) @ rng.normal(size=(features, features))


@pytest.mark.filterwarnings("ignore:Matrix is:scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize(("n", "m", "features"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_against_the_matrix_square_root(n: int, m: int, features: int, seed: int) -> None:
    a, b = drawn(seed, n, m, features)
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-4)


def test_many_images_as_well(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(900, 24)), rng.normal(0.3, 1.5, (700, 24))
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-9)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20),
)
def test_one_feature_has_a_closed_form(a: list[float], b: list[float]) -> None:
    """(m1 - m2)^2 + (s1 - s2)^2."""
    expected = (np.mean(a) - np.mean(b)) ** 2 + (np.std(a, ddof=1) - np.std(b, ddof=1)) ** 2
    found = frechet_distance(np.array(a)[:, None], np.array(b)[:, None])
    scale = float(np.var(a) + np.var(b))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale + 1e-300)


def test_uncorrelated_features_add_up() -> None:
    """Rows made so that covariances are diagonal: each feature gives what it would give alone."""
    a, b = np.diag([1.0, -2.0, 0.5]), np.diag([3.0, 1.0, -4.0])
    a, b = np.concatenate([a, -a]), np.concatenate([b, -b]) + np.array([0.0, 5.0, 0.0])
    spread = np.sqrt(2 / 5)  # of values x, -x and four zeros
    assert frechet_distance(a, b) == pytest.approx(25 + spread**2 * ((3 - 1) ** 2 + (1 - 2) ** 2 + (4 - 0.5) ** 2))


@given(st.integers(0, 10**6), st.sampled_from(SIZES))
def test_properties(seed: int, sizes: tuple[int, int, int]) -> None:
    a, b = drawn(seed, *sizes)
    rng = np.random.default_rng(seed)
    distance = frechet_distance(a, b)
    scale = np.trace(np.atleast_2d(np.cov(a, rowvar=False))) + np.trace(np.atleast_2d(np.cov(b, rowvar=False)))
    near = 1e-12 * (scale + distance)
    assert distance >= 0
    # Symmetric, and blind to the order of images and of features.
    features = rng.permutation(a.shape[1])
    assert frechet_distance(b, a) == pytest.approx(distance, abs=near)
    assert frechet_distance(rng.permutation(a), b) == pytest.approx(distance, abs=near)
    assert frechet_distance(a[:, features], b[:, features]) == pytest.approx(distance, abs=near)
    # Equal sets lie at 0; a shift adds its squared length; a common unit comes out squared.
    shift = rng.normal(size=a.shape[1])
    assert 0 <= frechet_distance(a, rng.permutation(a)) <= near
    assert frechet_distance(a, a + shift) == pytest.approx(shift @ shift, abs=near)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, abs=10 * near)


def test_equal_images_have_no_spread() -> None:
    """A translator that makes one image: what is left is the distance of the means and the other side's spread."""
    a, b = np.zeros((4, 3)), np.array([[1.0, 0, 0], [3.0, 0, 0]])
    assert frechet_distance(a, b) == pytest.approx(2**2 + 2)


def test_single_precision_far_from_zero_is_computed_in_double(rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=(30, 6)).astype(np.float32) + np.float32(1000) for _ in range(2))
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a.astype(float), b.astype(float)), rel=1e-6)


@pytest.mark.parametrize("few", [0, 1])
def test_one_image_has_no_covariance(few: int) -> None:
    for a, b in ((few, 5), (5, few)):
        with pytest.raises(InputError, match=f"{few} image.*two or more"):
            frechet_distance(np.zeros((a, 3)), np.zeros((b, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        frechet_distance(np.zeros((3, 2)), np.array([[0.0, 1.0], [bad, 0.0]]))


def test_another_number_of_features_is_a_mistake_in_the_program() -> None:
    with pytest.raises(Exception, match="features"):
        frechet_distance(np.zeros((3, 2)), np.zeros((3, 4)))
