"""Single numbers against hand calculation, SciPy and statsmodels."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as oracle_fleiss
from statsmodels.stats.proportion import proportion_confint, proportions_ztost

from crossmod.reader.analysis import summary as published
from crossmod.reader.analysis.accuracy import detection, mean_of_readers, pooled, share, tost_independent, wilson
from crossmod.reader.analysis.agreement import cohen_kappa, fleiss_kappa, kappa_interval, self_agreement, superiority
from crossmod.reader.analysis.answers import MISSING, readings, said, scores
from crossmod.reader.analysis.hypothesis_tests import compare_rows, exact, shuffled_key
from tests.support.made_up_answers import as_readings, drawn_choices, given


@pytest.mark.parametrize(("right", "answers"), [(0, 7), (7, 7), (1, 20), (54, 110), (33, 60)])
def test_wilson_is_that_of_statsmodels(right: int, answers: int) -> None:
    np.testing.assert_allclose(
        wilson(right, answers), proportion_confint(right, answers, method="wilson"), rtol=1e-9, atol=1e-12
    )


def test_wilson_of_no_answer_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_ways_to_count_cannot_tell() -> None:
    """Real, real, synthetic, synthetic; one reader: right, unsure, wrong, right; one: right, missing, unsure, right."""
    read = as_readings(np.array([[0, 2, 0, 1], [0, MISSING, 2, 1]]), [False, False, True, True])
    nan = math.nan
    np.testing.assert_array_equal(scores(read, "left_out"), [[1, nan, 0, 1], [1, nan, nan, 1]])
    np.testing.assert_array_equal(scores(read, "wrong"), [[1, 0, 0, 1], [1, nan, 0, 1]])
    np.testing.assert_array_equal(scores(read, "half"), [[1, 0.5, 0, 1], [1, nan, 0.5, 1]])
    np.testing.assert_array_equal(read.counts, [[2, 0, 1], [1, 2, 1]])
    np.testing.assert_array_equal(said(read, 0, among=(0, 1)), [[1, nan, 1, 0], [1, nan, nan, 0]])
    found = share(read, "left_out", "all", seed=0, draws=100)
    assert (found.right, found.answers, found.estimate) == (4, 5, pytest.approx(0.8))
    assert share(read, "wrong", "real", seed=0, draws=100).estimate == pytest.approx(2 / 3)
    # Mean of 2/2 and 2/3.
    assert share(read, "left_out", "balanced", seed=0, draws=100).estimate == pytest.approx(5 / 6)


def test_repeats_and_second_surveys_in_the_array() -> None:
    one = [
        given("one", "b", 1, "s1", "real", synthetic=False),
        given("one", "a", 1, "s1", "synthetic", synthetic=False, seconds=0),
        given("one", "a", 2, "s2", None, synthetic=True),
        given("one", "a", 3, "s3", "real", synthetic=False, repeats="s1"),
    ]
    two = [given("two", "a", 1, "t1", "cannot_tell", synthetic=True)]
    read = readings({"one": one, "two": two})
    assert read.readers == ("a", "b")
    assert read.scans == ("s1", "s2", "t1")
    np.testing.assert_array_equal(read.choices, [[1, MISSING, 2], [0, MISSING, MISSING]])
    np.testing.assert_array_equal(read.surveys, [0, 0, 1])
    assert np.isnan(read.seconds[0, 0])


def test_the_papers_p_values() -> None:
    """The counts that were worked back give Table 3's binomial column, but for the pair named in `published`."""
    counts = [np.array(one) for one in published.COUNTS]
    for table, (binomial, _) in zip(counts, published.WITHIN, strict=True):
        assert compare_rows(table).p == pytest.approx(binomial, abs=0.0006)
    assert compare_rows(sum(counts, np.zeros((2, 2), dtype=np.int64))).p == pytest.approx(0.045, abs=0.0006)
    for (first, second), (binomial, _) in published.PAIRS.items():
        found = compare_rows(np.stack([counts[first].sum(axis=0), counts[second].sum(axis=0)])).p
        assert found == pytest.approx(0.8335 if (first, second) == (1, 3) else binomial, abs=0.0006)
    for number, (table, printed) in enumerate(zip(counts, published.TABLE_2, strict=True)):
        shares = 100 * np.diag(table) / table.sum(axis=1)
        assert shares[0] == pytest.approx(printed[1], abs=0.06)
        assert shares[1] == pytest.approx(52.6 if number == 0 else printed[2], abs=0.06)


