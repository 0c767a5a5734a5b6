from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from crossmod.inference.predict import PART, SHIFTS, Augmentation, moves
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import Options, Variant
from tests.support.small_models import Made, about, body


def test_the_slice_itself_comes_first_and_every_move_is_undone(rng: np.random.Generator) -> None:
    found = moves(get_args(Variant))
    assert found[0] == Augmentation()
    assert len(found) == 2 + len(SHIFTS) + 2
    slices = rng.normal(size=(2, 5, 8, 8)).astype(np.float32)
    for move in found:
        if not move.along:
            np.testing.assert_array_equal(move.back(move.there(slices)), slices[:, 1:-1])
    assert not any(rows % 4 == columns % 4 == 0 for rows, columns in SHIFTS)


def test_neighbours_lie_on_the_way_to_the_next_slice() -> None:
    ramp = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None, None] * 10, (1, 5, 4, 4))
    up, down = (Augmentation(along=along).there(ramp)[0, :, 0, 0] for along in (PART, -PART))
    np.testing.assert_allclose(up, np.array([10, 20, 30]) + 10 * PART)
    np.testing.assert_allclose(down, np.array([10, 20, 30]) - 10 * PART)


def test_a_flip_averages_what_leans_to_one_side() -> None:
    """A network that adds a thousandth for every column: with the mirrored one, the same everywhere."""
    slope = np.arange(32, dtype=np.float32) / 1000
    network = Made(about(flip=True), lambda images: images[:, 0] + slope)
    volume = body((2, 32, 32), (5.0, 10.0, 10.0))
    made = translate_volume([network], [volume], Options(variants=("flip",)))
    inside = made.body
    expected = volume.voxels + 1000 * (slope + slope[::-1]) / 2
    np.testing.assert_allclose(made.image.voxels[inside], expected[inside], atol=0.51)
    assert made.uncertainty is not None
    half = np.broadcast_to(1000 * np.abs(slope - slope[::-1]) / 2, volume.voxels.shape)
    np.testing.assert_allclose(made.uncertainty[inside], half[inside], atol=0.05)
    assert (made.uncertainty[~inside] == 0).all()


def test_a_network_that_was_never_shown_a_mirrored_body_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    translate_volume([Made(about())], [body()], Options(variants=("flip",)))
    assert "not trained on mirrored slices" in caplog.text


def test_noise_from_slice_to_slice_averages_out() -> None:
    """A network whose answer hangs on the slice in a way that says nothing of the body."""

    def restless(images: np.ndarray) -> np.ndarray:
        values = images[:, 0].astype(np.float64).mean(axis=(1, 2))
        noise = [np.random.default_rng(int(abs(value) * 1e9)).normal(0, 0.1) for value in values]
        return np.ones_like(images[:, 0]) * np.array(noise, np.float32)[:, None, None]

    volume = body((40, 32, 32), (5.0, 10.0, 10.0))
    network = Made(about(), restless)

    def jump(options: Options) -> float:
        made = translate_volume([network], [volume], options)
        return float(np.abs(np.diff(made.image.voxels[:, 16, 16])).mean())

    assert jump(Options(variants=("neighbours",))) < 0.8 * jump(Options())


def test_without_variants_nothing_is_said_of_uncertainty() -> None:
    assert translate_volume([Made(about())], [body()]).uncertainty is None
    two = translate_volume([Made(about()), Made(about(), lambda images: images[:, 0] - 0.01)], [body()])
    assert two.uncertainty is not None
    np.testing.assert_allclose(two.uncertainty[two.body], 5.0, atol=0.01)
    mixed = Made(replace(about(), low=-160.0, high=240.0))
    assert translate_volume([mixed, Made(about())], [body()]).uncertainty is None


def test_a_single_slice_has_no_neighbours_to_be_uncertain_by() -> None:
    one = body((1, 40, 44))
    assert translate_volume([Made(about())], [one], Options(variants=("neighbours",))).uncertainty is None
    assert translate_volume([Made(about())], [one], Options(variants=("neighbours", "shift"))).uncertainty is not None
