import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.power import (
    NO_LUCK,
    Luck,
    Plan,
    needed_in_words,
    patients_needed,
    plan,
    power_of,
    run_luck,
    smallest_effect,
)


@pytest.mark.parametrize(("effect", "sd"), [(0.02, 0.05), (-0.02, 0.05), (0.01, 0.02), (0.05, 0.05), (0.2, 0.05)])
def test_patients_needed_against_statsmodels(effect: float, sd: float) -> None:
    needed = patients_needed(effect, sd)
    oracle = TTestPower()
    assert oracle.power(abs(effect) / sd, needed, 0.05) >= 0.8
    if needed > 2:
        assert oracle.power(abs(effect) / sd, needed - 1, 0.05) < 0.8


def test_power_against_statsmodels() -> None:
    for patients in (2, 3, 5, 15, 100):
        for size in (0.0, 0.1, 0.5, 1.0):
            assert power_of(size, 1.0, patients) == pytest.approx(TTestPower().power(size, patients, 0.05), abs=1e-6)


def test_the_smallest_effect_turns_patients_needed_around() -> None:
    for patients in (3, 15, 60):
        smallest = smallest_effect(0.05, patients)
        assert power_of(smallest, 0.05, patients) == pytest.approx(0.8, abs=1e-6)
        assert patients_needed(smallest * 1.0001, 0.05) == patients
    assert smallest_effect(0.05, 1) == math.inf
    assert smallest_effect(0.0, 5) == 0


def test_no_effect_and_the_luck_of_runs_need_no_end_of_patients() -> None:
    assert patients_needed(0.0, 0.05) == math.inf
    assert patients_needed(0.02, 0.05, Luck(0.01**2, 20.0)) == math.inf
    assert 34 < patients_needed(0.02, 0.04, Luck(0.005**2, 20.0)) < math.inf
    assert patients_needed(0.02, 0.0) == 2


def test_power_with_luck_against_simulation() -> None:
    """Patients and runs both vary; the runs' part is told from 20 degrees of freedom."""
    rng = np.random.default_rng(0)
    patients, sd, luck, times = 12, 0.03, Luck(0.006**2, 20.0), 20_000
    mean = 0.03 + rng.normal(0, sd / patients**0.5, times) + rng.normal(0, 0.006, times)
    parts = [
        sd**2 / patients * rng.chisquare(patients - 1, times) / (patients - 1),
        luck.variance * rng.chisquare(20, times) / 20,
    ]
    total = parts[0] + parts[1]
    freedom = total**2 / (parts[0] ** 2 / (patients - 1) + parts[1] ** 2 / 20)
    found = (np.abs(mean) / np.sqrt(total) > stats.t.ppf(0.975, freedom)).mean()
    assert power_of(0.03, sd, patients, luck) == pytest.approx(found, abs=0.015)


def test_run_luck_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    folds, found = np.arange(20) % 5, []
    for _ in range(400):
        arms = [
            ArmScores("a", rng.normal(0, 0.03, (3, 5))[:, folds] + rng.normal(0, 0.04, (3, 20)), folds)
            for _ in range(2)
        ]
        found.append(run_luck(arms[0], arms[1]).variance)
    # Two arms, three seeds, five folds.
    assert np.mean(found) == pytest.approx(2 * 0.03**2 / 15, rel=0.1)


def test_a_plan_of_measured_arms() -> None:
    rng = np.random.default_rng(0)
    folds = np.zeros(15, dtype=np.int64)
    gain = rng.normal(0.02, 0.04, 15)
    base = np.tile(rng.normal(0.8, 0.05, 15), (3, 1))
    found = plan(ArmScores("a", base, folds), ArmScores("b", base + gain, folds))
    assert found.sd == pytest.approx(gain.std(ddof=1))
    assert found.luck.variance == pytest.approx(0, abs=1e-20)
    assert found.needed == patients_needed(gain.mean(), gain.std(ddof=1))
    one = plan(ArmScores("a", base[:1], folds), ArmScores("b", base[:1] + gain, folds))
    assert one.needed == found.needed
    # In five folds the test has four degrees of freedom, however many patients there are.
    five = np.arange(15) % 5
    divided = plan(ArmScores("a", base, five), ArmScores("b", base + gain, five))
    limit = stats.t.ppf(0.975, 4)
    beyond = stats.nct(4, gain.mean() / math.sqrt(gain.var(ddof=1) / divided.needed + divided.luck.variance)).sf(limit)
    assert beyond == pytest.approx(0.8, abs=0.01)
    assert divided.needed > found.needed
    alone = plan(ArmScores("a", base[:, :1], folds[:1]), ArmScores("b", base[:, :1], folds[:1]))
    assert math.isnan(alone.needed)
    assert "fewer than two" in needed_in_words(alone)


def test_in_words() -> None:
    few = Plan(15, 0.02, 0.05, Luck(1e-5, 20.0), 52.0, 0.039)
    assert needed_in_words(few) == ("An effect of +0.020 would need 52 patients (80% power); 15 show one of 0.039.")
    assert "luck of folds and runs left out" in needed_in_words(Plan(15, 0.02, 0.05, NO_LUCK, 52.0, 0.039))
    assert needed_in_words(Plan(15, 0.0, 0.05, NO_LUCK, math.inf, 0.039)).startswith("No number of patients would")
    assert "in as few folds and runs" in needed_in_words(Plan(15, 0.01, 0.05, Luck(1e-4, 20.0), math.inf, 0.039))
