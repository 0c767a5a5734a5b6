"""Agreement of readers with one another and with themselves, and their ratings of realism and regions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from crossmod.reader.analysis.accuracy import Ends
from crossmod.reader.analysis.answers import MISSING, REALISM, REGIONS, Readings, choice_of, first_showings
from crossmod.reader.analysis.bootstrap import deviations, ends
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer
from crossmod.seeds import rng
from crossmod.statistics.intervals import interval

# Numbers held at once while redrawing: 80 MB.
AT_ONCE = 10_000_000


def fleiss_kappa(counts: Int[np.ndarray, "scans answers"]) -> float:
    """Fleiss' kappa (1971) with any number of answers per scan; NaN if all answers are equal, or no scan has two.

    With equally many answers per scan it is `statsmodels.stats.inter_rater.fleiss_kappa`. Otherwise a scan has the
    weight of its pairs of answers.

    Args:
        counts: how many readers gave each answer.
    """
    answers = counts.sum(axis=1)
    used = counts[answers >= 2].astype(np.float64)
    pairs = (used.sum(axis=1) * (used.sum(axis=1) - 1)).sum()
    if not pairs:
        return float("nan")
    observed = (used * (used - 1)).sum() / pairs
    expected = float(((used.sum(axis=0) / used.sum()) ** 2).sum())
    return float((observed - expected) / (1 - expected)) if expected < 1 else float("nan")


def kappa_interval(
    choices: Int[np.ndarray, "readers scans"], synthetic: Bool[np.ndarray, " scans"], *, seed: int, draws: int
) -> Ends:
    """95 % interval of Fleiss' kappa over draws of readers and, inside each class, of scans.

    A reader who is drawn twice is not a pair, since two copies always agree. Redrawing both at once overestimates the
    residual variance, so that the interval is conservative (Owen 2007). Draws of a single answer are left out.
    Two readers have no interval: a draw has both or no pair.
    """
    readers, scans = choices.shape
    if readers < 3:
        return float("-inf"), float("inf")
    one_hot = np.stack([choices == choice for choice in range(len(CHOICES))]).astype(np.float64)
    picked_readers = rng(seed, "kappa readers").multinomial(readers, np.full(readers, 1 / readers), size=draws)
    picked_scans = np.zeros((draws, scans), dtype=np.int64)
    for value in (False, True):
        inside = np.flatnonzero(synthetic == value)
        if inside.size:
            random = rng(seed, "kappa scans", int(value))
            picked_scans[:, inside] = random.multinomial(inside.size, np.full(inside.size, 1 / inside.size), size=draws)
    step = max(AT_ONCE // (scans * len(CHOICES)), 1)
    values = np.concatenate(
        [
            _redrawn_kappa(one_hot, picked_readers[start : start + step], picked_scans[start : start + step])
            for start in range(0, draws, step)
        ]
    )
    values = values[~np.isnan(values)]
    return ends(values) if values.size else (float("-inf"), float("inf"))


def _redrawn_kappa(
    one_hot: Float[np.ndarray, "answers readers scans"],
    readers: Int[np.ndarray, "draws readers"],
    scans: Int[np.ndarray, "draws scans"],
) -> Float[np.ndarray, " draws"]:
    """Kappa of each draw; copies of one reader are no pairs, and are subtracted."""
    counts = np.einsum("dr,krs->kds", readers.astype(np.float64), one_hot, optimize=True)
    copies = np.einsum("dr,krs->kds", readers.astype(np.float64) ** 2, one_hot, optimize=True)
    agreeing = ((counts**2 - copies) * scans).sum(axis=(0, 2))
    pairs = ((counts.sum(axis=0) ** 2 - copies.sum(axis=0)) * scans).sum(axis=1)
    shares = (counts * scans).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = ((shares / shares.sum(axis=0)) ** 2).sum(axis=0)
        return (agreeing / pairs - expected) / np.where(expected < 1, 1 - expected, np.nan)


def cohen_kappa(table: Int[np.ndarray, "answers answers"]) -> float:
    """Cohen's kappa (1960) of two ratings; NaN if they would always agree by chance.

    Agrees with `statsmodels.stats.inter_rater.cohens_kappa`.
    """
    total = table.sum()
    if not total:
        return float("nan")
    expected = float(table.sum(axis=1) @ table.sum(axis=0)) / float(total) ** 2
    return float((np.trace(table) / total - expected) / (1 - expected)) if expected < 1 else float("nan")


@dataclass(frozen=True, eq=False)
class SelfAgreement:
    """Two answers to the same scan: first by second answer; equal and all pairs of each reader."""

    table: Int[np.ndarray, "answers answers"]
    by_reader: dict[str, tuple[int, int]]

    @property
    def alike(self) -> int:
        """Pairs of the same answer."""
        return int(np.trace(self.table))

    @property
    def pairs(self) -> int:
        """Scans answered twice, over readers."""
        return int(self.table.sum())


def self_agreement(answers: Sequence[RecordedAnswer]) -> SelfAgreement | None:
    """Both answers to repeated scans; None without any."""
    first = {(answer.reader, answer.scan): choice_of(answer.values) for answer in first_showings(answers)}
    table, by_reader = np.zeros((len(CHOICES), len(CHOICES)), dtype=np.int64), dict[str, tuple[int, int]]()
    for answer in answers:
        before, after = first.get((answer.reader, answer.repeats or ""), MISSING), choice_of(answer.values)
        if answer.repeats is None or MISSING in (before, after):
            continue
        table[before, after] += 1
        alike, pairs = by_reader.get(answer.reader, (0, 0))
        by_reader[answer.reader] = (alike + (before == after), pairs + 1)
    return SelfAgreement(table, by_reader) if by_reader else None


SCALE = (1.0, 5.0)


@dataclass(frozen=True)
class Realism:
    """Ratings of real and of synthetic scans."""

    means: tuple[float, float]  # real, synthetic
    intervals: tuple[Ends, Ends]  # of the means, over draws of readers and scans
    answers: tuple[int, int]  # real, synthetic
    # share of pairs in which a real scan is rated above a synthetic one, ties a half; mean over readers
    superiority: float
    superiority_interval: Ends  # over readers (Student's t)
    # the same of each reader, and the p of Mann and Whitney's test; NaN if a class has no answer
    by_reader: dict[str, tuple[float, float]]


def ratings(answers: Sequence[RecordedAnswer], read: Readings) -> Float[np.ndarray, "readers scans"]:
    """Realism by reader and scan; NaN without an answer."""
    values = np.full(read.choices.shape, np.nan)
    row, column = {n: i for i, n in enumerate(read.readers)}, {n: i for i, n in enumerate(read.scans)}
    for answer in first_showings(answers):
        rating = answer.values.get(REALISM)
        # A form may store a number as text.
        if rating not in (None, ""):
            values[row[answer.reader], column[answer.scan]] = float(rating)
    return values


def superiority(values: Float[np.ndarray, " scans"], synthetic: Bool[np.ndarray, " scans"]) -> tuple[float, float]:
    """P(real rated above synthetic) + P(alike) / 2 of one reader, and p: Mann and Whitney's (1947) U by its largest.

    A scale of five steps has an order and no distances; this uses the order only.
    """
    real, other = values[~synthetic & ~np.isnan(values)], values[synthetic & ~np.isnan(values)]
    if not real.size or not other.size:
        return float("nan"), float("nan")
    if np.unique(np.concatenate([real, other])).size == 1:
        return 0.5, 1.0
    found = stats.mannwhitneyu(real, other)
    return float(found.statistic) / (real.size * other.size), float(found.pvalue)


def realism(answers: Sequence[RecordedAnswer], read: Readings, *, seed: int, draws: int) -> Realism | None:
    """The ratings by class; None without any."""
    values = ratings(answers, read)
    classes = read.synthetic.astype(np.int64)
    counts = tuple(int((~np.isnan(values[:, read.synthetic == value])).sum()) for value in (False, True))
    if not any(counts):
        return None
    means, intervals = [], []
    for weights in (np.array([1.0, 0.0]), np.array([0.0, 1.0])):
        found, moved = deviations(values, classes, weights, seed, draws)
        low, high = ends(found.estimate + moved @ weights)
        means.append(found.estimate)
        intervals.append((max(low, SCALE[0]), min(high, SCALE[1])) if np.isfinite(low) else (low, high))
    by_reader = {name: superiority(values[i], read.synthetic) for i, name in enumerate(read.readers)}
    each = np.array([share for share, _ in by_reader.values() if not np.isnan(share)])
    low, high = interval(each)
    return Realism(
        (means[0], means[1]),
        (intervals[0], intervals[1]),
        (counts[0], counts[1]),
        float(each.mean()) if each.size else float("nan"),
        (max(low, 0.0), min(high, 1.0)) if np.isfinite(low) else (low, high),
        by_reader,
    )


def regions(answers: Sequence[RecordedAnswer]) -> dict[str, tuple[int, int]]:
    """How often each region was ticked, in real and in synthetic scans; the most ticked first."""
    ticked = {
        value: Counter(
            region
            for answer in first_showings(answers)
            if answer.synthetic is value
            for region in answer.values.get(REGIONS) or ()
        )
        for value in (False, True)
    }
    names = sorted(ticked[False] | ticked[True], key=lambda name: (-ticked[False][name] - ticked[True][name], name))
    return {name: (ticked[False][name], ticked[True][name]) for name in names}
