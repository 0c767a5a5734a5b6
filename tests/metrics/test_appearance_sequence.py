"""Order of slices: made-up stacks that change steadily."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from crossmod.metrics.appearance import sequence_of


@pytest.fixture
def stack(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    image = gaussian_filter(rng.normal(size=(14, 20, 22)), (2, 1, 1))
    return image, np.ones(image.shape, bool)


def test_a_stack_in_order_has_nothing_wrong(stack: tuple[np.ndarray, np.ndarray]) -> None:
    found = sequence_of(*stack)
    assert found.copies == found.misplaced == found.missing == found.flat == ()


def test_what_is_wrong_is_named(stack: tuple[np.ndarray, np.ndarray]) -> None:
    image, body = stack
    swapped = image[[0, 1, 2, 6, 4, 5, 3, *range(7, 14)]]
    assert {3, 6} & set(sequence_of(swapped, body).misplaced)
    assert sequence_of(np.repeat(image, 2, axis=0), np.repeat(body, 2, axis=0)).copies == tuple(range(1, 28, 2))
    gone, empty = body.copy(), image.copy()
    gone[5], empty[8] = False, 3.0
    found = sequence_of(empty, gone)
    assert (found.missing, found.flat) == ((5,), (8,))


def test_short_stacks_and_no_body(stack: tuple[np.ndarray, np.ndarray]) -> None:
    image, body = stack
    for count in (1, 2):
        assert sequence_of(image[:count], body[:count]).misplaced == ()
    assert sequence_of(image, np.zeros_like(body)).missing == ()
