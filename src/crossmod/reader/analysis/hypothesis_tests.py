"""Hypothesis tests on answers: chi-squared, permutation, and Table 3 of Crespi et al.

The chi-squared and exact tests take all answers as independent, as the paper does, which they are not. The permutation
test (Fisher 1935) shuffles the classes of the scans, for all readers together: effects of scans and of readers stay.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats

from crossmod.reader.analysis.answers import CANNOT_TELL, REAL, SYNTHETIC, Readings, said, scores
from crossmod.reader.analysis.bootstrap import deviations, ends, p_beyond
from crossmod.seeds import rng
from crossmod.statistics.verdicts import holm

Method = Literal["chi-squared", "exact", "none"]
# Cochran's rule (1954) as it is commonly used.
SMALLEST_EXPECTED = 5
# Rounding: tables this much more likely than the observed one count as equally likely, as in SciPy and R.
TIE = 1 + 1e-7


@dataclass(frozen=True)
class TableTest:
    """A test of two rows of counts."""

    p: float  # NaN if there is nothing to test: an empty row, or equal answers only
    method: Method  # which test
    statistic: float  # Pearson's, with Yates' correction (1934) for two columns; NaN of an exact test
    freedom: int  # of the statistic; 0 of an exact test
    expected: float  # the smallest expected count


def compare_rows(table: Int[np.ndarray, "2 answers"]) -> TableTest:
    """Pearson's chi-squared test, or the exact test if a count under 5 is expected; empty columns are left out.

    Two columns get Yates' correction, which is the default of `scipy.stats.chi2_contingency`, and is in the paper's
    p-values: see `summary.COUNTS`.
    """
    used = table[:, table.sum(axis=0) > 0]
    if used.shape[1] < 2 or (used.sum(axis=1) == 0).any():
        return TableTest(float("nan"), "none", float("nan"), 0, float("nan"))
    found: Any = stats.chi2_contingency(used)
    smallest = float(found.expected_freq.min())
    if smallest < SMALLEST_EXPECTED:
        return TableTest(exact(used), "exact", float("nan"), 0, smallest)
    return TableTest(float(found.pvalue), "chi-squared", float(found.statistic), int(found.dof), smallest)


def exact(table: Int[np.ndarray, "2 answers"]) -> float:
    """Fisher's test (1922), for three columns that of Freeman and Halton (1951): all tables are counted.

    The p is the probability, given all sums, of the tables that are no more likely than the observed one.
    """
    row, columns = int(table[0].sum()), table.sum(axis=0)
    first = np.arange(columns[0] + 1)
    if len(columns) == 2:
        tables = np.stack([first, row - first], axis=1)
    else:
        second = np.arange(columns[1] + 1)
        grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
        tables = np.column_stack([grid, row - grid.sum(axis=1)])
    tables = tables[((tables >= 0) & (tables <= columns)).all(axis=1)]
    chance = np.exp(_log_chance(tables, columns, row))
    seen = float(np.exp(_log_chance(table[:1], columns, row))[0])
    return min(float(chance[chance <= seen * TIE].sum()), 1.0)


def _log_chance(
    tables: Int[np.ndarray, "tables answers"], columns: Int[np.ndarray, " answers"], row: int
) -> Float[np.ndarray, " tables"]:
    """Log probability of first rows given all sums: the multivariate hypergeometric distribution."""
    return _log_choose(columns, tables).sum(axis=1) - _log_choose(columns.sum(keepdims=True), np.array([row]))


def _log_choose(total: np.ndarray, picked: np.ndarray) -> np.ndarray:
    return special.gammaln(total + 1.0) - special.gammaln(picked + 1.0) - special.gammaln(total - picked + 1.0)


ROUNDING = 1e-9


@dataclass(frozen=True)
class Permuted:
    """A permutation test."""

    p: float  # NaN if all answers are equal
    exact: bool  # whether all arrangements were counted, not a sample
    arrangements: int  # how many were counted


def shuffled_key(
    blocks: Sequence[tuple[Int[np.ndarray, "_ answers"], Bool[np.ndarray, " _"]]], *, seed: int, draws: int
) -> Permuted:
    """Pearson's statistic of class by answer, compared with that of keys shuffled inside each survey.

    A single survey with at most `draws` arrangements is counted completely; else p is (b + 1) / (draws + 1) (Phipson
    and Smyth 2010, eq. 2). Each block is a survey: answers by scan, and which scans are synthetic.
    """
    answered = [(counts[counts.sum(axis=1) > 0], synthetic[counts.sum(axis=1) > 0]) for counts, synthetic in blocks]
    total = sum((counts.sum(axis=0) for counts, _ in answered), np.zeros(blocks[0][0].shape[1]))
    seen = _pearson(sum(((~s[None]).astype(np.float64) @ c for c, s in answered), np.zeros((1, len(total)))), total)[0]
    if (total > 0).sum() < 2 or np.isnan(seen):
        return Permuted(float("nan"), False, 0)
    ways = math.prod(math.comb(len(s), int(s.sum())) for _, s in answered)
    counted = len(answered) == 1 and ways <= draws
    keys = [_arrangements(s) if counted else _shuffles(s, draws, seed, n) for n, (_, s) in enumerate(answered)]
    real = sum(
        (k.astype(np.float64) @ c for (c, _), k in zip(answered, keys, strict=True)),
        np.zeros((len(keys[0]), len(total))),
    )
    with np.errstate(invalid="ignore"):
        extreme = int(np.count_nonzero(_pearson(real, total) >= seen - ROUNDING))
    return Permuted(extreme / ways if counted else (extreme + 1) / (draws + 1), counted, len(real))


def _arrangements(synthetic: Bool[np.ndarray, " scans"]) -> Bool[np.ndarray, "keys scans"]:
    """Every key with as many real scans."""
    picked = list(itertools.combinations(range(len(synthetic)), int((~synthetic).sum())))
    keys = np.zeros((len(picked), len(synthetic)), dtype=bool)
    np.put_along_axis(keys, np.array(picked, dtype=np.int64).reshape(len(picked), -1), True, axis=1)
    return keys


def _shuffles(
    synthetic: Bool[np.ndarray, " scans"], draws: int, seed: int, number: int
) -> Bool[np.ndarray, "keys scans"]:
    return rng(seed, "key", number).permuted(np.tile(~synthetic, (draws, 1)), axis=1)


def _pearson(
    real: Float[np.ndarray, "keys answers"], total: Float[np.ndarray, " answers"]
) -> Float[np.ndarray, " keys"]:
    """Pearson's statistic of two rows that add up to `total`; NaN if a row is empty."""
    used = total > 0
    rows = np.stack([real, total - real], axis=1)[:, :, used]
    sums = rows.sum(axis=2, keepdims=True)
    expected = sums * total[used] / total.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((rows - expected) ** 2 / expected).sum(axis=(1, 2))


