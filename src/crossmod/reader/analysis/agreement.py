"""Agreement of readers with one another (Fleiss' kappa) and with themselves (repeated scans)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.reader.analysis.accuracy import Ends
from crossmod.reader.analysis.answers import MISSING, choice_of, first_showings
from crossmod.reader.analysis.bootstrap import ends
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer
from crossmod.seeds import rng

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
    """Two answers of readers to the same scan.

    Args:
        table: first answer by second, over readers.
        by_reader: equal pairs, and all pairs.
    """

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
