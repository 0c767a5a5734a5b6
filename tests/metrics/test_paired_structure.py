"""Structure, place and scale of made-up pairs whose truth is known."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter, shift

from crossmod.metrics.paired import LEAST_STRUCTURE, kept_structure


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tissue with structure of some pixels, in a round body."""
    y, x = np.mgrid[0:64, 0:70]
    body = np.broadcast_to((y - 31) ** 2 + (x - 35) ** 2 < 27**2, (6, 64, 70))
    image = gaussian_filter(rng.normal(size=body.shape), (0, 2, 2))
    return image / image.std(), body


def test_another_contrast_keeps_the_structure(pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    image, body = pair
    found = kept_structure(image, 5 - 2 * image + rng.normal(0, 0.05, image.shape), body, scaled=True)
    assert found is not None
    assert found.structure > 0.9
    assert (found.rows, found.columns) == pytest.approx((0, 0), abs=0.05)
    assert found.scale == pytest.approx(1, abs=0.005)
    assert found.placed


@pytest.mark.parametrize("moved", [(0.5, -0.3), (1.4, 0.0), (-2.0, 2.6)])
def test_a_shift_inside_a_still_body(pair: tuple[np.ndarray, np.ndarray], moved: tuple[float, float]) -> None:
    image, body = pair
    far = np.where(body, shift(image, (0, *moved), order=3), -3)
    found = kept_structure(image, far, body)
    assert found is not None
    assert (found.rows, found.columns) == pytest.approx(moved, abs=0.1)


@pytest.mark.parametrize("scale", [0.95, 0.98, 1.03, 1.06])
def test_a_stretch_inside_a_still_body(pair: tuple[np.ndarray, np.ndarray], scale: float) -> None:
    image, body = pair
    middle = np.array([0, 31, 35])
    far = affine_transform(image, [1, 1 / scale, 1 / scale], list(middle * (1 - 1 / scale)), order=3)  # pyright: ignore[reportArgumentType]
    found = kept_structure(image, far, body, scaled=True)
    assert found is not None
    assert found.scale == pytest.approx(scale, abs=0.012)


def test_what_is_flat_or_noise_has_no_structure(pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    image, body = pair
    for empty in (np.full(image.shape, 40.0), np.where(body, 900.0, -1000)):
        found = kept_structure(image, empty, body, scaled=True)
        assert found is not None
        assert (found.structure, found.rows, found.scale) == (0, 0, 1)
        assert not found.placed
    noise = kept_structure(image, rng.normal(size=image.shape), body)
    assert noise is not None
    assert noise.structure < LEAST_STRUCTURE
    assert kept_structure(image, image, np.zeros_like(body)) is None
