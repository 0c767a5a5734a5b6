import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from crossmod.evaluate.effects import Effect
from crossmod.evaluate.verdicts import holm, in_words, verdict


def found(mean: float, low: float, high: float, patients: int = 15, seeds: int = 3, left_out: int = 0) -> Effect:
    return Effect(mean, low, high, 0.01, patients, seeds, 1000, left_out)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_holm_against_statsmodels(rng: np.random.Generator) -> None:
    for size in (1, 2, 5, 9):
        values = rng.random(size) ** 3
        values[size // 2 :] = values[size // 2]  # ties
        oracle = np.asarray(multipletests(values, method="holm")[1], dtype=np.float64)
        np.testing.assert_allclose(holm(values), oracle)


def test_nan_is_no_test() -> None:
    np.testing.assert_allclose(holm(np.array([math.nan, 0.02, math.nan, 0.01])), [math.nan, 0.02, math.nan, 0.02])
    assert np.isnan(holm(np.full(3, math.nan))).all()


def test_words_follow_the_numbers() -> None:
    good, bad, wide = found(0.021, 0.01, 0.032), found(-0.02, -0.03, -0.01), found(0.004, -0.008, 0.016)
    assert in_words("+700 EssNet", good, 0.01, 5) == (
        "+700 EssNet: improves 3D Dice by +0.021 [+0.010, +0.032] (15 patients, 3 seeds)."
    )
    assert in_words("a", bad, 0.01, 5).startswith("a: hurts 3D Dice by -0.020 [-0.030, -0.010]")
    assert in_words("a", wide, 0.4, 5) == "a: 3D Dice not shown: +0.004 [-0.008, +0.016] (15 patients, 3 seeds)."
    assert in_words("a", good, 0.08, 5) == (
        "a: 3D Dice not shown once 5 arms are counted: "
        "+0.021 [+0.010, +0.032] (15 patients, 3 seeds), p 0.08 after Holm."
    )


def test_distances_improve_downwards() -> None:
    nearer = found(-2.0, -3.0, -1.0, left_out=2)
    assert verdict(nearer, 0.01, higher_is_better=False) == "improves"
    assert verdict(nearer, 0.01) == "hurts"
    said = in_words("a", nearer, 0.01, 1, metric="HD95", unit="mm", digits=1, higher_is_better=False)
    assert said == "a: improves HD95 by -2.0 [-3.0, -1.0] mm (15 patients, 2 left out, 3 seeds)."


@pytest.mark.parametrize(("patients", "seeds", "p"), [(15, 1, 0.001), (1, 3, 0.001), (15, 3, 0.05), (15, 3, math.nan)])
def test_too_little_shows_nothing(patients: int, seeds: int, p: float) -> None:
    effect = found(0.02, 0.01, 0.03, patients, seeds)
    assert verdict(effect, p) == "not shown"
    assert "not shown" in in_words("a", effect, p, 3)


def test_an_interval_that_touches_0_shows_nothing() -> None:
    assert verdict(found(0.02, 0.0, 0.03), 0.001) == "not shown"
