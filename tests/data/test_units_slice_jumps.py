"""Slices on another scale than their neighbours, and honest volumes whose slices differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.units import odd_slices
from tests.support.unit_stores import NOISE, ct


def changed(values: np.ndarray, index: int, scale: float, offset: float) -> np.ndarray:
    values = values.copy()
    values[index] = scale * values[index] + offset
    return values


@given(
    seed=st.integers(0, 2**16),
    index=st.integers(0, 8),
    offset=st.floats(400, 33000),
)
def test_a_slice_that_lies_higher_is_found_wherever_it_is(seed: int, index: int, offset: float) -> None:
    ((found, far),) = odd_slices(changed(ct(seed, 9), index, 1, offset))
    assert found == index
    assert far == pytest.approx(offset, abs=30)


@pytest.mark.parametrize(("scale", "offset"), [(1, -1024), (0.1, 0), (2, 1024), (0.5, 512), (-1, 0)])
def test_another_rescale_between_right_slices_is_found(scale: float, offset: float) -> None:
    assert [index for index, _ in odd_slices(changed(ct(slices=9), 4, scale, offset))] == [4]


def test_several_wrong_slices_are_those_that_are_fewer() -> None:
    values = ct(slices=9)
    values[[0, 1, 6]] += 1024
    assert [index for index, _ in odd_slices(values)] == [0, 1, 6]
    values = ct(slices=9)
    values[3:] += 1024
    assert [(index, round(far, -2)) for index, far in odd_slices(values)] == [(0, -1000), (1, -1000), (2, -1000)]


@pytest.mark.parametrize(
    "values",
    [
        ct(slices=1),
        ct(slices=9),
        ct(slices=9) + 150 * NOISE[[0, 1, 2, 3, 0, 1, 2, 3, 0]],
        np.clip(ct(slices=9), -160, 240),
        ct(slices=9) + 1024,
        # A blank slice at either end and in the middle; a top of the head; a step of lung to liver.
        np.concatenate([np.full((1, 96, 96), -1024.0), ct(slices=4), np.full((2, 96, 96), -1000.0), ct(slices=3)]),
        np.concatenate([ct(slices=5), np.where(np.hypot(*np.mgrid[-48:48, -48:48]) < 10, 40, ct(1, 1) * 0 - 1000)]),
        np.where(np.arange(9)[:, None, None] < 4, 50, np.where(np.arange(96)[:, None] < 80, -860, 50)) + ct(1, 9) / 20,
        ct(slices=9)[:, :20, :20],
    ],
)
def test_honest_slices_pass(values: np.ndarray) -> None:
    assert odd_slices(values) == ()
