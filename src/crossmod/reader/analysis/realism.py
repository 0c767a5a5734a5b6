"""The optional questions: realism from 1 to 5, and the regions that looked wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from crossmod.reader.analysis.accuracy import Ends
from crossmod.reader.analysis.answers import REALISM, REGIONS, Readings, first_showings
from crossmod.reader.analysis.bootstrap import deviations, ends
from crossmod.reader.schema import RecordedAnswer
from crossmod.statistics.intervals import interval

SCALE = (1.0, 5.0)


@dataclass(frozen=True)
class Realism:
    """Ratings of real and of synthetic scans.

    Args:
        means: real, synthetic.
        intervals: of the means, over draws of readers and scans.
        answers: real, synthetic.
        superiority: share of pairs in which a real scan is rated above a synthetic one, ties a half; mean over readers.
        superiority_interval: over readers (Student's t).
        by_reader: the same of each reader, and the p of Mann and Whitney's test; NaN if a class has no answer.
    """

    means: tuple[float, float]
    intervals: tuple[Ends, Ends]
    answers: tuple[int, int]
    superiority: float
    superiority_interval: Ends
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
