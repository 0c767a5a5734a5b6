import numpy as np
import pytest
from scipy import stats

from crossmod.statistics.intervals import interval


def test_the_interval_of_a_mean_against_scipy(rng: np.random.Generator) -> None:
    values = rng.normal(0.3, 1.0, 6)
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((ends.low, ends.high))
    assert interval(np.array([0.5, 0.5])) == (0.5, 0.5)


def test_one_patient_has_no_interval() -> None:
    assert interval(np.array([0.5])) == (float("-inf"), float("inf"))