def test_tables_against_scipy() -> None:
    table = np.array([[20, 15, 8], [11, 22, 9]])
    oracle: Any = stats.chi2_contingency(table)
    found = compare_rows(table)
    assert (found.method, found.freedom) == ("chi-squared", 2)
    assert found.p == pytest.approx(oracle.pvalue)
    assert found.statistic == pytest.approx(oracle.statistic)
    for two in ([[3, 9], [8, 2]], [[1, 0], [0, 1]], [[10, 12], [9, 13]], [[0, 7], [5, 1]]):
        fisher: Any = stats.fisher_exact(two)
        assert exact(np.array(two)) == pytest.approx(fisher.pvalue)
    assert compare_rows(np.array([[3, 9], [8, 1]])).method == "exact"


def test_exact_of_three_answers_by_hand() -> None:
    """All ways to give the first row its answers, one by one."""
    table = np.array([[3, 0, 1], [1, 4, 2]])
    answers = np.repeat([0, 1, 2], table.sum(axis=0))
    chances: dict[tuple[int, ...], int] = {}
    for picked in itertools.combinations(range(len(answers)), int(table[0].sum())):
        row = tuple(np.bincount(answers[list(picked)], minlength=3).tolist())
        chances[row] = chances.get(row, 0) + 1
    seen = chances[(3, 0, 1)]
    wanted = sum(ways for ways in chances.values() if ways <= seen) / sum(chances.values())
    assert exact(table) == pytest.approx(wanted)


def test_nothing_to_test() -> None:
    for table in ([[5, 0, 0], [7, 0, 0]], [[0, 0, 0], [3, 4, 1]], [[0, 0], [0, 0]]):
        assert math.isnan(compare_rows(np.array(table)).p)
    # A column of nobody's answers changes nothing.
    assert compare_rows(np.array([[9, 9, 0], [5, 12, 0]])) == compare_rows(np.array([[9, 9], [5, 12]]))


def test_shuffled_key_counts_all_arrangements() -> None:
    """Two and two scans, told by all three readers: 2 of 6 arrangements are as extreme."""
    counts, synthetic = np.array([[3, 0], [3, 0], [0, 3], [0, 3]]), np.array([False, False, True, True])
    found = shuffled_key([(counts, synthetic)], seed=0, draws=100)
    assert (found.p, found.exact, found.arrangements) == (pytest.approx(2 / 6), True, 6)
    drawn = shuffled_key([(counts, synthetic)], seed=0, draws=5)
    assert not drawn.exact
    two = shuffled_key([(counts, synthetic)] * 2, seed=0, draws=20_000)
    # The same twice: of 36 arrangements those are as extreme in which both surveys say the same.
    assert two.p == pytest.approx(2 / 36, abs=0.006)
    assert math.isnan(shuffled_key([(counts * [1, 0], synthetic)], seed=0, draws=100).p)


def test_kappas_against_statsmodels(rng: np.random.Generator) -> None:
    for _ in range(5):
        counts = rng.multinomial(7, [0.5, 0.3, 0.2], size=12)
        assert fleiss_kappa(counts) == pytest.approx(oracle_fleiss(counts))
        table = rng.integers(0, 9, (3, 3))
        oracle: Any = cohens_kappa(table)
        assert cohen_kappa(table) == pytest.approx(oracle.kappa)
    # Fleiss 1971: alike always; and one who stands alone is no pair.
    assert fleiss_kappa(np.array([[4, 0, 0], [0, 4, 0], [0, 1, 0]])) == 1
    assert math.isnan(fleiss_kappa(np.array([[4, 0, 0], [4, 0, 0]])))
    assert math.isnan(fleiss_kappa(np.array([[1, 0, 0]])))
    assert math.isnan(cohen_kappa(np.zeros((3, 3), dtype=np.int64)))


