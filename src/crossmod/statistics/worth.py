"""What synthetic slices are worth: the labelled patients that MR only would need for the same Dice.

Let m(n) be the mean Dice of the segmenters that were trained on the real slices of n labelled patients only, made
monotone in n by isotonic regression (pool adjacent violators, Barlow et al. 1972) and linear in log2(n) between the
measured numbers. An arm with synthetic slices and n labelled patients has the mean Dice d. Then

    n* = the smallest number with m(n*) >= d,        worth = n* - n.

Below the smallest measured number and above the largest one the curve is not known: n* is then only "less than" the
smallest or "more than" the largest number, never extrapolated.

Notable:
- n* depends on the differences m(n) - d only, so that what patients have in common in all arms, such as how difficult
  they are, cancels. The draws are those of all differences here (`intervals.deviations`), with the same patients and
  the same runs of the arm for all numbers, and the width of Student's t: where nothing is pooled, the interval of the
  worth excludes 0 if that of the gain does.
- One labelled set per fold and number was drawn, nested over the numbers and the same in all arms. Its luck moves the
  whole curve and the arms together. The interval includes it as far as it differs between folds; it does not show what
  other labelled patients in the same folds would give.
- Isotonic regression removes a fall of the curve, which more labelled patients should not cause. Where it pooled
  numbers, worth and gain may contradict each other; `falls` names them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from crossmod.seeds import rng
from crossmod.statistics.arm_scores import ArmScores, paired, spread
from crossmod.statistics.intervals import CONFIDENCE, DRAWS, Verdict, deviations, student
from crossmod.statistics.paired_effects import ROUNDING

Bound = Literal["=", "<", ">"]
Number = float | int  # of patients; a mean over folds may be fractional


@dataclass(frozen=True)
class Amount:
    """A number of patients that is known, or only known to be less or more than `value`."""

    value: Number
    relation: Bound = "="


@dataclass(frozen=True)
class Worth:
    """The labelled patients that an arm's synthetic slices are worth."""

    more: Amount  # n* - n, in patients
    low: Amount  # ends of the 95 % interval of `more`
    high: Amount
    equal_to: Amount  # n*, in patients


def monotone(curve: Float[np.ndarray, "numbers draws"]) -> Float[np.ndarray, "numbers draws"]:
    """Isotonic regression of each column: the rising sequence with the least sum of squared differences to it.

    By its minimax formula (Robertson, Wright and Dykstra 1988, theorem 1.4.4), the maximum over i <= k of the minimum
    over j >= k of the mean of y[i..j], which equals pooling adjacent violators and computes all draws at once.
    """
    numbers = len(curve)
    sums = np.concatenate([np.zeros_like(curve[:1]), np.cumsum(curve, axis=0)])
    rising = np.full_like(curve, -np.inf)
    for first in range(numbers):
        least = np.full_like(curve[0], np.inf)
        for last in reversed(range(first, numbers)):
            least = np.minimum(least, (sums[last + 1] - sums[first]) / (last + 1 - first))
            rising[last] = np.maximum(rising[last], least)
    return rising


def number_reaching(
    above: Float[np.ndarray, "numbers draws"], numbers: Float[np.ndarray, " numbers"]
) -> Float[np.ndarray, " draws"]:
    """The smallest number of patients n* at which each rising curve reaches 0; `above` is m(n) - d.

    -inf if the curve is above 0 at the smallest of `numbers` (positive, rising), inf if it is below 0 at the largest.
    """
    above = np.round(above, ROUNDING)
    reached = above >= 0
    place = np.where(reached.any(axis=0), reached.argmax(axis=0), len(numbers) - 1)
    columns = np.arange(above.shape[1])
    before = np.maximum(place - 1, 0)
    low, high = above[before, columns], above[place, columns]
    step = high - low
    # Of a curve that stays below 0 the share has no meaning, and could be very large.
    share = np.clip(np.divide(-low, step, out=np.ones_like(step), where=step > 0), 0, 1)
    logs = np.log2(numbers)
    found = np.exp2(logs[before] + share * (logs[place] - logs[before]))
    found = np.where(place == 0, np.where(above[0] > 0, -np.inf, numbers[0]), found)
    return np.where(reached.any(axis=0), found, np.inf)


