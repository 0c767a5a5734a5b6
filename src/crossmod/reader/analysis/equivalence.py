"""Can readers tell? A difference from guessing, equivalence to guessing, or neither: words that follow the numbers.

A p above 0.05 does not show that readers cannot tell. Two one-sided tests (TOST, Schuirmann 1987) do: both that the
share is not below 50 % - margin, and that it is not above 50 % + margin. At 5 % that is the same as a 90 % interval
inside the margin.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.reader.analysis.accuracy import BALANCED, Ends, class_weights, clustered_ends
from crossmod.reader.analysis.answers import Readings, Rule, scores
from crossmod.reader.analysis.bootstrap import deviations, ends, p_beyond

CHANCE = 0.5
LEVEL = 0.05
Verdict = Literal["tell", "tell, within the margin", "wrong way round", "equivalent", "not shown"]


@dataclass(frozen=True)
class AgainstChance:
    """A share of right answers, held against guessing.

    Args:
        estimate: the mean of both classes' shares.
        interval: 95 %, over draws of readers and scans.
        inner: 90 %, the one that equivalence asks for.
        p_differs: two-sided, of 50 %.
        p_equivalent: the larger of the two one-sided tests.
        margin: of equivalence.
    """

    estimate: float
    interval: Ends
    inner: Ends
    p_differs: float
    p_equivalent: float
    margin: float

    @property
    def verdict(self) -> Verdict:
        """What the intervals allow to say."""
        low, high = self.interval
        within = CHANCE - self.margin < self.inner[0] and self.inner[1] < CHANCE + self.margin
        if high < CHANCE:
            return "wrong way round"
        if low > CHANCE:
            return "tell, within the margin" if within else "tell"
        return "equivalent" if within else "not shown"


def against_chance(read: Readings, rule: Rule, *, margin: float, seed: int, draws: int) -> AgainstChance:
    """The share of right answers against 50 %, both classes weighing a half.

    Args:
        read: the answers.
        rule: for "cannot tell": `left_out` or `half`; as `wrong`, guessing would not give 50 %.
        margin: of equivalence, as a share.
        seed: of the draws.
        draws: how many.
    """
    values = scores(read, rule)
    weights = class_weights(read, values, BALANCED)
    found, moved = deviations(values, read.synthetic.astype(np.int64), weights, seed, draws)
    shift = moved @ weights
    outer = clustered_ends(found.estimate, shift, ~np.isnan(values))
    if not np.isnan(shift).any() and not shift.any():
        # No draw moves: the same cautious interval for all purposes.
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
    return "undefined" if np.isnan(share) else f"{100 * share:.0f} %"


def with_ends(share: float, interval: Ends, digits: int = 0) -> str:
    """`63 % [58, 68]`, or that there is no interval."""
    if np.isnan(share):
        return "undefined"
    number = f"{100 * share:.{digits}f} %"
    if not np.isfinite(interval).all():
        return f"{number} [no interval]"
    return f"{number} [{100 * interval[0]:.{digits}f}, {100 * interval[1]:.{digits}f}]"


def in_words(found: AgainstChance, name: str) -> str:
    """The verdict as a sentence, with its numbers.

    Args:
        found: what was measured.
        name: of the survey.
    """
    # A whole percent may hide that an end is not 50.
    size = with_ends(found.estimate, found.interval, 1)
    points = f"{100 * found.margin:g} points"
    inner = f"90 % interval {100 * found.inner[0]:.1f} to {100 * found.inner[1]:.1f} %"
    return {
        "tell": f"{name}: readers tell real from synthetic ({size}).",
        "tell, within the margin": f"{name}: readers tell real from synthetic ({size}), but by less than {points} "
        f"more than guessing ({inner}).",
        "wrong way round": f"{name}: readers are below guessing ({size}): they see a difference, and take "
        "the synthetic scans for the real ones.",
        "equivalent": f"{name}: equivalent to guessing within {points} ({size}; {inner}).",
        "not shown": f"{name}: neither shown ({size}): more readers or scans are needed to say that they can tell, or "
        f"that they guess within {points}.",
    }[found.verdict]
