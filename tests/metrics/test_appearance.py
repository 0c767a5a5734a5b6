"""What slices look like: noise, slopes and layout of images whose numbers are known."""

import numpy as np
import pytest

from crossmod.metrics.appearance import BINS, COLUMNS, QUANTITIES, WIDTH, looks
from crossmod.metrics.fingerprint import distances, summary, turned

AT = COLUMNS["quantities"].start


def of(images: np.ndarray, body: np.ndarray) -> np.ndarray:
    return looks(images.astype(np.float32), np.broadcast_to(body, images.shape), 2.0)


@pytest.fixture
def body() -> np.ndarray:
    y, x = np.mgrid[0:50, 0:50]
    return (y - 23) ** 2 + (x - 25) ** 2 < 20**2


def test_noise_slopes_and_area_are_what_they_are(body: np.ndarray, rng: np.random.Generator) -> None:
    noise = np.clip(rng.normal(0, 0.05, (6, 50, 50)), -1, 1)
    found = dict(zip(QUANTITIES, of(noise, body)[:, AT:].mean(axis=0), strict=True))
    assert np.exp(found["noise"]) == pytest.approx(0.05, rel=0.05)
    assert np.exp(found["area"]) == pytest.approx(body.sum() * 4)
    across = np.broadcast_to(np.linspace(-0.5, 0.5, 50), (2, 50, 50))
    width = np.ptp(np.nonzero(body)[1]) / 49
    slopes = of(across, body)[0, -2:]
    assert slopes == pytest.approx([0, width], abs=1e-4)


def test_outside_of_the_body_nothing_counts(body: np.ndarray, rng: np.random.Generator) -> None:
    image = np.clip(rng.normal(0, 0.3, (2, 50, 50)), -1, 1)
    table = np.where(body, image, 0.7)
    np.testing.assert_allclose(of(image, body), of(table, body))
    assert of(image, body)[:, :BINS].sum(axis=1) == pytest.approx(1)
    assert looks(image.astype(np.float32), np.zeros(image.shape, bool), 1.0).shape == (0, WIDTH)


def test_a_turned_image_has_the_other_sign(body: np.ndarray, rng: np.random.Generator) -> None:
    y, x = np.mgrid[0:50, 0:50]
    usual = np.stack([0.4 * (y > 24) + 0.3 * (x < 20) + rng.normal(0, 0.02, y.shape) for _ in range(3)])
    mean = of(usual, body).mean(axis=0)
    for axis, name in ((1, "upright"), (2, "sides")):
        right = turned(of(usual, body).mean(axis=0), mean)[name]
        wrong = turned(of(np.flip(usual, axis), np.flip(body, axis - 1)).mean(axis=0), mean)[name]
        assert right > 1
        assert wrong == pytest.approx(-right, rel=0.3)


def test_grey_values_moved_by_a_share_of_the_range(body: np.ndarray, rng: np.random.Generator) -> None:
    image = rng.uniform(-0.9, 0.1, (3, 50, 50))
    mean = of(image, body).mean(axis=0)
    moved = distances(of(image + 0.5, body).mean(axis=0), mean, np.ones(WIDTH))
    assert moved["histogram"] == pytest.approx(0.25, abs=0.01)
    assert distances(mean, mean, np.ones(WIDTH))["histogram"] == 0.005


def test_one_patient_has_no_distances(body: np.ndarray, rng: np.random.Generator) -> None:
    image = rng.uniform(-0.9, 0.1, (3, 50, 50))
    alone, nobody = summary([of(image, body)]), summary([])
    assert alone.histogram_distances == nobody.histogram_distances == ()
    assert len(summary([of(image, body)] * 3).upright) == 3
