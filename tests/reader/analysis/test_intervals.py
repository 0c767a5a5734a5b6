"""Intervals and verdicts over many made-up surveys, whose truth is known."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import integrate, stats

from crossmod.reader.analysis.accuracy import AgainstChance, against_chance, in_words, share, wilson
from crossmod.reader.analysis.answers import MISSING, scores
from crossmod.reader.analysis.bootstrap import crossed, deviations, ends, p_beyond
from crossmod.reader.analysis.hypothesis_tests import of_classes
from tests.support.made_up_answers import as_readings, drawn_choices

HALVES = np.array([0.5, 0.5])


def true_share(d_prime: float) -> float:
    """Of right answers, in the model of `drawn_choices`: what is seen has a normal distribution, as a whole."""
    sd = (1 + 0.5**2 + 0.4**2 + (0.15**2 if d_prime else 0)) ** 0.5
    return float(stats.norm.cdf(d_prime / 2 / sd))


def d_prime_of(wanted: float) -> float:
    """The d' that gives such a share."""
    sd = (1 + 0.5**2 + 0.4**2 + 0.15**2) ** 0.5
    return 2 * sd * float(stats.norm.ppf(wanted))


def test_true_share_by_integration() -> None:
    """Over the strength of what a reader sees, which varies with sd 0.3."""
    rest = (1 + 0.5**2 + 0.4**2) ** 0.5
    found, _ = integrate.quad(lambda d: stats.norm.pdf(d, 1.0, 0.3) * stats.norm.cdf(d / 2 / rest), -2, 4)
    assert found == pytest.approx(true_share(1.0), abs=1e-6)
    assert true_share(d_prime_of(0.65)) == pytest.approx(0.65)


@pytest.mark.parametrize(("readers", "d_prime"), [(6, 0.0), (6, 1.0), (11, 1.0)])
def test_the_interval_holds_the_truth(readers: int, d_prime: float) -> None:
    """400 surveys of 20 scans; Wilson's interval, which takes answers as independent, holds it too rarely."""
    random = np.random.default_rng(readers)
    inside = alone = 0
    truth = true_share(d_prime)
    for number in range(400):
        read = as_readings(*drawn_choices(random, readers, 10, d_prime))
        found = against_chance(read, "left_out", margin=0.1, seed=number, draws=300)
        inside += found.interval[0] <= truth <= found.interval[1]
        values = scores(read, "left_out")
        low, high = wilson(float(np.nansum(values)), int((~np.isnan(values)).sum()))
        alone += low <= truth <= high
    assert 0.925 <= inside / 400 <= 0.985
    assert alone < inside


def verdicts(wanted: float, readers: int, per_class: int, surveys: int = 200) -> Counter[str]:
    """How often each verdict comes."""
    random = np.random.default_rng(11)
    d_prime = d_prime_of(wanted)
    found: Counter[str] = Counter()
    for number in range(surveys):
        read = as_readings(*drawn_choices(random, readers, per_class, d_prime, scan_sd=0.5))
        found[against_chance(read, "left_out", margin=0.1, seed=number, draws=300).verdict] += 1
    return found


def test_verdict_of_readers_who_guess() -> None:
    """Rarely "tell"; 11 readers and 20 scans seldom suffice for "equivalent", 20 readers and 60 scans nearly always."""
    few, many = verdicts(0.5, 11, 10), verdicts(0.5, 20, 30)
    for found in (few, many):
        assert found["tell"] + found["tell, within the margin"] + found["wrong way round"] <= 0.09 * 200
    assert many["equivalent"] >= 0.85 * 200
    assert few["not shown"] >= 0.5 * 200


def test_verdict_of_readers_who_tell() -> None:
    """65 %: 11 readers and 20 scans see it most of the time; nobody calls it guessing."""
    few, many = verdicts(0.65, 11, 10), verdicts(0.65, 20, 30)
    assert few["tell"] >= 0.7 * 200
    assert many["tell"] >= 0.98 * 200
    assert few["equivalent"] + many["equivalent"] <= 4
    assert few["wrong way round"] + many["wrong way round"] == 0


def test_a_share_at_the_margin_is_called_equivalent_in_one_of_twenty() -> None:
    """The error that TOST is to hold: 60 % where the margin is 10 points."""
    assert verdicts(0.6, 11, 10)["equivalent"] <= 0.08 * 200


def test_shuffled_key_keeps_its_promise_where_pearson_does_not() -> None:
    """Readers who guess, but see something in each scan: false alarms of both tests over 200 surveys."""
    random = np.random.default_rng(2)
    found = np.array(
        [
            of_classes(as_readings(*drawn_choices(random, 11, 10, 0.0)), "one", seed=i, draws=300).p_values
            for i in range(200)
        ]
    )
    pearson, _, shuffled, three = (found < 0.05).mean(axis=0)
    assert pearson > 0.1
    assert shuffled <= 0.085
    assert three <= 0.085


