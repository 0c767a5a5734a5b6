import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import windows

from crossmod.metrics.histograms import (
    FLOOR,
    centred_spectra,
    correlation_of,
    log_spectra,
    multiplicity,
    radial_profile,
)
from tests.support.plain_scores import spectral_correlation

SIZES = [7, 8, 33, 64]


def full_plane(image: np.ndarray) -> np.ndarray:
    """The whole spectrum, another way: with SciPy's window and the complex transform."""
    window = np.multiply.outer(*[windows.hann(len(image) + 2)[1:-1]] * 2)
    centred = image - np.average(image, weights=window)
    return np.log10(np.maximum(np.abs(np.fft.fft2(centred * window)) / np.linalg.norm(window), FLOOR))


def drawn(seed: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.tanh(gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.3, 1.5)))


@pytest.mark.parametrize("size", SIZES)
def test_half_a_plane_counts_as_the_whole(size: int) -> None:
    first, second = drawn(1, size), drawn(2, size)
    a, b = log_spectra(np.stack([first, second]))
    np.testing.assert_allclose(a, full_plane(first)[:, : size // 2 + 1], atol=1e-5)
    expected = np.corrcoef(full_plane(first).ravel()[1:], full_plane(second).ravel()[1:])[0, 1]
    assert spectral_correlation(a, b) == pytest.approx(expected, abs=1e-5)
    assert multiplicity(size).sum() == size**2 - 1


@pytest.mark.parametrize("size", SIZES)
def test_profile_against_rings_of_the_whole_plane(size: int) -> None:
    image = drawn(3, size)
    plane = full_plane(image)
    rows, columns = np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2, indexing="ij")
    distance = np.hypot(rows, columns)
    expected = [plane[np.abs(distance - radius) < 0.5].mean() for radius in range(1, size // 2 + 1)]
    np.testing.assert_allclose(radial_profile(log_spectra(image[None])[0]), expected, atol=1e-5)


def test_a_wave_is_found_at_its_frequency() -> None:
    """A checkerboard, which transposed convolutions leave, is a peak at the highest frequency of both directions."""
    size = 32
    y, x = np.mgrid[:size, :size]
    spectra = log_spectra(np.stack([0.1 * (-1.0) ** (x + y), 0.1 * np.cos(2 * np.pi * 5 * x / size)]))
    assert np.unravel_index(np.argmax(spectra[0]), spectra[0].shape) == (16, 16)
    assert np.unravel_index(np.argmax(spectra[1]), spectra[1].shape) == (0, 5)
    assert np.argmax(radial_profile(spectra[1])) + 1 == 5


def test_white_noise_is_flat_and_as_loud_as_it_is(rng: np.random.Generator) -> None:
    profile = radial_profile(log_spectra(rng.normal(0, 0.05, (64, 48, 48))).mean(axis=0))
    # The mean log10 of a Rayleigh magnitude whose square is 1 on average is -gamma / 2 ln(10).
    # The first ring lies in the shadow of the mean, which was taken out.
    np.testing.assert_allclose(profile[1:], np.log10(0.05) - 0.5772 / 2 / np.log(10), atol=0.05)


def test_noise_and_blur_lower_the_correlation() -> None:
    real = np.stack([drawn(seed, 64) for seed in range(40)])
    rng = np.random.default_rng(9)
    noisy, blurred = real[20:] + rng.normal(0, 0.1, real[20:].shape), gaussian_filter(real[20:], (0, 1, 1))
    mean = log_spectra(real[:20]).mean(axis=0)
    same = spectral_correlation(mean, log_spectra(real[20:]).mean(axis=0))
    assert same > spectral_correlation(mean, log_spectra(noisy).mean(axis=0))
    assert same > spectral_correlation(mean, log_spectra(blurred).mean(axis=0))
    assert spectral_correlation(mean, mean) == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 2, 16, 17])
@pytest.mark.parametrize("value", [-1.0, 0.3])
def test_constant_images_have_no_shape(size: int, value: float) -> None:
    still = log_spectra(np.full((2, size, size), value)).mean(axis=0)
    moving = log_spectra(drawn(0, size)[None])[0]
    assert np.isnan(spectral_correlation(still, moving))
    assert np.isnan(spectral_correlation(moving, still))
    np.testing.assert_allclose(radial_profile(still), np.log10(FLOOR), rtol=1e-6)


@given(st.integers(0, 2**32), st.sampled_from(SIZES))
def test_rows_are_linear_and_give_covariances(seed: int, size: int) -> None:
    """What the bootstrap rests on: an average needs no spectra, only products."""
    spectra = log_spectra(np.stack([drawn(seed + i, size) for i in range(5)]))
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(2))
    rows = centred_spectra(spectra)
    covariances = rows @ rows.T
    a, b = np.concatenate([p, [0, 0]]), np.concatenate([[0, 0, 0], q])
    found = correlation_of(*(float(x @ covariances @ y) for x, y in ((a, b), (a, a), (b, b))))
    means = np.tensordot(p, spectra[:3].astype(float), 1), np.tensordot(q, spectra[3:].astype(float), 1)
    assert found == pytest.approx(spectral_correlation(*means), abs=1e-9)
