"""Pieces of organs, by hand."""

import math

import numpy as np
import pytest

from crossmod.metrics.organs import pieces_of
from crossmod.metrics.segmentation import dice

SPACING = (5.0, 2.0, 2.0)
UNIT = 20 / 1000


def organ() -> np.ndarray:
    volume = np.zeros((10, 40, 60), bool)
    volume[2:8, 10:30, 5:25] = True  # 2400 voxels, 48 ml
    return volume


def test_nothing_changed() -> None:
    found = pieces_of(organ(), organ(), SPACING, 10.0)
    assert (found.before, found.after, found.second, found.invented, found.lost, found.holes) == (1, 1, 0, 0, 0, 0)
    assert math.isnan(found.apart_mm)


def test_a_second_lump_that_dice_does_not_see() -> None:
    after = organ()
    after[2:8, 10:20, 45:53] = True  # 480 voxels, a fifth
    assert dice(organ(), after) == pytest.approx(0.91, abs=0.005)
    found = pieces_of(organ(), after, SPACING, 10.0)
    assert (found.before, found.after) == (1, 2)
    assert found.second == found.invented == pytest.approx(480 * UNIT)
    assert found.apart_mm == pytest.approx((45 - 24) * 2)
    back = pieces_of(after, organ(), SPACING, 10.0)
    assert (back.lost, back.invented) == (pytest.approx(480 * UNIT), 0)


def test_a_lump_that_touches_the_organ_is_found_too() -> None:
    after = organ()
    after[2:8, 10:20, 25:45] = True
    found = pieces_of(organ(), after, SPACING, 10.0)
    assert found.after == 1
    assert found.invented == pytest.approx(6 * 10 * 15 * UNIT)  # beyond 5 columns of 2 mm


def test_a_surface_may_move() -> None:
    after = np.roll(organ(), 4, axis=2)
    found = pieces_of(organ(), after, SPACING, 10.0)
    assert (found.invented, found.lost) == (0, 0)


def test_holes_and_empty_sides() -> None:
    after = organ()
    after[3:6, 15:20, 10:15] = False
    assert pieces_of(organ(), after, SPACING, 20.0).holes == pytest.approx(75 * UNIT)
    nothing = np.zeros_like(after)
    assert pieces_of(nothing, nothing, SPACING, 5.0).after == 0
    assert pieces_of(nothing, organ(), SPACING, 5.0).invented == pytest.approx(2400 * UNIT)
    assert pieces_of(organ()[3], nothing[3], SPACING[1:], 5.0).lost == pytest.approx(400 * 4 / 100)