def test_variance_by_hand_without_gaps() -> None:
    """One stratum: between readers, between scans, less the rest, each by its textbook formula."""
    values = np.random.default_rng(0).normal(0, 1, (5, 8)) + np.arange(5)[:, None] + np.arange(8)
    found = crossed(values, np.zeros(8, dtype=np.int64), np.array([1.0]))
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    rest = (left**2).sum() / (4 * 7) / 40
    assert found.estimate == pytest.approx(values.mean())
    assert found.readers == pytest.approx(values.mean(axis=1).var(ddof=1) / 5 - rest)
    assert found.scans == pytest.approx(values.mean(axis=0).var(ddof=1) / 8)
    squares = found.readers**2 / 4 + found.scans**2 / 7
    assert found.freedom == pytest.approx((found.readers + found.scans) ** 2 / squares)
    crossed_, moved = deviations(values, np.zeros(8, dtype=np.int64), np.array([1.0]), 0, 40_000)
    wanted = stats.t.ppf(0.975, crossed_.freedom) * crossed_.error
    assert ends(moved[:, 0])[1] == pytest.approx(wanted, rel=0.05)


def test_variance_is_unbiased() -> None:
    """Its mean over many surveys is the variance of the share, with gaps too."""
    random = np.random.default_rng(4)
    shares, variances = [], []
    for _ in range(1500):
        choices, synthetic = drawn_choices(random, 7, 8, 1.0)
        choices[random.random(choices.shape) < 0.1] = MISSING
        found = crossed(scores(as_readings(choices, synthetic), "left_out"), synthetic.astype(np.int64), HALVES)
        shares.append(found.estimate)
        variances.append(found.error**2)
    # A little above: the parts cannot be negative.
    assert 0.95 < np.mean(variances) / np.var(shares) < 1.25


def test_a_leaning_to_one_answer_is_no_uncertainty_of_the_mean() -> None:
    """Readers who always say the same: each class varies wildly, their mean is 50 %."""
    choices = np.repeat([[0], [1], [0], [1]], 10, axis=1)
    read = as_readings(choices, np.repeat([False, True], 5))
    assert share(read, "left_out", "balanced", seed=0, draws=200).estimate == 0.5
    real = share(read, "left_out", "real", seed=0, draws=200).clustered
    assert real == (0.0, 1.0)


def test_all_right_is_cautious() -> None:
    """No draw moves: Wilson's interval of four readers, not of 40 answers."""
    synthetic = np.repeat([False, True], 5)
    read = as_readings(np.repeat(synthetic[None].astype(np.int64), 4, axis=0), synthetic)
    assert share(read, "left_out", "all", seed=0, draws=200).clustered == wilson(4, 4)
    found = against_chance(read, "left_out", margin=0.1, seed=0, draws=200)
    assert found.interval == wilson(4, 4)
    assert found.verdict == "tell"


def test_too_few_have_no_interval() -> None:
    choices, synthetic = drawn_choices(np.random.default_rng(0), 3, 5, 1.0, unsure=0.0)
    for rows, columns in ((slice(0, 1), slice(None)), (slice(None), slice(4, 10))):
        read = as_readings(choices[rows, columns], synthetic[columns])
        found = against_chance(read, "left_out", margin=0.1, seed=0, draws=100)
        assert found.interval == (0.0, 1.0)
        assert found.verdict == "not shown"
        assert math.isnan(found.p_differs)
    assert math.isnan(p_beyond(np.array([math.nan]), 0.5))


@pytest.mark.parametrize(
    ("interval", "inner", "verdict", "words"),
    [
        ((0.58, 0.68), (0.59, 0.67), "tell", "one: readers tell real from synthetic (63.0 % [58.0, 68.0])."),
        ((0.51, 0.58), (0.52, 0.57), "tell, within the margin", "by less than 10 points"),
        ((0.44, 0.57), (0.45, 0.56), "equivalent", "equivalent to guessing within 10 points"),
        ((0.39, 0.61), (0.41, 0.59), "equivalent", "90 % interval 41.0 to 59.0 %"),
        ((0.38, 0.64), (0.4, 0.62), "not shown", "inconclusive"),
        ((0.4, 0.49), (0.41, 0.48), "wrong way round", "below guessing"),
    ],
)
def test_words_follow_the_numbers(
    interval: tuple[float, float], inner: tuple[float, float], verdict: str, words: str
) -> None:
    found = AgainstChance(0.63, interval, inner, 0.5, 0.5, 0.1)
    assert found.verdict == verdict
    assert words in in_words(found, "one")
