import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter

from crossmod.errors import InputError
from crossmod.metrics.features import FeatureExtractor, detector, frechet_distance, random_filters
from crossmod.phantom.anatomy import Grid, lay_on_grid
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_ct, render_mr


@pytest.fixture(scope="module")
def found() -> FeatureExtractor:
    return detector("random")


def people(first: int, modality: str) -> np.ndarray:
    """Slices of three persons of the phantom, in [-1, 1]."""
    sets = []
    for seed in range(first, first + 3):
        anatomy = lay_on_grid(draw_person(seed), Grid(48, 8, bottom=-40.0, top=80.0))
        volume = render_ct(anatomy, seed) if modality == "ct" else render_mr(anatomy, "t2_spir", seed)
        low, high = (-160, 240) if modality == "ct" else np.percentile(volume.voxels, [0.5, 99.5])
        sets.append(np.clip((volume.voxels - low) / (high - low) * 2 - 1, -1, 1))
    return np.concatenate(sets).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["mr", "ct"])
def test_failures_are_ranked_as_anyone_would(found: FeatureExtractor, modality: str) -> None:
    """Against other persons: other real ones lie nearest, then blur, more of it, wrong contrast, and noise."""
    reference, real = people(0, modality), people(10, modality)
    noise = np.random.default_rng(0).uniform(-1, 1, real.shape)
    tries = {
        "real": real,
        "a little blurred": gaussian_filter(real, (0, 1, 1)),
        "blurred": gaussian_filter(real, (0, 2, 2)),
        "heavily blurred": gaussian_filter(real, (0, 4, 4)),
        "noise": noise,
    }
    there = found.features(reference)
    distances = {name: frechet_distance(there, found.features(images)) for name, images in tries.items()}
    assert list(distances) == sorted(distances, key=lambda name: distances[name])
    assert distances["heavily blurred"] > 2 * distances["real"]
    assert distances["noise"] > 10 * distances["real"]


@pytest.mark.slow
def test_the_other_modality_and_scrambled_pixels_lie_far(found: FeatureExtractor) -> None:
    """Scrambling keeps every histogram: it is texture that tells."""
    there, real = found.features(people(0, "mr")), people(10, "mr")
    scrambled = np.random.default_rng(0).permuted(real.reshape(len(real), -1), axis=1).reshape(real.shape)
    near = frechet_distance(there, found.features(real))
    for far in (people(10, "ct"), scrambled, -real):
        assert frechet_distance(there, found.features(far)) > 2 * near


def test_the_weights_are_those_that_were_named(found: FeatureExtractor) -> None:
    """Distances are kept in logs and compared with later ones: another hash must be a decision, not an accident."""
    assert found.name == "random"
    assert found.sha256 == "7cebe2cb891f4d44edc561ec6fe9160be84ae659092c11bedb81f2fc134ac063"


@pytest.mark.parametrize("size", [16, 17, 26])
def test_features_are_those_of_scipys_filters(found: FeatureExtractor, size: int, rng: np.random.Generator) -> None:
    """All four stages, with SciPy's correlation, of which every second row and column is kept."""
    image = rng.uniform(-1, 1, (size, size)).astype(np.float32)
    maps, expected = [image.astype(float)], []
    for filters in random_filters():
        sums = [
            sum(correlate(x, k, mode="nearest")[::2, ::2] for x, k in zip(maps, kernels, strict=True))
            for kernels in filters.numpy().astype(float)
        ]
        maps = [np.where(answer > 0, answer, 0.2 * answer) for answer in sums]
        expected += [*(m.mean() for m in maps), *(m.std() for m in maps)]
    np.testing.assert_allclose(found.features(image[None])[0], expected, atol=1e-5)


def test_filters_keep_the_size_of_what_goes_through_them() -> None:
    """He et al. 2015, Eq. 15: variance 2 / ((1 + 0.2^2) 9 maps); edge filters, which sum to 0, have 8 / 9 of it."""
    for filters, maps in zip(random_filters(), (1, 16, 32, 64), strict=True):
        wanted = 2 / (1.04 * 9 * maps)
        edges, others = filters[::2], filters[1::2]
        assert edges.sum(dim=(2, 3)).abs().max() < 1e-5
        # Six standard deviations of a variance estimated from so many uniform draws.
        near = 6 * (0.8 / others.numel()) ** 0.5
        assert others.var().item() == pytest.approx(wanted, rel=near)
        assert edges.var().item() == pytest.approx(wanted * 8 / 9, rel=1.5 * near)


@pytest.mark.parametrize("size", [16, 17, 31, 50])
def test_any_size_from_16_pixels_and_any_number_of_slices(
    found: FeatureExtractor, size: int, rng: np.random.Generator
) -> None:
    """Also more than are taken at a time; an image's features do not depend on its company."""
    images = rng.uniform(-1, 1, (19, size, size))
    features = found.features(images)
    assert features.shape == (19, 480)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(found.features(images[17:18]), features[17:18], rtol=1e-4, atol=1e-5)


def test_a_constant_image_has_no_deviation(found: FeatureExtractor) -> None:
    """At every stage, up to the border: repeating the border makes no edges."""
    features = found.features(np.full((1, 32, 32), 0.7))[0]
    starts = np.cumsum([0, 16, 16, 32, 32, 64, 64, 128, 128])
    for stage in range(4):
        np.testing.assert_allclose(features[starts[2 * stage + 1] : starts[2 * stage + 2]], 0, atol=1e-5)


def test_the_same_every_time_and_no_global_draw(found: FeatureExtractor, rng: np.random.Generator) -> None:
    images = rng.uniform(-1, 1, (3, 24, 24)).astype(np.float32)
    images.setflags(write=False)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = detector("random")
    np.testing.assert_array_equal(again.features(images), found.features(images))
    assert torch.equal(torch.get_rng_state(), before)
    assert again.sha256 == found.sha256


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(
        InputError, match=r"'incepton' is neither a detector nor a file\. Expected: inception or random, or"
    ):
        detector("incepton")


def test_features_are_the_same_within_a_training_in_bf16() -> None:
    images = np.random.default_rng(3).uniform(-1, 1, (2, 32, 32)).astype(np.float32)
    plain = detector("random").features(images)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(detector("random").features(images), plain)