def worth(
    mr_only: Mapping[Number, ArmScores], arm: ArmScores, labelled: Number, *, seed: int = 0, draws: int = DRAWS
) -> Worth:
    """The worth of the synthetic slices of `arm`, which has the labels of `labelled` patients.

    `mr_only` are the arms without synthetic slices by their number of labelled patients (above 0), at least one, all
    tested on the patients of `arm`; patients without a score in some arm are left out. The interval needs two patients:
    with fewer its ends are those of what was measured.
    """
    numbers = np.array(sorted(mr_only), dtype=np.float64)
    arm, curve, _ = paired(arm, [mr_only[number] for number in sorted(mr_only)])
    means = np.array([(side.by_patient - arm.by_patient).mean() for side in curve])
    (reached,) = number_reaching(monotone(means[:, None]), numbers)
    ends = (-math.inf, math.inf)
    if len(arm.folds) >= 2:
        spreads = [spread(arm, side) for side in curve]
        # One width for all numbers of a draw, since the part of the arm must be the same in all of them.
        freedom = min(part.freedom for part in spreads)
        moved = deviations(arm, curve, spreads, seed, draws) * student(freedom, draws, rng(seed, "width"))
        drawn = np.sort(number_reaching(monotone(means[:, None] + moved), numbers))
        tail = int((1 - CONFIDENCE) / 2 * draws)
        ends = (float(drawn[tail]), float(drawn[-1 - tail]))

    def amount(number: float, less: Number) -> Amount:
        if math.isinf(number):
            outermost, relation = (numbers[0], "<") if number < 0 else (numbers[-1], ">")
            return Amount(float(outermost) - less, relation)
        return Amount(float(number) - less)

    low, high = (amount(end, labelled) for end in ends)
    return Worth(amount(float(reached), labelled), low, high, amount(float(reached), 0.0))


def falls(means: Mapping[Number, float]) -> list[tuple[Number, Number]]:
    """Neighbouring numbers of labelled patients between which the mean Dice of MR only falls; `means` by number."""
    numbers = sorted(means)
    return [(fewer, more) for fewer, more in pairwise(numbers) if round(means[more] - means[fewer], ROUNDING) < 0]


def no_gain_from(verdicts: Mapping[Number, Verdict]) -> Number | None:
    """The smallest measured number such that there and at all larger ones the verdict is not `improves`.

    None if the largest number improves, or nothing was measured.
    """
    found = None
    for number in sorted(verdicts, reverse=True):
        if verdicts[number] == "improves":
            break
        found = number
    return found


def patients_in_words(value: Number, digits: int = 1) -> str:
    """A number of patients without needless decimals, such as `2`, `9.5`."""
    text = f"{value:z.{digits}f}"
    return text.removesuffix(".0")


def amount_in_words(amount: Amount) -> str:
    """Such as `1.4`, `less than 1`, `more than 7`."""
    words = {"=": "", "<": "less than ", ">": "more than "}
    return words[amount.relation] + (
        f"{amount.value:z.1f}" if amount.relation == "=" else patients_in_words(amount.value)
    )


def worth_in_words(found: Worth, labelled: Number) -> str:
    """Such as `worth 1.4 more labelled patients [0.3, 3.1]`; without `more` if no patient is labelled."""
    amount, value = found.more, found.more.value
    # An interval that lies beyond what was measured would only repeat that.
    beyond = found.high.relation == "<" or found.low.relation == ">"
    ends = "" if beyond else f" [{amount_in_words(found.low)}, {amount_in_words(found.high)}]"
    if amount.relation == "<" and value <= 0:
        return f"worth no labelled patient{ends}"
    more = "more " if labelled and value >= 0 else ""
    if amount.relation == ">":
        number = f"the {patients_in_words(value)} {more}labelled patients" if value else "all labelled patients"
        return f"worth more than {number} that are available{ends}"
    return f"worth {amount_in_words(amount)} {more}labelled patient{'' if value == 1 else 's'}{ends}"
