import math
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from crossmod.statistics.arm_scores import ArmScores, failures_as_worst, undefined
from crossmod.statistics.paired_effects import effect, effects
from crossmod.statistics.verdicts import Facts, obstacle, verdict

FOLDS = np.arange(20) % 5


def scores(values: np.ndarray, name: str = "arm") -> ArmScores:
    return ArmScores(name, values, FOLDS[: values.shape[1]])


def distances(rng: np.random.Generator, mean: float) -> np.ndarray:
    return rng.gamma(20, mean / 20, (3, 20))


def test_an_arm_that_finds_nothing_in_sixteen_of_twenty_improves_nothing() -> None:
    """On the four others its HD95 is a third, by far: the mistake that was made."""
    rng = np.random.default_rng(0)
    base, arm = distances(rng, 15.0), distances(rng, 5.0)
    arm[:, np.flatnonzero(FOLDS != 0)] = np.nan
    found = effect(scores(base), scores(arm), higher_is_better=False)
    assert (found.patients, found.left_out, found.undefined_base, found.undefined_arm) == (4, 16, 0, 16)
    assert found.high < 0
    assert verdict(found, 1e-6, Facts(), higher_is_better=False) == "not comparable"
    assert found.undefined_p == pytest.approx(2 * 0.5**16)
    # Four whole folds are lost, which is named first.
    assert (found.folds_lost, obstacle(found, Facts())) == (4, "no patient of 4 folds has a value in both arms")
    # With failures counted as worst, the arm is worse.
    assert found.worst is not None
    assert found.worst.patients == 20
    assert found.worst.mean > 0


def test_sixteen_failures_in_all_folds_are_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    base, arm = distances(rng, 15.0), distances(rng, 5.0)
    arm[0, np.arange(20) >= 5] = np.nan
    found = effect(scores(base), scores(arm), higher_is_better=False)
    assert found.folds_lost == 0
    assert "undefined in 15 of 20 patients with synthetic slices, 0 without" in obstacle(found, Facts())


def test_few_failures_count_as_the_worst() -> None:
    """One failure of twenty is no more than chance; counted as the worst distance of any arm it hides the gain."""
    rng = np.random.default_rng(0)
    base, arm = distances(rng, 6.0), distances(rng, 3.0)
    base[0, 0] = 300.0
    arm[:, 7] = np.nan
    found = effect(scores(base), scores(arm), higher_is_better=False)
    assert (found.undefined_p, found.patients) == (1.0, 19)
    filled = arm.copy()
    filled[:, 7] = 300.0
    by_hand = effect(scores(base), scores(filled), higher_is_better=False)
    assert found.worst == by_hand
    assert obstacle(found, Facts()) == ""


def test_one_arms_failures_do_not_touch_another() -> None:
    """Each arm is compared over the patients that both it and the base have."""
    rng = np.random.default_rng(1)
    base, good, bad = (distances(rng, mean) for mean in (8.0, 4.0, 4.0))
    bad[:, :16] = np.nan
    found = effects(scores(base), [scores(good), scores(bad)], higher_is_better=False)
    assert [one.patients for one in found] == [20, 4]
    assert found[0] == effect(scores(base), scores(good), higher_is_better=False)


def test_patients_without_any_score_say_nothing() -> None:
    """Slices with gaps give neither arm a distance: nobody failed."""
    rng = np.random.default_rng(2)
    base, arm = distances(rng, 8.0), distances(rng, 4.0)
    for values in (base, arm):
        values[:, FOLDS == 3] = np.nan
    found = effect(scores(base), scores(arm), higher_is_better=False)
    assert (found.left_out, found.undefined_base, found.undefined_arm, found.undefined_p) == (4, 4, 4, 1.0)
    assert (found.folds_lost, found.worst) == (0, None)


def test_the_worst_is_the_smallest_where_higher_is_better() -> None:
    base, arm = np.full((1, 4), 0.8), np.full((1, 4), 0.9)
    arm[0, 0], base[0, 3] = np.nan, 0.1
    found = effect(scores(base), scores(arm))
    assert found.worst is not None
    # Differences 0.1 - 0.8, 0.1, 0.1 and 0.8.
    assert found.worst.mean == pytest.approx((0.1 - 0.8 + 0.1 + 0.1 + 0.8) / 4)


def test_shares_of_failures_against_statsmodels() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        base, arm = distances(rng, 8.0), distances(rng, 4.0)
        base[0, rng.random(20) < 0.2], arm[1, rng.random(20) < 0.5] = np.nan, np.nan
        found = undefined(scores(base), scores(arm))
        gone = [~np.isfinite(values).all(axis=0) for values in (base, arm)]
        table = [[int((a & b).sum()) for b in (gone[1], ~gone[1])] for a in (gone[0], ~gone[0])]
        oracle: Any = mcnemar(table, exact=True)
        # Where no patient differs, statsmodels has no p.
        expected = 1.0 if table[0][1] + table[1][0] == 0 else float(oracle.pvalue)
        assert found.undefined_p == pytest.approx(min(expected, 1.0))
        assert (found.undefined_base, found.undefined_arm) == (int(gone[0].sum()), int(gone[1].sum()))


def test_no_score_at_all() -> None:
    nothing = np.full((2, 3), np.nan)
    found = effect(scores(nothing), scores(nothing))
    assert (found.patients, found.left_out) == (0, 3)
    assert math.isnan(found.mean)
    assert verdict(found, math.nan, Facts()) == "not shown"
    filled = failures_as_worst(scores(nothing), scores(nothing), math.nan)
    assert len(filled[0].folds) == 0
