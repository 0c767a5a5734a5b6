import math
from dataclasses import replace

import numpy as np
import pytest

from crossmod.errors import InputError
from crossmod.metrics.distribution import (
    METRICS,
    ImageStatistics,
    Scores,
    image_statistics,
    joined,
    weighted_comparison,
    weighted_set,
)
from crossmod.metrics.features import FeatureExtractor, detector, frechet_distance, kernel_distance
from crossmod.metrics.histograms import (
    correlation,
    grey_edges,
    histograms,
    intersection,
    kl_divergence,
    log_spectra,
)
from tests.support.plain_scores import average, in_layer, spectral_correlation

EDGES = np.array([-1.0, -0.1, 0.9, 1.0])


def means(images: np.ndarray) -> np.ndarray:
    """A detector that a test can follow: mean and spread of each quarter."""
    x = images.reshape(len(images), 4, -1)
    return np.concatenate([x.mean(axis=2), x.std(axis=2)], axis=1)


TOY = FeatureExtractor("toy", "0" * 64, lambda x: x.new_tensor(means(x[:, 0].numpy())))


def images(seed: int, count: int, size: int = 16, level: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.tanh(level + rng.normal(0, 0.5, (count, 1, 1)) + rng.normal(0, 0.3, (count, size, size))).astype(
        np.float32
    )


def statistics(seed: int, layers: list[int], patients: list[str], *, level: float = 0.0) -> ImageStatistics:
    pictures = images(seed, len(layers), level=level)
    return image_statistics(pictures, np.array(layers), patients, TOY, EDGES)


def score(real: ImageStatistics, synthetic: ImageStatistics, layer: int | None = None) -> Scores:
    """With each image once, or each image of a layer once and the others not at all."""
    times = [np.asarray((side.layers == layer) | (layer is None), np.float64) for side in (real, synthetic)]
    return weighted_comparison(weighted_set(real), weighted_set(synthetic)).scores(*times)


def score_layers(real: ImageStatistics, synthetic: ImageStatistics) -> dict[int, Scores]:
    return {layer: score(real, synthetic, layer) for layer in range(1, 11)}


def test_every_score_is_that_of_its_own_file() -> None:
    layers = [1, 1, 1, 2, 2, 2, 2, 0]
    first, second = images(1, 8), images(2, 8, level=0.4)
    real, made = (image_statistics(x, np.array(layers), ["a"] * 8, TOY, EDGES) for x in (first, second))
    x, y = first[3:7], second[3:7]
    p, q = (histograms(side, grey_edges()).mean(axis=0) for side in (x, y))
    coarse = [histograms(side, EDGES).mean(axis=0) for side in (x, y)]
    expected = {
        "frechet": frechet_distance(means(x), means(y)),
        "kid": kernel_distance(means(x), means(y)),
        "kl_256": kl_divergence(p, q),
        "kl_3": kl_divergence(*coarse),
        "correlation": correlation(p, q),
        "intersection": intersection(p, q),
        "spectrum": spectral_correlation(*(log_spectra(side).mean(axis=0) for side in (x, y))),
    }
    assert score(real, made, 2) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert tuple(score(real, made)) == tuple(METRICS) == tuple(expected)
    by_layer = score_layers(real, made)
    assert average(by_layer)["frechet"] == pytest.approx((by_layer[1]["frechet"] + by_layer[2]["frechet"]) / 2)


def test_equal_sets_are_at_no_distance() -> None:
    some = statistics(1, [1] * 6, ["a"] * 6)
    found = score(some, some)
    assert found["frechet"] == pytest.approx(0, abs=1e-9)
    assert found["kl_256"] == found["kl_3"] == 0
    assert [found[name] for name in ("correlation", "intersection", "spectrum")] == pytest.approx([1, 1, 1])
    # Unbiased, so below 0: the sets have nothing new to each other.
    assert found["kid"] < 0


def test_scores_that_cannot_be_taken_are_nan() -> None:
    real, made = statistics(1, [1, 1, 2, 3, 3], ["a"] * 5), statistics(2, [1, 1, 2, 2, 4], ["b"] * 5)
    by_layer = score_layers(real, made)
    assert not any(map(math.isnan, by_layer[1].values()))
    assert {name for name, value in by_layer[2].items() if math.isnan(value)} == {"frechet", "kid"}
    for layer in (3, 4, 10):
        assert all(map(math.isnan, by_layer[layer].values()))
    assert average(by_layer)["frechet"] == by_layer[1]["frechet"]
    assert all(map(math.isnan, average({}).values()))
    bare = replace(made, tissue=None, edges=None)
    assert math.isnan(score(replace(real, tissue=None, edges=None), bare)["kl_3"])


def test_parts_make_the_whole() -> None:
    pictures, layers, patients = images(3, 7), np.arange(1, 8), list("aabbbcc")
    whole = image_statistics(pictures, layers, patients, TOY, EDGES)
    parts = [image_statistics(pictures[i], layers[i], patients[i], TOY, EDGES) for i in (slice(0, 2), slice(2, 7))]
    together = joined(parts)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(together, name), value)
    some = whole.of_patients(["a", "c"])
    assert (some.layers.tolist(), some.patients) == ([1, 2, 6, 7], ("a", "a", "c", "c"))
    assert in_layer(whole, 4).patients == ("b",)
    assert len(whole.take([0, 0, 6])) == 3


def test_the_random_detector_serves() -> None:
    pictures = images(4, 3, size=33)
    found = image_statistics(pictures, np.array([1, 1, 2]), ["a"] * 3, detector("random"))
    np.testing.assert_array_equal(found.features, detector("random").features(pictures))
    assert found.tissue is None


@pytest.mark.parametrize("bad", [1.5, -40.0, float("nan")])
def test_a_wrong_range_is_refused(bad: float) -> None:
    pictures = images(0, 2)
    pictures[1, 0, 0] = bad
    with pytest.raises(InputError, match="values from -1 to 1"):
        image_statistics(pictures, np.array([1, 1]), ["a", "a"], TOY)


def test_histograms_of_the_body_alone(rng: np.random.Generator) -> None:
    pictures, inside = images(5, 3), rng.random((3, 16, 16)) > 0.5
    found = image_statistics(pictures, np.array([1, 1, 2]), ["a"] * 3, TOY, EDGES, inside)
    assert found.tissue is not None
    for shares, picture, which in zip(found.tissue, pictures, inside, strict=True):
        assert shares[0] == pytest.approx(np.mean(picture[which] < EDGES[1]))


def test_no_slices_are_refused() -> None:
    with pytest.raises(InputError, match="none"):
        image_statistics(np.zeros((0, 8, 8), np.float32), np.zeros(0, np.int64), [], TOY)


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"detector": "1" * 64}, "detectors"), ({"edges": None}, "tissue bins"), ({"spectra": None}, "sizes")],
)
def test_sets_that_were_measured_differently_are_refused(changes: dict, what: str) -> None:
    first = statistics(1, [1, 1], ["a", "a"])
    if what == "sizes":
        changes = {"spectra": np.zeros((2, 17, 9), np.float32)}
    with pytest.raises(InputError, match=f"two {what}"):
        score(first, replace(first, **changes))
