"""Can readers tell real from synthetic? A difference from guessing, equivalence to guessing, or neither.

A p above 0.05 does not show that readers cannot tell. Two one-sided tests (TOST, Schuirmann 1987) do: that the share is
not below 50 % - margin, and that it is not above 50 % + margin. At 5 % this equals a 90 % interval inside the margin.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.html.format import between
from crossmod.reader.analysis.accuracy import BALANCED, Ends, class_weights, clustered_ends
from crossmod.reader.analysis.answers import Readings, Rule, scores
from crossmod.reader.analysis.bootstrap import deviations, ends, p_beyond

CHANCE = 0.5
LEVEL = 0.05
Verdict = Literal["tell", "tell, within the margin", "wrong way round", "equivalent", "not shown"]


@dataclass(frozen=True)
class AgainstChance:
    """A share of right answers compared with guessing.

    Args:
        estimate: the mean of both classes' shares.
        interval: 95 %, over draws of readers and scans.
        inner: 90 %, for equivalence.
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
