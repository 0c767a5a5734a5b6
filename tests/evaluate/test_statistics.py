import numpy as np
import pytest
from scipy import stats

from crossmod.errors import InputError
from crossmod.evaluate.statistics import Difference, interval, paired_difference


def by_patient(values: np.ndarray) -> dict[str, float]:
    return {f"p{i}": float(value) for i, value in enumerate(values)}


def test_one_seed_against_scipys_paired_t_test(rng: np.random.Generator) -> None:
    old, new = rng.normal(0.8, 0.1, 9), rng.normal(0.85, 0.1, 9)
    found = paired_difference([by_patient(old)], [by_patient(new)])
    ends = stats.ttest_rel(new, old).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.mean == pytest.approx((new - old).mean())
    assert (found.patients, found.seeds) == (9, 1)


def test_seeds_alone_against_scipys_welch_test(rng: np.random.Generator) -> None:
    """Patients who all change alike leave only the seeds: Welch's t test on the seeds' means."""
    patients = rng.normal(0.8, 0.05, 6)
    old, new = rng.normal(0, 0.02, 4), rng.normal(0.03, 0.05, 3)
    found = paired_difference([by_patient(patients + e) for e in old], [by_patient(patients + e) for e in new])
    ends = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_words_follow_the_interval_and_the_seeds() -> None:
    assert Difference(0.1, 0.05, 0.15, 5, 3).verdict == "improves"
    assert Difference(-0.1, -0.15, -0.05, 5, 3).verdict == "hurts"
    assert Difference(0.1, -0.01, 0.2, 5, 3).verdict == "not shown"
    assert Difference(0.1, 0.05, 0.15, 5, 1).verdict == "not shown"


def test_one_patient_shows_nothing() -> None:
    assert paired_difference([{"a": 0.1}, {"a": 0.2}], [{"a": 0.9}, {"a": 0.8}]).verdict == "not shown"
    assert interval(np.array([0.5])) == (float("-inf"), float("inf"))


def test_the_interval_of_a_mean_against_scipy(rng: np.random.Generator) -> None:
    values = rng.normal(0.3, 1.0, 6)
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((ends.low, ends.high))
    assert interval(np.array([0.5, 0.5])) == (0.5, 0.5)


@pytest.mark.parametrize(("patient_sd", "seed_sd"), [(0.05, 0.0), (0.03, 0.03), (0.005, 0.04)])
def test_no_effect_is_called_one_in_no_more_than_one_case_of_twenty(patient_sd: float, seed_sd: float) -> None:
    """Simulated arms of no effect, with three seeds and eight patients, whichever chance is the greater."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1500):
        base = rng.normal(0.8, 0.1, 8)
        change = rng.normal(0, patient_sd, 8)
        arms = [[by_patient(base + part + e) for e in rng.normal(0, seed_sd, 3)] for part in (np.zeros(8), change)]
        wrong += paired_difference(arms[0], arms[1]).verdict != "not shown"
    # 5 % of 1500, and three standard deviations of that.
    assert wrong / 1500 < 0.067


def test_an_effect_larger_than_chance_is_found() -> None:
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(300):
        base = rng.normal(0.8, 0.1, 8)
        arms = [[by_patient(base + effect + rng.normal(0, 0.02, 8)) for _ in range(3)] for effect in (0.0, 0.06)]
        right += paired_difference(arms[0], arms[1]).verdict == "improves"
    assert right / 300 > 0.9


def test_arms_of_different_patients_are_not_compared() -> None:
    with pytest.raises(InputError, match="different test patients"):
        paired_difference([{"a": 0.1, "b": 0.2}], [{"a": 0.1, "c": 0.3}])
