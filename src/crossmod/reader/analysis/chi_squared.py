"""Do two rows of counts come from one distribution? Table 3 of Crespi et al.: Pearson's test, or an exact one.

These tests take all answers as independent, as the paper does. They are not: see `permutation`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

Method = Literal["chi-squared", "exact", "none"]
# Cochran's rule (1954) as it is commonly used.
SMALLEST_EXPECTED = 5
# Tables as likely as the one seen, but for rounding, count as equally likely; the value is that of SciPy and of R.
TIE = 1 + 1e-7


@dataclass(frozen=True)
class TableTest:
    """A test of two rows of counts.

    Args:
        p: nan where there is nothing to test: an empty row, or all answers alike.
        method: which test.
        statistic: Pearson's, with Yates' correction (1934) for two columns; nan of an exact test.
        freedom: of the statistic; 0 of an exact test.
        expected: the smallest expected count.
    """

    p: float
    method: Method
    statistic: float
    freedom: int
    expected: float


def compare_rows(table: Int[np.ndarray, "2 answers"]) -> TableTest:
    """Pearson's chi-squared test, exact where a count under 5 is expected.

    Two columns get Yates' correction, as `scipy.stats.chi2_contingency` does unless told otherwise, and as the paper's
    p-values do: see `published.COUNTS`.

    Args:
        table: counts; columns without any answer are left out.
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

    The p is the probability, with all sums held, of the tables that are no more likely than the one seen.

    Args:
        table: of two or three columns.
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
    """Log probability of first rows, with all sums held: the multivariate hypergeometric distribution."""
    return _log_choose(columns, tables).sum(axis=1) - _log_choose(columns.sum(keepdims=True), np.array([row]))


def _log_choose(total: np.ndarray, picked: np.ndarray) -> np.ndarray:
    return special.gammaln(total + 1.0) - special.gammaln(picked + 1.0) - special.gammaln(total - picked + 1.0)
