"""The worth of synthetic slices: hand-made curves, isotonic regression against SciPy, and coverage of the interval."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import optimize

from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.paired_effects import effect
from crossmod.statistics.worth import (
    Amount,
    Number,
    Worth,
    amount_in_words,
    falls,
    monotone,
    no_gain_from,
    number_reaching,
    worth,
    worth_in_words,
)

FOLDS = np.arange(10) % 5


def arm(name: str, mean: float, *, noise: float = 0.0, seeds: int = 2, folds: np.ndarray = FOLDS) -> ArmScores:
    """An arm whose patients differ in difficulty, by the same amount in all arms."""
    patients = len(folds)
    rng = np.random.default_rng([int(1000 * mean), len(name)])
    values = mean + np.linspace(-0.1, 0.1, patients) + rng.normal(0, noise, (seeds, patients))
    return ArmScores(name, values, folds)


def curve(means: Mapping[Number, float], **more: object) -> dict[Number, ArmScores]:
    return {number: arm(f"{number:g} patients", mean, **more) for number, mean in means.items()}  # pyright: ignore[reportArgumentType]


RISING: dict[Number, float] = {1.0: 0.5, 2.0: 0.6, 4.0: 0.7, 8.0: 0.75}


@pytest.mark.parametrize(
    ("means", "dice", "labelled", "more"),
    [
        # Halfway between 2 and 4 patients in log2 lie 2 sqrt(2).
        (RISING, 0.65, 2, Amount(2 * math.sqrt(2) - 2)),
        # No gain, no worth; a loss is worth fewer patients.
        (RISING, 0.6, 2, Amount(0)),
        (RISING, 0.6, 4, Amount(-2)),
        (RISING, 0.55, 2, Amount(math.sqrt(2) - 2)),
        # Without labelled patients, n* itself.
        (RISING, 0.725, 0, Amount(4 * math.sqrt(2))),
        (RISING, 0.75, 1, Amount(7)),
        (RISING, 0.5, 1, Amount(0)),
        # Outside of the curve nothing is extrapolated.
        (RISING, 0.751, 2, Amount(6, ">")),
        (RISING, 0.499, 2, Amount(-1, "<")),
        (RISING, 0.499, 0, Amount(1, "<")),
        # One number of labelled patients is a curve of one point.
        ({8.0: 0.7}, 0.6, 0, Amount(8, "<")),
        ({8.0: 0.7}, 0.8, 0, Amount(8, ">")),
        # A curve that falls from 2 to 4: both become 0.65, which is reached at 2.
        ({1.0: 0.5, 2.0: 0.7, 4.0: 0.6, 8.0: 0.75}, 0.65, 1, Amount(1)),
        # Falls everywhere: 0.6 at all numbers, which is reached at the smallest.
        ({1.0: 0.7, 2.0: 0.6, 4.0: 0.5}, 0.6, 2, Amount(-1)),
        ({1.0: 0.7, 2.0: 0.6, 4.0: 0.5}, 0.61, 2, Amount(2, ">")),
        # A plateau is reached where it begins.
        ({1.0: 0.5, 2.0: 0.7, 4.0: 0.7, 8.0: 0.7}, 0.7, 1, Amount(1)),
        # All labelled patients, of whom folds have 9 and 10.
        ({8.0: 0.7, 9.5: 0.8}, 0.8, 8, Amount(1.5)),
    ],
)
def test_by_hand(means: dict[float, float], dice: float, labelled: float, more: Amount) -> None:
    found = worth(curve(means), arm("arm", dice), labelled, draws=50)
    assert found.more.relation == more.relation
    assert found.more.value == pytest.approx(more.value)
    assert found.equal_to.value == pytest.approx(more.value + labelled)
    # Arms that differ by a constant in every patient have no variance.
    for end in (found.low, found.high):
        assert (end.relation, end.value) == (more.relation, pytest.approx(more.value))


def test_isotonic_regression_is_that_of_scipy(rng: np.random.Generator) -> None:
    many = rng.normal(0, 1, (6, 200)) + np.linspace(0, 2, 6)[:, None]
    expected = np.stack([optimize.isotonic_regression(column).x for column in many.T], axis=1)
    np.testing.assert_allclose(monotone(many), expected, atol=1e-12)
    rising = np.sort(many, axis=0)
    np.testing.assert_allclose(monotone(rising), rising, atol=1e-12)


def test_each_draw_has_its_number() -> None:
    above = np.array([[-1.0, 0.5, -2.0, 0.0], [1.0, 0.6, -1.0, 0.0]])
    assert number_reaching(above, np.array([2.0, 8.0])).tolist() == [4.0, -np.inf, np.inf, 2.0]


def test_the_interval_excludes_0_where_that_of_the_gain_does() -> None:
    for dice in (0.61, 0.62, 0.63, 0.65, 0.57):
        base, found = curve(RISING, noise=0.01), arm("with slices", dice, noise=0.01)
        gain = effect(base[2.0], found)
        ends = worth(base, found, 2)
        shown = (gain.low > 0) - (gain.high < 0)
        assert (ends.low.value > 0) - (ends.high.value < 0) == shown
    assert shown == -1


def test_an_interval_that_ends_beyond_what_was_measured() -> None:
    found = worth(curve(RISING, noise=0.02), arm("arm", 0.73, noise=0.02), 2)
    assert found.more.relation == "="
    assert (found.low.relation, found.high) == ("=", Amount(6, ">"))
    # The interval contains the estimate.
    assert found.low.value < found.more.value < found.high.value


def test_with_one_patient_the_ends_are_all_that_was_measured() -> None:
    one = np.zeros(1, np.int64)
    found = worth(curve(RISING, folds=one), arm("arm", 0.65, folds=one), 2)
    assert (found.low, found.high) == (Amount(-1, "<"), Amount(6, ">"))


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_test_patient_per_fold_and_one_seed(seeds: int) -> None:
    folds = np.arange(5)
    base = curve(RISING, noise=0.01, seeds=seeds, folds=folds)
    found = worth(base, arm("arm", 0.65, noise=0.01, seeds=seeds, folds=folds), 2)
    assert found.low.value < found.more.value < found.high.value


def test_patients_without_a_score_are_left_out() -> None:
    base, found = curve(RISING), arm("arm", 0.65)
    base[1.0].values[0, 3] = np.nan
    assert worth(base, found, 2, draws=20).more.value == pytest.approx(2 * math.sqrt(2) - 2)


def test_the_same_seed_gives_the_same_interval() -> None:
    base, found = curve(RISING, noise=0.02), arm("arm", 0.66, noise=0.02)
    assert worth(base, found, 2, seed=1) == worth(base, found, 2, seed=1)
    assert worth(base, found, 2, seed=1) != worth(base, found, 2, seed=2)


@pytest.mark.parametrize(("labelled", "dice", "true"), [(2.0, 0.65, 2 * math.sqrt(2) - 2), (4.0, 0.69, -0.268)])
def test_the_interval_includes_the_true_worth(labelled: float, dice: float, true: float) -> None:
    """At least 95 % of 100 experiments, within what chance allows; benchmarks of more designs are in the log."""
    patients, inside = 20, 0
    where = np.sort(np.arange(patients) % 5)
    for number in range(100):
        rng = np.random.default_rng(number)

        def made(name: str, mean: float, rng: np.random.Generator = rng) -> ArmScores:
            common = rng.normal(0, 0.02, 5)[where] + rng.normal(0, 0.02, patients)
            runs = rng.normal(0, 0.01, (3, 5))[:, where] + rng.normal(0, 0.02, (3, patients))
            return ArmScores(name, mean + common + runs, where)

        found = worth({n: made(f"{n}", mean) for n, mean in RISING.items()}, made("arm", dice), labelled, draws=400)
        low = -math.inf if found.low.relation == "<" else found.low.value
        high = math.inf if found.high.relation == ">" else found.high.value
        inside += low <= true <= high
    assert inside >= 91


def test_where_the_curve_falls() -> None:
    assert falls({1.0: 0.5, 4.0: 0.6, 2.0: 0.7, 8.0: 0.6}) == [(2.0, 4.0)]
    assert falls(RISING) == []


@pytest.mark.parametrize(
    ("verdicts", "number"),
    [
        ({1: "improves", 2: "improves", 4: "not shown", 8: "not shown"}, 4),
        ({1: "improves", 2: "not shown", 4: "improves", 8: "hurts"}, 8),
        ({1: "not shown", 2: "not comparable"}, 1),
        ({1: "improves", 2: "improves"}, None),
        ({}, None),
    ],
)
def test_from_which_number_no_gain_is_shown(verdicts: Mapping[Number, Verdict], number: Number | None) -> None:
    assert no_gain_from(verdicts) == number


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ((Amount(1.4), Amount(0.3), Amount(3.1)), "worth 1.4 more labelled patients [0.3, 3.1]"),
        ((Amount(1.0), Amount(-0.26), Amount(6, ">")), "worth 1.0 more labelled patient [-0.3, more than 6]"),
        ((Amount(1.5, ">"), Amount(0.5), Amount(1.5, ">")),
         "worth more than the 1.5 more labelled patients that are available [0.5, more than 1.5]"),
        ((Amount(0, ">"), Amount(-0.8), Amount(0, ">")),
         "worth more than all labelled patients that are available [-0.8, more than 0]"),
        ((Amount(1, "<"), Amount(1, "<"), Amount(1, "<")), "worth less than 1 more labelled patient"),
        ((Amount(6, ">"), Amount(6, ">"), Amount(6, ">")),
         "worth more than the 6 more labelled patients that are available"),
        ((Amount(-1.3), Amount(-2, "<"), Amount(0.2)), "worth -1.3 labelled patients [less than -2, 0.2]"),
        ((Amount(0, "<"), Amount(0, "<"), Amount(0.2)), "worth no labelled patient [less than 0, 0.2]"),
        ((Amount(1, "<"), Amount(1, "<"), Amount(2)), "worth less than 1 more labelled patient [less than 1, 2.0]"),
    ],
)  # fmt: skip
def test_in_words(amounts: tuple[Amount, Amount, Amount], words: str) -> None:
    assert worth_in_words(Worth(*amounts, equal_to=Amount(2)), 1) == words
    assert worth_in_words(Worth(*amounts, equal_to=Amount(1)), 0) == words.replace(" more labelled", " labelled")
    assert amount_in_words(Amount(-0.01)) == "0.0"
