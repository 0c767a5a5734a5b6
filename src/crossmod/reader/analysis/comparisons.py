"""Table 3 of Crespi et al., with a test beside each that does not take answers as independent."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.reader.analysis.bootstrap import deviations, ends, p_beyond
from crossmod.reader.analysis.chi_squared import TableTest, compare_rows
from crossmod.reader.analysis.choices import CANNOT_TELL, REAL, SYNTHETIC, Readings, said, scores
from crossmod.reader.analysis.permutation import shuffled_key
from crossmod.statistics.verdicts import holm

BOTH, THREE = (REAL, SYNTHETIC), (REAL, SYNTHETIC, CANNOT_TELL)


@dataclass(frozen=True)
class Comparison:
    """One row: p-values of each test.

    Args:
        name: what is compared.
        surveys: numbers of the surveys in it.
        kind: `classes`: real against synthetic scans; `surveys`: one survey against another.
        binomial: of the answers real and synthetic.
        multinomial: with "cannot tell".
        clustered: the same two questions, answers not taken as independent.
    """

    name: str
    surveys: tuple[int, ...]
    kind: str
    binomial: TableTest
    multinomial: TableTest
    clustered: tuple[float, float]

    @property
    def p_values(self) -> tuple[float, float, float, float]:
        """Binomial, multinomial, and both again by clusters."""
        return self.binomial.p, self.multinomial.p, *self.clustered


def of_classes(read: Readings, name: str, surveys: tuple[int, ...], *, seed: int, draws: int) -> Comparison:
    """Real against synthetic scans, of one survey or of several."""
    by_scan = read.by_scan
    inside = [read.surveys == number for number in np.unique(read.surveys)]
    clustered = [
        shuffled_key([(by_scan[one][:, list(among)], read.synthetic[one]) for one in inside], seed=seed, draws=draws).p
        for among in (BOTH, THREE)
    ]
    counts = read.counts
    return Comparison(
        name, surveys, "classes", compare_rows(counts[:, :2]), compare_rows(counts), (clustered[0], clustered[1])
    )


def of_surveys(both: Readings, name: str, surveys: tuple[int, int], *, seed: int, draws: int) -> Comparison:
    """One survey against another: are the answers spread alike, whatever the scans are?

    By clusters: the difference of the share of "real", over draws of readers and scans; with "cannot tell" the smallest
    p of the three shares, times three (Bonferroni).
    """
    counts = np.stack([both.by_scan[both.surveys == number].sum(axis=0) for number in (0, 1)])
    alone = _difference(said(both, REAL, among=BOTH), both, seed, draws)[1]
    each = [_difference(said(both, choice, among=THREE), both, seed, draws)[1] for choice in THREE]
    least = min((p for p in each if not np.isnan(p)), default=float("nan"))
    clustered = (alone, min(3 * least, 1.0) if not np.isnan(least) else least)
    return Comparison(name, surveys, "surveys", compare_rows(counts[:, :2]), compare_rows(counts), clustered)


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
    # Nothing moves where all answers are alike.
    return drawn, p_beyond(drawn, 0.0) if (moved != 0).any() else float("nan")


@dataclass(frozen=True)
class Correctness:
    """By how much more one survey's scans are told than another's.

    Args:
        name: of the pair.
        difference: of the balanced shares of right answers, first less second.
        interval: 95 %.
        p: two-sided.
    """

    name: str
    difference: float
    interval: tuple[float, float]
    p: float


def correctness(both: Readings, name: str, *, seed: int, draws: int) -> Correctness:
    """Which of two surveys readers tell better; "cannot tell" is left out, both classes weigh a half."""
    strata = both.surveys * 2 + both.synthetic
    weights = np.array([0.5, 0.5, -0.5, -0.5])
    found, moved = deviations(scores(both, "left_out"), strata, weights, seed, draws)
    drawn = found.estimate + moved @ weights
    return Correctness(name, found.estimate, ends(drawn), p_beyond(drawn, 0.0))


def pairs(number: int) -> list[tuple[int, int]]:
    """Every two surveys."""
    return list(itertools.combinations(range(number), 2))


def adjusted(rows: list[Comparison]) -> Float[np.ndarray, "rows tests"]:
    """P-values after Holm, each of the four columns of tests a family of its own."""
    values = np.array([row.p_values for row in rows], dtype=np.float64).reshape(len(rows), 4)
    return np.stack([holm(values[:, column]) for column in range(4)], axis=1)
