"""Shares of right answers (Table 2 of Crespi et al.), with two intervals: answers as independent, and clustered."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.reader.analysis.bootstrap import deviations, ends
from crossmod.reader.analysis.choices import Readings, Rule, scores
from crossmod.statistics.intervals import CONFIDENCE

Ends = tuple[float, float]
# By class, real first: weights of the two shares.
ALL, REAL_ONLY, SYNTHETIC_ONLY, BALANCED = "all", "real", "synthetic", "balanced"
COLUMNS = (ALL, REAL_ONLY, SYNTHETIC_ONLY, BALANCED)


@dataclass(frozen=True)
class Share:
    """A share of answers.

    Args:
        right: how many; a half where "cannot tell" counts as one.
        answers: of how many.
        estimate: the share.
        wilson: its 95 % interval if all answers were independent.
        clustered: its 95 % interval over draws of readers and scans.
    """

    right: float
    answers: int
    estimate: float
    wilson: Ends
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

    `all` counts every answer alike, as the paper does. `balanced` gives both classes a half: whoever always says the
    same then has 50 %, however many scans of a class there are.
    """
    if column != ALL:
        return {REAL_ONLY: np.array([1.0, 0.0]), SYNTHETIC_ONLY: np.array([0.0, 1.0])}.get(column, np.array([0.5, 0.5]))
    known = (~np.isnan(values)).sum(axis=0)
    answers = np.array([known[~read.synthetic].sum(), known[read.synthetic].sum()], dtype=np.float64)
    return answers / max(answers.sum(), 1.0)


def share(read: Readings, rule: Rule, column: str, *, seed: int, draws: int) -> Share:
    """One cell of Table 2.

    Args:
        read: the answers.
        rule: how "cannot tell" counts.
        column: one of `COLUMNS`.
        seed: of the draws.
        draws: how many.
    """
    values = scores(read, rule)
    weights = class_weights(read, values, column)
    classes = read.synthetic.astype(np.int64)
    used = ~np.isnan(values) & (weights[classes] > 0)
    right, answers = float(values[used].sum()), int(used.sum())
    found, moved = deviations(values, classes, weights, seed, draws)
    low, high = clustered_ends(found.estimate, moved @ weights, used)
    # Answers weigh differently where classes are balanced, which Wilson's interval cannot take into account.
    alone = wilson(found.estimate * answers, answers) if answers else (0.0, 1.0)
    return Share(right, answers, found.estimate, alone, (low, high))


def clustered_ends(estimate: float, moved: Float[np.ndarray, " draws"], used: np.ndarray) -> Ends:
    """The middle 95 % of the draws, cut at 0 and 1.

    Where all answers are right, or all wrong, no draw moves: then Wilson's interval of as many answers as there are
    readers or scans, whichever are fewer.
    """
    if not np.isnan(moved).any() and not moved.any():
        fewest = min(int(used.any(axis=1).sum()), int(used.any(axis=0).sum()))
        return wilson(estimate * fewest, fewest)
    low, high = ends(estimate + moved)
    return max(low, 0.0), min(high, 1.0)
