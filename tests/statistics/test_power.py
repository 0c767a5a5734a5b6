import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from crossmod.statistics.arm_scores import ArmScores, fold_inflation
from crossmod.statistics.intervals import Estimate
from crossmod.statistics.paired_effects import effects
from crossmod.statistics.power import (
    NO_LUCK,
    Luck,
    PowerEstimate,
    holm_level,
    needed_in_words,
    patients_needed,
    plan,
    power_of,
    run_luck,
    smallest_effect,
    variance_factors,
)
from crossmod.statistics.verdicts import holm


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


def test_holms_level_against_statsmodels() -> None:
    """The level of one of four arms, whatever the others show."""
    assert (holm_level(1), holm_level(4)) == pytest.approx((0.05, 0.0125))
    for patients in (5, 15, 60):
        oracle = TTestPower().power(0.5, patients, 0.0125)
        assert power_of(0.5, 1.0, patients, level=0.0125) == pytest.approx(oracle, abs=1e-6)
    assert patients_needed(0.02, 0.05, level=0.0125) > patients_needed(0.02, 0.05)
    assert smallest_effect(0.05, 20, level=0.0125) > smallest_effect(0.05, 20)


def test_the_range_of_a_variance_against_its_chi_squared_interval(rng: np.random.Generator) -> None:
    low, high = variance_factors(4.0)
    estimates = np.var(rng.normal(0, 1, (20_000, 5)), axis=1, ddof=1)
    assert ((estimates * low <= 1) & (estimates * high >= 1)).mean() == pytest.approx(0.95, abs=0.005)
    assert variance_factors(math.inf) == (1.0, 1.0)


FOLD_SD, OWN_SD = 0.02, 0.04


def experiment(
    rng: np.random.Generator, patients: int, gains: tuple[float, ...], folds: int = 5
) -> tuple[ArmScores, list[ArmScores]]:
    """A base and arms, each with a luck of its own in each fold, a quarter of it common to all folds."""
    where = np.arange(patients) % folds
    base = rng.normal(0.8, 0.05, patients)
    arms = []
    for number, gain in enumerate(gains):
        common = FOLD_SD * (0.5 * rng.normal() + 0.75**0.5 * rng.normal(size=folds))
        values = base + gain + common[where] + rng.normal(0, OWN_SD, patients)
        arms.append(ArmScores(f"arm {number}", values[None], where))
    return ArmScores("base", base[None], where), arms


@pytest.mark.slow
def test_power_with_four_arms_is_that_of_the_test_with_holm() -> None:
    """One arm of four gains: 80 % by the formula, and in simulated experiments by `effects` and Holm's correction."""
    rng = np.random.default_rng(0)
    folds, patients = 5, 60
    luck = Luck(FOLD_SD**2 / folds, folds - 1.0, True, fold_inflation(folds))
    gain = smallest_effect(OWN_SD, patients, luck, level=holm_level(4))
    shown = plain = 0
    for _ in range(1000):
        found = effects(*experiment(rng, patients, (gain, 0.0, 0.0, 0.0)))
        shown += bool(holm(np.array([one.p for one in found]))[0] < 0.05)
    assert 0.77 <= shown / 1000 <= 0.87
    # What was said before: the effect of one arm alone with independent folds, and Holm left out.
    naive = smallest_effect(OWN_SD, patients, Luck(luck.variance, folds - 1.0, True))
    for _ in range(1000):
        found = effects(*experiment(rng, patients, (naive, 0.0, 0.0, 0.0)))
        plain += bool(holm(np.array([one.p for one in found]))[0] < 0.05)
    assert plain / 1000 < 0.56


@pytest.mark.slow
def test_the_range_of_the_smallest_effect_includes_the_true_one() -> None:
    rng = np.random.default_rng(1)
    folds, patients = 5, 60
    luck = Luck(FOLD_SD**2 / folds, folds - 1.0, True, fold_inflation(folds))
    true = smallest_effect(OWN_SD, patients, luck, level=holm_level(1))
    inside = 0
    for _ in range(400):
        base, arms = experiment(rng, patients, (0.0,))
        found = plan(base, arms[0], 1).smallest
        assert found.low <= found.value <= found.high
        inside += found.low <= true <= found.high
    assert inside / 400 >= 0.92


def test_a_plan_of_measured_arms() -> None:
    rng = np.random.default_rng(0)
    folds = np.zeros(15, dtype=np.int64)
    gain = rng.normal(0.02, 0.04, 15)
    base = np.tile(rng.normal(0.8, 0.05, 15), (3, 1))
    found = plan(ArmScores("a", base, folds), ArmScores("b", base + gain, folds), 1)
    sd = gain.std(ddof=1)
    assert found.sd == pytest.approx(sd)
    assert found.luck.variance == pytest.approx(0, abs=1e-20)
    assert found.needed.value == patients_needed(gain.mean(), sd)
    low, high = (14 / stats.chi2.ppf(q, 14) for q in (0.975, 0.025))
    assert found.needed.low == patients_needed(gain.mean(), sd * low**0.5)
    assert found.needed.high == patients_needed(gain.mean(), sd * high**0.5)
    assert found.power.value == pytest.approx(TTestPower().power(gain.mean() / sd, 15, 0.05), abs=1e-6)
    one = plan(ArmScores("a", base[:1], folds), ArmScores("b", base[:1] + gain, folds), 1)
    assert one.needed == found.needed
    assert plan(ArmScores("a", base, folds), ArmScores("b", base + gain, folds), 4).needed.value > found.needed.value
    # In five folds the test has four degrees of freedom, however many patients there are, and an inflated variance.
    five = np.arange(15) % 5
    divided = plan(ArmScores("a", base, five), ArmScores("b", base + gain, five), 1)
    if math.isfinite(divided.needed.value):
        error = math.sqrt((divided.sd**2 / divided.needed.value + divided.luck.variance) * fold_inflation(5))
        beyond = stats.nct(4, gain.mean() / error).sf(stats.t.ppf(0.975, 4))
        assert beyond == pytest.approx(0.8, abs=0.01)
    assert divided.needed.value > found.needed.value
    alone = plan(ArmScores("a", base[:, :1], folds[:1]), ArmScores("b", base[:, :1], folds[:1]), 1)
    assert math.isnan(alone.needed.value)
    assert "fewer than two" in needed_in_words(alone)


def planned(effect: float, luck: Luck, arms: int, needed: Estimate) -> PowerEstimate:
    return PowerEstimate(15, effect, 0.05, luck, arms, Estimate(0.3, 0.1, 0.6), needed, Estimate(0.039, 0.024, 0.11))


def test_in_words() -> None:
    few = planned(0.02, Luck(1e-5, 20.0), 4, Estimate(52.0, 20.0, math.inf))
    assert needed_in_words(few) == (
        "An effect of +0.020 would need 52 patients (20 or more, or no number is enough); "
        "15 show one of 0.039 (0.024 to 0.110), each with 80% power, 4 arms after Holm. Ranges: 95 % of the variance."
    )
    assert "luck of folds and runs left out" in needed_in_words(planned(0.02, NO_LUCK, 1, Estimate(52.0, 20.0, 90.0)))
    none = Estimate(math.inf, math.inf, math.inf)
    assert needed_in_words(planned(0.0, NO_LUCK, 1, none)).startswith("No number of patients would")
    said = needed_in_words(planned(0.01, Luck(1e-4, 20.0), 1, Estimate(math.inf, 31.0, math.inf)))
    assert said.startswith("No number of patients in as few folds and runs would show an effect of +0.010 (at best 31)")
