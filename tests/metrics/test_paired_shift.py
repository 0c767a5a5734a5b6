import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from crossmod.metrics.paired import correlation_at, shift_between


@pytest.mark.parametrize("moved", [(0, 0), (3, 0), (-2, 4), (5, -5)])
@pytest.mark.parametrize("contrast", ["same", "inverted", "bent", "folded"])
def test_a_known_shift_is_found_across_any_contrast(
    moved: tuple[int, int], contrast: str, rng: np.random.Generator
) -> None:
    """Discs on a dark ground, moved with SciPy and given another contrast, as another modality would."""
    y, x = np.mgrid[0:61, 0:64]
    image = np.zeros((61, 64))
    for value in (1.0, -0.6, 0.4, 0.8):
        row, column = rng.uniform(18, 42, 2)
        radius = rng.uniform(4, 10)
        image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = value
    far = np.roll(image, moved, axis=(0, 1))
    seen = {"same": far, "inverted": -far, "bent": 1 / (1.5 + far), "folded": np.abs(far)}[contrast]
    noisy = seen + rng.normal(0, 0.01, image.shape)
    found = shift_between(gaussian_filter(image, 0.7), gaussian_filter(noisy, 0.7))
    assert found == pytest.approx(moved, abs=0.2)


def test_constant_images_are_not_shifted() -> None:
    assert shift_between(np.zeros((16, 16)), np.ones((16, 16))) == (0, 0)


def blobs(rng: np.random.Generator, shape: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Rows, columns, widths and heights of soft discs, well inside."""
    height, width = shape
    return [
        (
            rng.uniform(0.3, 0.7) * height,
            rng.uniform(0.3, 0.7) * width,
            rng.uniform(2.5, 5),
            float(rng.choice([-0.7, 0.5, 1.0])),
        )
        for _ in range(6)
    ]


def drawn(
    discs: list[tuple[float, float, float, float]], shape: tuple[int, int], moved: tuple[float, float]
) -> np.ndarray:
    """Discs with soft rims, computed at any place, so that no interpolation is trusted."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = np.zeros(shape)
    for row, column, radius, height in discs:
        apart = np.hypot(y - row - moved[0], x - column - moved[1])
        image += height / (1 + np.exp((apart - radius) / 0.7))
    return image


@pytest.mark.parametrize("shape", [(64, 64), (61, 64), (64, 47)])
def test_shifts_between_pixels(shape: tuple[int, int], rng: np.random.Generator) -> None:
    """Known shifts along both axes, noise of 3 %, and another contrast: within 0.1 pixels in the median."""
    errors = []
    for _ in range(12):
        discs, moved = blobs(rng, shape), (float(rng.uniform(-3, 3)), float(rng.uniform(-3, 3)))
        first, second = drawn(discs, shape, (0, 0)), drawn(discs, shape, moved)
        for other in (second, -second, 1 / (2.5 + second)):
            noisy = other / np.ptp(other) + rng.normal(0, 0.03, shape)
            found = shift_between(first / np.ptp(first) + rng.normal(0, 0.03, shape), noisy)
            errors.append(np.abs(np.subtract(found, moved)).max())
    assert np.median(errors) < 0.1
    assert np.quantile(errors, 0.9) < 0.3


def test_the_fine_transform_is_the_inverse_of_fft(rng: np.random.Generator) -> None:
    for shape in ((8, 9), (7, 10)):
        spectrum = np.fft.rfft2(rng.normal(size=shape))
        whole = np.fft.irfft2(spectrum, shape)
        found = correlation_at(spectrum, shape, np.arange(3.0), np.arange(-2.0, 2.0))
        np.testing.assert_allclose(found, np.roll(whole, 2, axis=1)[:3, :4], atol=1e-12)