BOTH, THREE = (REAL, SYNTHETIC), (REAL, SYNTHETIC, CANNOT_TELL)


@dataclass(frozen=True)
class Comparison:
    """One row: tests of the answers real and synthetic, with "cannot tell", and p of both by clusters."""

    name: str
    kind: str
    binomial: TableTest
    multinomial: TableTest
    clustered: tuple[float, float]

    @property
    def p_values(self) -> tuple[float, float, float, float]:
        """Binomial, multinomial, and both again by clusters."""
        return self.binomial.p, self.multinomial.p, *self.clustered


def of_classes(read: Readings, name: str, *, seed: int, draws: int) -> Comparison:
    """Real against synthetic scans, of one survey or of several."""
    by_scan, counts = read.by_scan, read.counts
    inside = [read.surveys == number for number in np.unique(read.surveys)]
    two, three = (
        shuffled_key([(by_scan[one][:, list(among)], read.synthetic[one]) for one in inside], seed=seed, draws=draws).p
        for among in (BOTH, THREE)
    )
    return Comparison(name, "classes", compare_rows(counts[:, :2]), compare_rows(counts), (two, three))


def of_surveys(both: Readings, name: str, *, seed: int, draws: int) -> Comparison:
    """One survey against another: are the shares of the answers equal, whatever the classes of the scans?

    Clustered: the difference of the share of "real", over draws of readers and scans; with "cannot tell" the smallest p
    of the three shares, times three (Bonferroni).
    """
    counts = np.stack([both.by_scan[both.surveys == number].sum(axis=0) for number in (0, 1)])
    alone = _difference(said(both, REAL, among=BOTH), both, seed, draws)[1]
    each = [_difference(said(both, choice, among=THREE), both, seed, draws)[1] for choice in THREE]
    least = min((p for p in each if not np.isnan(p)), default=float("nan"))
    clustered = (alone, min(3 * least, 1.0) if not np.isnan(least) else least)
    return Comparison(name, "surveys", compare_rows(counts[:, :2]), compare_rows(counts), clustered)


def _difference(
    values: Float[np.ndarray, "readers scans"], both: Readings, seed: int, draws: int
) -> tuple[Float[np.ndarray, " draws"], float]:
    """Mean of the first survey less that of the second, redrawn; and the p of no difference."""
    # Scans of a class are a sample of their own in each survey.
    strata = both.surveys * 2 + both.synthetic
    known = (~np.isnan(values)).sum(axis=0).astype(np.float64)
    answers = np.array([known[strata == stratum].sum() for stratum in range(4)])
    totals = np.repeat([answers[:2].sum(), answers[2:].sum()], 2)
    if not totals.all():
        return np.full(draws, np.nan), float("nan")
    weights = answers / totals * np.array([1.0, 1.0, -1.0, -1.0])
    found, moved = deviations(values, strata, weights, seed, draws)
    drawn = found.estimate + moved @ weights
    # All draws are equal if all answers are.
    return drawn, p_beyond(drawn, 0.0) if (moved != 0).any() else float("nan")


@dataclass(frozen=True)
class Correctness:
    """The difference of two surveys in balanced shares of right answers, first less second, with its 95 % interval."""

    name: str
    difference: float
    interval: tuple[float, float]
    p: float


def correctness(both: Readings, name: str, *, seed: int, draws: int) -> Correctness:
    """In which of two surveys readers are right more often; "cannot tell" is left out, both classes weigh a half."""
    strata = both.surveys * 2 + both.synthetic
    weights = np.array([0.5, 0.5, -0.5, -0.5])
    found, moved = deviations(scores(both, "left_out"), strata, weights, seed, draws)
    drawn = found.estimate + moved @ weights
    return Correctness(name, found.estimate, ends(drawn), p_beyond(drawn, 0.0))


def adjusted(rows: list[Comparison]) -> Float[np.ndarray, "rows tests"]:
    """P-values after Holm; each of the four columns of tests is one family."""
    values = np.array([row.p_values for row in rows], dtype=np.float64).reshape(len(rows), 4)
    return np.stack([holm(values[:, column]) for column in range(4)], axis=1)
