import itertools

import numpy as np
import pytest

from crossmod.metrics.segmentation import dice
from crossmod.statistics.baseline_quality import trivial_dice


@pytest.mark.parametrize("shape", [(1, 3, 3), (4, 2, 4), (7, 3, 3)])
def test_against_every_mask_that_there_is(shape: tuple[int, int, int]) -> None:
    truth = np.random.default_rng(sum(shape)).random(shape) < np.linspace(0.1, 0.9, shape[2])
    pixels = shape[1] * shape[2]
    masks = (np.array(bits, dtype=bool).reshape(shape[1:]) for bits in itertools.product((0, 1), repeat=pixels))
    best = max(dice(np.broadcast_to(mask, shape), truth) for mask in masks)
    assert trivial_dice(truth) == pytest.approx(best)


def test_what_looks_alike_everywhere_needs_no_look_at_the_image() -> None:
    truth = np.zeros((5, 6, 7), bool)
    truth[:, 2:4, 3:6] = True
    assert trivial_dice(truth) == pytest.approx(1)
    truth[0] = False
    assert trivial_dice(truth) == pytest.approx(2 * 24 / (24 + 30))


def test_everywhere_is_one_of_the_masks() -> None:
    """Of an organ that moves so that each pixel is organ in one slice of four, no place is better than another."""
    truth = np.eye(4, dtype=bool).reshape(4, 2, 2)
    assert trivial_dice(truth) == pytest.approx(2 * 4 / (4 + 16))


def test_nothing_to_find() -> None:
    assert trivial_dice(np.zeros((3, 4, 5), bool)) == 0