def test_kappa_interval_holds_kappa() -> None:
    choices, synthetic = drawn_choices(np.random.default_rng(3), 8, 10, 1.5)
    kappa = fleiss_kappa(as_readings(choices, synthetic).by_scan)
    low, high = kappa_interval(choices, synthetic, seed=0, draws=500)
    assert low < kappa < high
    assert high - low < 0.7
    assert kappa_interval(choices[:2], synthetic, seed=0, draws=50) == (-math.inf, math.inf)


def test_self_agreement() -> None:
    answers = [
        given("one", "a", 1, "s1", "real", synthetic=False),
        given("one", "a", 2, "s2", "real", synthetic=True),
        given("one", "a", 3, "r1", "real", synthetic=False, repeats="s1"),
        given("one", "a", 4, "r2", "cannot_tell", synthetic=True, repeats="s2"),
        # Whose first answer is missing.
        given("one", "b", 1, "r1", "real", synthetic=False, repeats="s1"),
    ]
    found = self_agreement(answers)
    assert found is not None
    assert (found.alike, found.pairs, found.by_reader) == (1, 2, {"a": (1, 2)})
    np.testing.assert_array_equal(found.table, [[1, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert self_agreement(answers[:2]) is None


def test_d_prime_by_hand() -> None:
    """20 of 25 hits and 10 of 25 false alarms, each with half an answer more."""
    found = detection(np.array([[15, 10, 3], [5, 20, 1]]))
    hit, alarm = stats.norm.ppf(20.5 / 26), stats.norm.ppf(10.5 / 26)
    assert found.d_prime == pytest.approx(hit - alarm)
    assert found.criterion == pytest.approx(-(hit + alarm) / 2)
    variance = sum(p * (1 - p) / 25 / stats.norm.pdf(stats.norm.ppf(p)) ** 2 for p in (20.5 / 26, 10.5 / 26))
    assert found.interval[1] - found.d_prime == pytest.approx(stats.norm.ppf(0.975) * variance**0.5)
    # All right, all wrong: finite, and mirrored.
    best, worst = detection(np.array([[9, 0, 0], [0, 9, 0]])), detection(np.array([[0, 9, 0], [9, 0, 0]]))
    assert best.d_prime == pytest.approx(-worst.d_prime) == pytest.approx(2 * stats.norm.ppf(0.95))
    assert math.isnan(detection(np.array([[0, 0, 5], [3, 4, 0]])).d_prime)


def test_pooled_d_prime_and_mean_of_readers() -> None:
    choices, synthetic = drawn_choices(np.random.default_rng(5), 9, 20, 1.0)
    read = as_readings(choices, synthetic)
    found = pooled(read, seed=0, draws=1000)
    assert found.d_prime == detection(read.counts).d_prime
    # Dependent answers: wider than if all were independent.
    alone = detection(read.counts).interval
    assert found.interval[0] < alone[0] < alone[1] < found.interval[1]
    mean, low, high = mean_of_readers(read)
    assert low < mean < high
    assert mean_of_readers(as_readings(choices[:1], synthetic))[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize(("right", "answers"), [(50, 100), (58, 110), (130, 200), (200, 420)])
def test_tost_is_that_of_statsmodels(right: int, answers: int) -> None:
    oracle: Any = proportions_ztost(right, answers, 0.4, 0.6, prop_var="sample")
    assert tost_independent(right, answers, 0.1) == pytest.approx(oracle[0])


def test_tost_of_all_right() -> None:
    assert math.isnan(tost_independent(20, 20, 0.1))


def test_superiority_is_mann_whitneys() -> None:
    values, synthetic = np.array([5, 4, 3, math.nan, 3, 2, 1]), np.array([False] * 4 + [True] * 3)
    real, other = values[:3], values[4:]
    share, p = superiority(values, synthetic)
    assert share == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a in real for b in other]))
    assert p == pytest.approx(stats.mannwhitneyu(real, other).pvalue)
    assert superiority(np.full(4, 3.0), np.array([False, False, True, True])) == (0.5, 1.0)
    assert math.isnan(superiority(np.array([3.0, 3.0]), np.array([True, True]))[0])
