import math
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from crossmod.statistics.paired_effects import Effect
from crossmod.statistics.verdicts import (
    METRICS,
    ONE_MODEL,
    ONE_SEED,
    ONE_SOURCE,
    Facts,
    Origin,
    gated,
    holm,
    in_words,
    obstacle,
    shared_by_folds,
    verdict,
)


def found(mean: float, low: float, high: float, patients: int = 15, seeds: int = 3, left_out: int = 0) -> Effect:
    return Effect(mean, low, high, 0.01, patients, seeds, 4.0, left_out)


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


def test_secondary_tests_show_nothing_where_the_main_one_does_not() -> None:
    np.testing.assert_array_equal(gated(np.array([0.001, 0.2]), 0.04), [0.04, 0.2])
    np.testing.assert_array_equal(gated(np.array([0.001, 0.2]), np.array([0.3, 0.01])), [0.3, 0.2])
    assert np.isnan(gated(np.array([0.001]), math.nan)).all()


INDEPENDENT, ONE = Facts(), Facts(shared=(ONE_MODEL,))


def test_words_follow_the_numbers() -> None:
    good, bad, wide = found(0.021, 0.01, 0.032), found(-0.02, -0.03, -0.01), found(0.004, -0.008, 0.016)
    assert in_words("+700 EssNet", good, 0.01, 5, INDEPENDENT) == (
        "+700 EssNet: synthetic slices improve 3D Dice: +0.021 [+0.010, +0.032] (15 patients, 3 seeds)."
    )
    assert in_words("a", bad, 0.01, 5, INDEPENDENT).startswith("a: synthetic slices lower 3D Dice: -0.020 [-0.030")
    said = in_words("a", wide, 0.4, 5, INDEPENDENT)
    assert said == "a: 3D Dice not shown: +0.004 [-0.008, +0.016] (15 patients, 3 seeds)."
    assert in_words("a", good, 0.08, 5, INDEPENDENT) == (
        "a: 3D Dice not shown once all 5 tests are counted: "
        "+0.021 [+0.010, +0.032] (15 patients, 3 seeds), p 0.08 after Holm."
    )


def test_one_translator_speaks_of_itself() -> None:
    good, farther = found(0.021, 0.01, 0.032), found(2.0, 1.0, 3.0)
    assert in_words("a", good, 0.01, 1, ONE) == (
        "a: this model improves 3D Dice: +0.021 [+0.010, +0.032] (15 patients, 3 seeds). "
        "Folds share one trained translator: another training may do otherwise."
    )
    seeds = Facts(shared=(ONE_SEED, ONE_SOURCE))
    assert "these models improve 3D Dice" in in_words("a", good, 0.01, 1, seeds)
    assert "share the seed of the translators and the source patients" in in_words("a", good, 0.01, 1, seeds)
    assert "this model raises (worsens) HD95" in in_words("a", farther, 0.01, 1, ONE, METRICS["hd95"])
    assert "synthetic slices raise (worsen) HD95" in in_words("a", farther, 0.01, 1, INDEPENDENT, METRICS["hd95"])


def test_distances_improve_downwards() -> None:
    nearer = found(-2.0, -3.0, -1.0, left_out=2)
    assert verdict(nearer, 0.01, INDEPENDENT, higher_is_better=False) == "improves"
    assert verdict(nearer, 0.01, INDEPENDENT) == "hurts"
    said = in_words("a", nearer, 0.01, 1, INDEPENDENT, METRICS["hd95"])
    assert said == (
        "a: synthetic slices lower (improve) HD95: -2.0 [-3.0, -1.0] mm (15 patients, 2 left out, 3 seeds)."
    )


@pytest.mark.parametrize(("patients", "seeds", "p"), [(15, 1, 0.001), (1, 3, 0.001), (15, 3, 0.05), (15, 3, math.nan)])
def test_too_little_shows_nothing(patients: int, seeds: int, p: float) -> None:
    effect = found(0.02, 0.01, 0.03, patients, seeds)
    assert verdict(effect, p, INDEPENDENT) == "not shown"
    assert "not shown" in in_words("a", effect, p, 3, INDEPENDENT)


