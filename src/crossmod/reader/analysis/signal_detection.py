"""How far apart real and synthetic scans are for a reader, apart from their leaning: d' and the criterion c.

A hit is "synthetic" said of a synthetic scan, a false alarm the same of a real one (Macmillan and Creelman 2005, ch. 1
and 2). "Cannot tell" is left out.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossmod.reader.analysis.bootstrap import deviations, ends
from crossmod.reader.analysis.choices import REAL, SYNTHETIC, Readings, scores
from crossmod.statistics.intervals import CONFIDENCE

Ends = tuple[float, float]
CLASS_WEIGHTS = np.array([0.5, 0.5])


@dataclass(frozen=True)
class Detection:
    """D' and c of some answers.

    Args:
        d_prime: 0 where they cannot tell.
        criterion: above 0 they lean to "real", below to "synthetic".
        interval: of d', 95 %.
        hits: "synthetic" said of synthetic scans.
        synthetic: answers to synthetic scans.
        false_alarms: "synthetic" said of real scans.
        real: answers to real scans.
    """

    d_prime: float
    criterion: float
    interval: Ends
    hits: int
    synthetic: int
    false_alarms: int
    real: int


def rate(count: float | int, answers: int) -> float:
    """A rate that is never 0 or 1: half an answer is added to either side.

    The log-linear correction, made always and not only where a rate is 0 or 1 (Hautus 1995).
    """
    return (count + 0.5) / (answers + 1)


def detection(counts: np.ndarray) -> Detection:
    """D' and c of one reader; nan where a class has no answer.

    The interval takes the reader's answers as independent (Gourevitch and Galanter 1967; Macmillan and Creelman 2005,
    eq. 13.4 and 13.5).

    Args:
        counts: by class (real, synthetic) and answer (real, synthetic, ...).
    """
    false_alarms, hits = int(counts[0, SYNTHETIC]), int(counts[1, SYNTHETIC])
    real, synthetic = (int(counts[row, [REAL, SYNTHETIC]].sum()) for row in (0, 1))
    if not real or not synthetic:
        nothing = (float("-inf"), float("inf"))
        return Detection(float("nan"), float("nan"), nothing, hits, synthetic, false_alarms, real)
    hit, alarm = rate(hits, synthetic), rate(false_alarms, real)
    z_hit, z_alarm = (float(z) for z in stats.norm.ppf([hit, alarm]))
    variance = sum(
        p * (1 - p) / (n * float(stats.norm.pdf(z)) ** 2)
        for p, n, z in ((hit, synthetic, z_hit), (alarm, real, z_alarm))
    )
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * variance**0.5
    d_prime = z_hit - z_alarm
    return Detection(
        d_prime, -(z_hit + z_alarm) / 2, (d_prime - half, d_prime + half), hits, synthetic, false_alarms, real
    )


def counts_of(read: Readings, reader: int) -> np.ndarray:
    """One reader's answers by class and choice."""
    row = read.choices[reader]
    return np.array([[int(((row == c) & (read.synthetic == s)).sum()) for c in range(3)] for s in (False, True)])


def pooled(read: Readings, *, seed: int, draws: int) -> Detection:
    """D' and c of all answers together, its interval over draws of readers and scans.

    Pooled rates give a smaller d' than readers have where their criteria differ (Macmillan and Creelman 2005, ch. 11).
    """
    found = detection(read.counts)
    if np.isnan(found.d_prime):
        return found
    weights = CLASS_WEIGHTS
    crossed, moved = deviations(scores(read, "left_out"), read.synthetic.astype(np.int64), weights, seed, draws)
    if np.isnan(moved).any():
        return found
    # The same correction in the draws: no rate nearer to 0 or 1 than half an answer.
    answers = np.array([found.real, found.synthetic])
    shares = np.clip((crossed.means + moved) * answers, 0, answers)
    low, high = ends(stats.norm.ppf((shares + 0.5) / (answers + 1)).sum(axis=1))
    return Detection(
        found.d_prime, found.criterion, (low, high), found.hits, found.synthetic, found.false_alarms, found.real
    )


def mean_of_readers(read: Readings) -> tuple[float, float, float]:
    """The mean of the readers' d', and its 95 % interval over readers (Student's t); scans are taken as given."""
    each = np.array([detection(counts_of(read, reader)).d_prime for reader in range(len(read.readers))])
    each = each[~np.isnan(each)]
    if each.size < 2:
        return float(each.mean()) if each.size else float("nan"), float("-inf"), float("inf")
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, each.size - 1)) * float(each.std(ddof=1)) / each.size**0.5
    return float(each.mean()), float(each.mean()) - half, float(each.mean()) + half
