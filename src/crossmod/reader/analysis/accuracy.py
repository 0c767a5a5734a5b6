"""Accuracy of readers: correct answers (Table 2 of Crespi et al.), d', criterion, and equivalence with guessing.

A hit is the answer "synthetic" to a synthetic scan, a false alarm the same to a real one (Macmillan and Creelman 2005,
ch. 1 and 2). "Cannot tell" is left out.

A p above 0.05 does not show that readers cannot tell. Two one-sided tests (TOST, Schuirmann 1987) do: that the share is
not below 50 % - margin, and that it is not above 50 % + margin. At 5 % this equals a 90 % interval inside the margin.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.html.format import between
from crossmod.reader.analysis.answers import REAL, SYNTHETIC, Readings, Rule, scores
from crossmod.reader.analysis.bootstrap import deviations, ends, p_beyond
from crossmod.statistics.intervals import CONFIDENCE

Ends = tuple[float, float]
CLASS_WEIGHTS = np.array([0.5, 0.5])


@dataclass(frozen=True)
class Detection:
    """D' and c of some answers."""

    d_prime: float  # 0 if readers cannot tell
    criterion: float  # above 0 they lean to "real", below to "synthetic"
    interval: Ends  # of d', 95 %
    hits: int  # answers "synthetic" to synthetic scans
    synthetic: int  # answers to synthetic scans
    false_alarms: int  # answers "synthetic" to real scans
    real: int  # answers to real scans


def rate(count: float | int, answers: int) -> float:
    """A rate that is never 0 or 1: half an answer is added to either side.

    The log-linear correction, always and not only for rates of 0 or 1 (Hautus 1995).
    """
    return (count + 0.5) / (answers + 1)


def detection(counts: np.ndarray) -> Detection:
    """D' and c of one reader; NaN if a class has no answer.

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

    Pooled rates give a smaller d' than the readers have if their criteria differ (Macmillan and Creelman 2005, ch. 11).
    """
    found = detection(read.counts)
    if np.isnan(found.d_prime):
        return found
    classes = read.synthetic.astype(np.int64)
    crossed, moved = deviations(scores(read, "left_out"), classes, CLASS_WEIGHTS, seed, draws)
    if np.isnan(moved).any():
        return found
    # The same correction in the draws: no rate nearer to 0 or 1 than half an answer.
    answers = np.array([found.real, found.synthetic])
    shares = np.clip((crossed.means + moved) * answers, 0, answers)
    low, high = ends(stats.norm.ppf((shares + 0.5) / (answers + 1)).sum(axis=1))
    return replace(found, interval=(low, high))


def mean_of_readers(read: Readings) -> tuple[float, float, float]:
    """The mean of the readers' d', and its 95 % interval over readers (Student's t); scans are taken as given."""
    each = np.array([detection(counts_of(read, reader)).d_prime for reader in range(len(read.readers))])
    each = each[~np.isnan(each)]
    if each.size < 2:
        return float(each.mean()) if each.size else float("nan"), float("-inf"), float("inf")
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, each.size - 1)) * float(each.std(ddof=1)) / each.size**0.5
    return float(each.mean()), float(each.mean()) - half, float(each.mean()) + half


# By class, real first: weights of the two shares.
ALL, REAL_ONLY, SYNTHETIC_ONLY, BALANCED = "all", "real", "synthetic", "balanced"
COLUMNS = (ALL, REAL_ONLY, SYNTHETIC_ONLY, BALANCED)


@dataclass(frozen=True)
class Portion:
    """A share of answers."""

    right: float  # how many; "cannot tell" may count as a half
    answers: int  # how many
    estimate: float  # the share
    wilson: Ends  # its 95 % interval if all answers were independent


@dataclass(frozen=True)
class Share(Portion):
    """A share with its 95 % interval over draws of readers and scans."""

    clustered: Ends


def wilson(right: float | int, answers: float | int, confidence: float = CONFIDENCE) -> Ends:
    """Wilson's score interval (1927) of a share of independent answers; all of [0, 1] where there is no answer.

    Agrees with `statsmodels.stats.proportion.proportion_confint(method="wilson")`.
    """
    if answers == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share = right / answers
    middle = (share + z**2 / (2 * answers)) / (1 + z**2 / answers)
    half = z / (1 + z**2 / answers) * (share * (1 - share) / answers + z**2 / (4 * answers**2)) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)


def class_weights(read: Readings, values: Float[np.ndarray, "readers scans"], column: str) -> Float[np.ndarray, "2"]:
    """What a column gives to the share of the real and of the synthetic scans.

    `all` counts every answer equally, as the paper does. `balanced` gives both classes a half: a reader who always
    gives the same answer then has 50 %, however many scans of a class there are.
    """
    if column != ALL:
        return {REAL_ONLY: np.array([1.0, 0.0]), SYNTHETIC_ONLY: np.array([0.0, 1.0])}.get(column, CLASS_WEIGHTS)
    known = (~np.isnan(values)).sum(axis=0)
    answers = np.array([known[~read.synthetic].sum(), known[read.synthetic].sum()], dtype=np.float64)
    return answers / max(answers.sum(), 1.0)


