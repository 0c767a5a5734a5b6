import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from crossmod.errors import InputError
from crossmod.metrics.paired import paired_scores, ssim_map
from crossmod.phantom.anatomy import Grid
from crossmod.phantom.scanners import render_ct
from tests.support.anatomy import draw_anatomy

SHAPES = [(23, 31), (3, 40, 37), (1, 12, 11)]


def pair(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = gaussian_filter(rng.normal(0, 400, shape), 1.5)
    return truth, truth + rng.normal(5, 20, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_against_scikit_image(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    first, second = pair(shape, rng)
    found = ssim_map(first, second, 400.0)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 400.0}
    slices = zip(first.reshape(-1, *shape[-2:]), second.reshape(-1, *shape[-2:]), strict=True)
    expected = np.stack([structural_similarity(*both, full=True, **options)[1] for both in slices])
    np.testing.assert_allclose(found, expected.reshape(shape), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_pixels_against_scikit_image(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    first, second = pair(shape, rng)
    found = paired_scores(first, second, np.ones(shape, dtype=bool), 400.0)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(first, second, data_range=400.0))
    assert found.mae == pytest.approx(np.abs(first - second).mean())


def test_by_hand() -> None:
    """Off by 10 HU inside, by anything outside."""
    truth = np.array([[0, 100], [50, -900]], np.int16)
    made = np.array([[10, 90], [60, 900]], np.int16)
    found = paired_scores(truth, made, np.array([[True, True], [True, False]]), 1000.0)
    assert found.mae == pytest.approx(10)
    assert found.psnr == pytest.approx(40)


def test_similarity_of_constants_has_a_closed_form() -> None:
    """Only the brightness term is left: (2 a b + C1) / (a^2 + b^2 + C1), C1 = (0.01 L)^2."""
    first, second = np.full((9, 9), 100.0), np.full((9, 9), 50.0)
    c1 = (0.01 * 400) ** 2
    np.testing.assert_allclose(ssim_map(first, second, 400.0), (2 * 5000 + c1) / (12500 + c1))


def test_equal_images_and_worse_ones() -> None:
    anatomy = draw_anatomy(0, grid=Grid(size=65, slices=2))
    truth = render_ct(anatomy, 1).voxels.clip(-160, 240)
    body = anatomy.tissues != 0
    equal = paired_scores(truth, truth, body, 400.0)
    assert (equal.mae, equal.psnr) == (0, math.inf)
    assert equal.ssim == pytest.approx(1)
    blurred = [paired_scores(truth, gaussian_filter(truth.astype(float), (0, s, s)), body, 400.0) for s in (0.7, 2)]
    assert equal.ssim > blurred[0].ssim > blurred[1].ssim
    assert blurred[0].psnr > blurred[1].psnr
    assert blurred[0].mae < blurred[1].mae


def test_mistakes_are_refused() -> None:
    image, all_of_it = np.zeros((4, 4)), np.ones((4, 4), dtype=bool)
    with pytest.raises(InputError, match="empty mask"):
        paired_scores(image, image, ~all_of_it, 1.0)
    with pytest.raises(InputError, match="more than 0"):
        paired_scores(image, image, all_of_it, 0.0)
    with pytest.raises(InputError, match="NaN or infinite"):
        paired_scores(image, image + np.nan, all_of_it, 1.0)
