import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from crossmod.metrics.segmentation import dice, iou, volume_difference


def test_by_hand() -> None:
    first = np.array([1, 1, 1, 0, 0], dtype=bool)
    second = np.array([0, 1, 1, 1, 0], dtype=bool)
    assert dice(first, second) == pytest.approx(4 / 6)
    assert iou(first, second) == pytest.approx(2 / 4)


def test_empty_masks_agree_and_half_empty_ones_do_not() -> None:
    none, some = np.zeros(4, dtype=bool), np.array([0, 1, 0, 0], dtype=bool)
    assert dice(none, none) == iou(none, none) == 1.0
    assert dice(none, some) == iou(none, some) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int) -> None:
    """Dice is F1 and IoU is Jaccard's index of the pixels."""
    first, second = np.random.default_rng(seed).random((2, 3, 7, 5)) < 0.4
    assert dice(first, second) == pytest.approx(f1_score(first.ravel(), second.ravel()))
    assert iou(first, second) == pytest.approx(jaccard_score(first.ravel(), second.ravel()))


def test_volume_difference_by_hand() -> None:
    truth = np.zeros((3, 4, 5), dtype=bool)
    truth[:2] = True
    assert volume_difference(truth, truth) == 0
    # 40 voxels: 30 of them are a quarter too few, all 60 a half too many, wherever they lie.
    fewer, more = truth.copy(), np.ones_like(truth)
    fewer[:, :1] = False
    assert volume_difference(fewer, truth) == pytest.approx(25)
    assert volume_difference(more, truth) == pytest.approx(50)
    assert volume_difference(np.roll(truth, 1, axis=0), truth) == 0
    # Of the truth, so that the two sides are not alike.
    assert volume_difference(truth, fewer) == pytest.approx(100 / 3)


def test_volume_difference_of_nothing() -> None:
    none, some = np.zeros(4, dtype=bool), np.array([0, 1, 1, 0], dtype=bool)
    assert volume_difference(none, none) == 0
    assert volume_difference(none, some) == 100
    assert math.isnan(volume_difference(some, none))
