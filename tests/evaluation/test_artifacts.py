import numpy as np
import pytest

from crossmod.evaluation.artifacts import average_spectrum, model_draws, typical
from crossmod.metrics.distribution import METRICS, ImageStatistics
from tests.support.plain_scores import average, score_layers


def some_slices(seed: int, patients: int, name: str, shift: float = 0.0) -> ImageStatistics:
    rng = np.random.default_rng(seed)
    count = patients * 6
    grey = rng.dirichlet(np.linspace(1, 3 + shift, 256), count)
    return ImageStatistics(
        features=rng.normal(shift, 1, (count, 3)).astype(np.float32),
        grey=grey,
        tissue=None,
        spectra=rng.normal(0, 1, (count, 8, 5)).astype(np.float32),
        layers=np.tile([1, 1, 2, 2, 3, 0], patients),
        patients=tuple(f"{name}{i}" for i in range(patients) for _ in range(6)),
        detector="toy",
        edges=None,
    )


def test_the_first_row_is_the_plain_average_over_layers() -> None:
    real, made = some_slices(0, 5, "r"), some_slices(1, 4, "m", 0.5)
    draws = model_draws(real, {"one": made}, seed=2, draws=3)["one"]
    assert draws.shape == (4, len(METRICS))
    expected = average(score_layers(real, made))
    assert dict(zip(METRICS, draws[0], strict=True)) == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_models_of_the_same_patients_are_drawn_together() -> None:
    real, made = some_slices(0, 5, "r"), some_slices(1, 4, "m")
    alone = model_draws(real, {"a": made}, seed=2, draws=20)["a"]
    both = model_draws(real, {"b": some_slices(3, 4, "m"), "a": made}, seed=2, draws=20)["a"]
    np.testing.assert_array_equal(alone, both)
    assert np.std(alone[1:, [*METRICS].index("frechet")]) > 0


def test_typical_is_in_the_middle_of_its_layer() -> None:
    statistics = some_slices(0, 5, "r")
    where = np.flatnonzero(statistics.layers == 2)
    features = statistics.features.copy()
    features[where] = np.arange(len(where))[:, None] * np.array([1, 1000, -0.001], np.float32)
    middle = type(statistics)(**{**vars(statistics), "features": features})
    assert typical(middle, 2) in (where[len(where) // 2], where[len(where) // 2 - 1])
    assert typical(middle, 9) is None


def test_each_layer_counts_alike_in_an_averaged_spectrum() -> None:
    statistics = some_slices(0, 5, "r")
    spectra = np.where(statistics.layers == 1, 4.0, 10.0)[:, None, None] * np.ones((1, 8, 5))
    filled = type(statistics)(**{**vars(statistics), "spectra": spectra.astype(np.float32)})
    np.testing.assert_allclose(average_spectrum(filled, {1, 3}), 7.0)