def share(read: Readings, rule: Rule, column: str, *, seed: int, draws: int) -> Share:
    """One cell of Table 2: `rule` is for "cannot tell", `column` one of `COLUMNS`."""
    values = scores(read, rule)
    weights = class_weights(read, values, column)
    classes = read.synthetic.astype(np.int64)
    used = ~np.isnan(values) & (weights[classes] > 0)
    right, answers = float(values[used].sum()), int(used.sum())
    found, moved = deviations(values, classes, weights, seed, draws)
    low, high = clustered_ends(found.estimate, moved @ weights, used)
    # Balanced classes weight answers differently, which Wilson's interval does not include.
    alone = wilson(found.estimate * answers, answers) if answers else (0.0, 1.0)
    return Share(right, answers, found.estimate, alone, (low, high))


def clustered_ends(estimate: float, moved: Float[np.ndarray, " draws"], used: np.ndarray) -> Ends:
    """The middle 95 % of the draws, cut at 0 and 1.

    If all answers are right, or all wrong, all draws are equal: then Wilson's interval of as many answers as there are
    readers or scans, whichever are fewer.
    """
    if not np.isnan(moved).any() and not moved.any():
        fewest = min(int(used.any(axis=1).sum()), int(used.any(axis=0).sum()))
        return wilson(estimate * fewest, fewest)
    low, high = ends(estimate + moved)
    return max(low, 0.0), min(high, 1.0)


CHANCE = 0.5
LEVEL = 0.05
Verdict = Literal["tell", "tell, within the margin", "wrong way round", "equivalent", "not shown"]


@dataclass(frozen=True)
class AgainstChance:
    """A share of right answers compared with guessing."""

    estimate: float  # the mean of both classes' shares
    interval: Ends  # 95 %, over draws of readers and scans
    inner: Ends  # 90 %, for equivalence
    p_differs: float  # two-sided, of 50 %
    p_equivalent: float  # the larger of the two one-sided tests
    margin: float  # of equivalence

    @property
    def verdict(self) -> Verdict:
        """The conclusion from the intervals."""
        low, high = self.interval
        within = CHANCE - self.margin < self.inner[0] and self.inner[1] < CHANCE + self.margin
        if high < CHANCE:
            return "wrong way round"
        if low > CHANCE:
            return "tell, within the margin" if within else "tell"
        return "equivalent" if within else "not shown"


def against_chance(read: Readings, rule: Rule, *, margin: float, seed: int, draws: int) -> AgainstChance:
    """The share of right answers against 50 %, both classes weighing a half.

    With the rule `wrong` for "cannot tell", guessing would not give 50 %.
    """
    values = scores(read, rule)
    weights = class_weights(read, values, BALANCED)
    found, moved = deviations(values, read.synthetic.astype(np.int64), weights, seed, draws)
    shift = moved @ weights
    outer = clustered_ends(found.estimate, shift, ~np.isnan(values))
    if not np.isnan(shift).any() and not shift.any():
        # All draws are equal: the same conservative interval for both.
        return AgainstChance(found.estimate, outer, outer, float("nan"), float("nan"), margin)
    drawn = found.estimate + shift
    return AgainstChance(
        found.estimate, outer, ends(drawn, 1 - 2 * LEVEL), p_beyond(drawn, CHANCE), _tost(drawn, margin), margin
    )


def _tost(drawn: Float[np.ndarray, " draws"], margin: float) -> float:
    """The larger of the shares of draws beyond either margin."""
    if np.isnan(drawn).any():
        return float("nan")
    beyond = max(np.count_nonzero(drawn <= CHANCE - margin), np.count_nonzero(drawn >= CHANCE + margin))
    return (int(beyond) + 1) / (len(drawn) + 1)


def tost_independent(right: float | int, answers: int, margin: float) -> float:
    """P of equivalence to 50 % if all answers were independent; nan where all are right or wrong.

    `statsmodels.stats.proportion.proportions_ztost` with the variance of the sample.
    """
    if not 0 < right < answers:
        return float("nan")
    share = right / answers
    error = (share * (1 - share) / answers) ** 0.5
    above, below = (share - (CHANCE - margin)) / error, (share - (CHANCE + margin)) / error
    return float(max(stats.norm.sf(above), stats.norm.cdf(below)))


def percent(share: float) -> str:
    """A share as percent."""
    return between(100 * share, (None,), 0, unit=" %")


def with_ends(share: float, interval: Ends, digits: int = 0) -> str:
    """A share with its interval, such as `63 % [58, 68]`."""
    return between(100 * share, [100 * end for end in interval], digits, unit=" %", without=" [no interval]")


def range_of(interval: Ends) -> str:
    """An interval of a share."""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %" if np.isfinite(interval).all() else "no interval"


def in_words(found: AgainstChance, name: str) -> str:
    """The verdict on the survey `name` as a sentence, with its numbers."""
    # With a decimal, since a whole percent may hide that an end is not 50.
    size, inner = with_ends(found.estimate, found.interval, 1), f"90 % interval {range_of(found.inner)}"
    points = f"{100 * found.margin:g} points"
    return {
        "tell": f"{name}: readers tell real from synthetic ({size}).",
        "tell, within the margin": f"{name}: readers tell real from synthetic ({size}), but by less than {points} "
        f"more than guessing ({inner}).",
        "wrong way round": f"{name}: readers are below guessing ({size}): they see a difference, but mistake the "
        "synthetic scans for the real ones.",
        "equivalent": f"{name}: equivalent to guessing within {points} ({size}; {inner}).",
        "not shown": f"{name}: inconclusive ({size}): more readers or scans are needed to show that readers can tell, "
        f"or that they guess within {points}.",
    }[found.verdict]
