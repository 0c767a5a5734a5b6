"""Prediction bounds: how often the next draw is beyond them, by simulation."""

import numpy as np
import pytest

from crossmod.statistics.intervals import both_bounds, upper_bound


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 6, 14])
def test_the_next_draw_is_beyond_as_often_as_said(n: int, rng: np.random.Generator) -> None:
    draws = rng.normal(3, 2, (4000, n + 1))
    bounds = [upper_bound(row[:-1].tolist(), 0.05) for row in draws]
    beyond = np.mean([row[-1] > bound for row, bound in zip(draws, bounds, strict=True)])
    assert beyond == pytest.approx(0.05, abs=0.012)
    both = [both_bounds(row[:-1].tolist(), 0.1) for row in draws]
    assert None not in both
    outside = np.mean([not ends[0] <= row[-1] <= ends[1] for row, ends in zip(draws, both, strict=True) if ends])
    assert outside == pytest.approx(0.1, abs=0.017)


def test_few_values_have_no_bound_and_equal_ones_a_least_spread() -> None:
    assert upper_bound([1.0, 2.0], 0.05) is None
    assert both_bounds([], 0.05) is None
    bound = upper_bound([1.0] * 5, 0.05, least_spread=0.1)
    assert bound == pytest.approx(1 + 2.1318 * 0.1 * np.sqrt(1.2), abs=1e-4)  # t(0.95, 4), by table