def test_an_interval_that_touches_0_shows_nothing() -> None:
    assert verdict(found(0.02, 0.0, 0.03), 0.001, INDEPENDENT) == "not shown"


def test_what_cannot_be_compared_says_why() -> None:
    good = found(0.02, 0.01, 0.03)
    untrained = Facts(untrained="the baseline is not trained enough to compare")
    assert verdict(good, 0.001, untrained) == "not comparable"
    assert in_words("a", good, 0.001, 1, untrained) == (
        "a: 3D Dice not comparable: the baseline is not trained enough to compare."
    )
    lost = replace(good, folds_lost=1)
    assert obstacle(lost, INDEPENDENT) == "no patient of 1 fold has a value in both arms"
    failing = replace(good, patients=4, left_out=16, undefined_arm=16, undefined_base=0, undefined_p=3e-5)
    assert verdict(failing, 0.001, INDEPENDENT) == "not comparable"
    assert "undefined in 16 of 20 patients with synthetic slices, 0 without" in obstacle(failing, INDEPENDENT)


def test_an_effect_that_failures_take_away_is_not_shown() -> None:
    nearer = replace(found(-2.0, -3.0, -1.0), left_out=3, undefined_arm=3, undefined_p=0.25)
    with_failures = replace(nearer, worst=found(5.0, -1.0, 11.0))
    assert verdict(with_failures, 0.001, INDEPENDENT, higher_is_better=False) == "not shown"
    assert "count as the worst" in in_words("a", with_failures, 0.001, 1, INDEPENDENT, METRICS["hd95"])
    agreeing = replace(nearer, worst=found(-4.0, -7.0, -1.0))
    assert verdict(agreeing, 0.001, INDEPENDENT, higher_is_better=False) == "improves"


def origin(fold: int, model: str, seed: int | None, source: str | None) -> Origin:
    return Origin(fold, model, seed, None if source is None else frozenset(source))


@pytest.mark.parametrize(
    ("origins", "shared"),
    [
        ([], ()),
        ([origin(0, "a", 1, "xy"), origin(1, "b", 2, "yz")], ()),
        # Two seeds of segmenters that share the fold's translator.
        ([origin(0, "a", 1, "xy"), origin(0, "a", 1, "xy"), origin(1, "b", 2, "yz")], ()),
        ([origin(0, "a", 1, "xy"), origin(0, "a", 1, "xy")], (ONE_MODEL,)),
        ([origin(0, "a", 1, "xy"), origin(1, "a", 1, "xy")], (ONE_MODEL,)),
        ([origin(0, "a", 1, "xy"), origin(1, "b", 1, "yz")], (ONE_SEED,)),
        ([origin(0, "a", 1, "xy"), origin(1, "b", 2, "xy")], (ONE_SOURCE,)),
        ([origin(0, "a", 1, "xy"), origin(1, "b", 1, "xy")], (ONE_SEED, ONE_SOURCE)),
        ([origin(0, "a", None, None), origin(1, "b", None, None)], (ONE_SEED, ONE_SOURCE)),
        # One fold with several trainings: their seeds differ, the training side does not.
        ([origin(0, "a", 1, "xy"), origin(0, "b", 2, "xy")], (ONE_SOURCE,)),
        # Of three folds two have one seed.
        ([origin(0, "a", 1, "x"), origin(1, "b", 2, "y"), origin(2, "c", 1, "z")], (ONE_SEED,)),
    ],
)
def test_what_folds_share(origins: list[Origin], shared: tuple[str, ...]) -> None:
    assert shared_by_folds(origins) == shared


def test_a_split_by_slice_speaks_of_the_model() -> None:
    assert Facts(shared=shared_by_folds([origin(0, "a", 1, "x")], split="slice")).scope == "this model"
    assert Facts(shared=shared_by_folds([origin(0, "a", 1, "x"), origin(0, "b", 2, "x")])).scope == "these models"
    assert Facts().scope == "synthetic slices"
