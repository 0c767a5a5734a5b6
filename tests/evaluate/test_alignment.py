import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from crossmod.evaluate.alignment import shift_between


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
    assert shift_between(gaussian_filter(image, 0.7), gaussian_filter(noisy, 0.7)) == moved


def test_constant_images_are_not_shifted() -> None:
    assert shift_between(np.zeros((16, 16)), np.ones((16, 16))) == (0, 0)
