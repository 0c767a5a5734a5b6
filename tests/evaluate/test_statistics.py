import numpy as np
import pytest
from scipy import stats

from crossmod.errors import InputError
from crossmod.evaluate.statistics import Difference, interval, paired_difference


def by_patient(values: np.ndarray) -> dict[str, float]:
    return {f"p{i}": float(value) for i, value in enumerate(values)}


def test_against_scipys_paired_t_test(rng: np.random.Generator) -> None:
    old, new = rng.normal(0.8, 0.1, 9), rng.normal(0.85, 0.1, 9)
    found = paired_difference(by_patient(old), by_patient(new))
    ends = stats.ttest_rel(new, old).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.mean == pytest.approx((new - old).mean())
    assert found.patients == 9


def test_words_follow_the_interval() -> None:
    assert Difference(0.1, 0.05, 0.15, 5).verdict == "improves"
    assert Difference(-0.1, -0.15, -0.05, 5).verdict == "hurts"
    assert Difference(0.1, -0.01, 0.2, 5).verdict == "not shown"


def test_one_patient_shows_nothing() -> None:
    assert paired_difference({"a": 0.1}, {"a": 0.9}).verdict == "not shown"
    assert interval(np.array([0.5])) == (float("-inf"), float("inf"))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        low, high = interval(rng.normal(0.3, 1.0, 6))
        inside += low < 0.3 < high
    # 95 % of 2000, within four standard deviations.
    assert abs(inside / 2000 - 0.95) < 0.02


def test_arms_of_different_patients_are_not_compared() -> None:
    with pytest.raises(InputError, match="different test patients"):
        paired_difference({"a": 0.1, "b": 0.2}, {"a": 0.1, "c": 0.3})
