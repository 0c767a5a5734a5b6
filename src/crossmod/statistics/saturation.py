"""The gain over the number of synthetic slices, and the number beyond which more of them do not help."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError
from crossmod.seeds import rng
from crossmod.statistics.arm_scores import ArmScores, paired, spread
from crossmod.statistics.intervals import DRAWS, deviations, student
from crossmod.statistics.paired_effects import Effect, effect, effects


@dataclass(frozen=True)
class Point:
    """One count of synthetic slices."""

    count: int
    effect: Effect | None  # the difference to count 0; None at count 0 itself
    best: float  # the share of draws in which it is the best; NaN with fewer than two patients


@dataclass(frozen=True)
class Saturation:
    """Points by rising count."""

    points: tuple[Point, ...]  # count 0 included; their `best` add up to 1
    best: int  # the count with the best mean; the smallest if several have it
    shown: bool  # whether the best count is shown to help
    # The smallest count that is shown to help and not shown to fall short of the best by more than `within`; None if
    # the best is not shown to help
    enough: int | None
    within: float  # a difference that is too small to matter
    gain: float  # the mean difference of the best count to count 0; too large, since the largest of several was picked
    # The same if the best count is picked without the fold in which its gain is taken; NaN with one fold
    cross_fitted: float


def saturation(
    arms: Mapping[int, ArmScores],
    shown: Collection[int],
    seed: int,
    draws: int = DRAWS,
    *,
    within: float = 0.005,
    higher_is_better: bool = True,
) -> Saturation:
    """The curve over counts, with the same draws of patients and of runs without synthetic slices for all of them.

    The share of draws in which a count is the best shows how stable the position of the maximum is, not how probable:
    the best mean of several is partly luck, and every draw contains that luck. `enough` is the smallest count without
    a shown difference to the best: with few patients it is too small.

    `arms` are by their count, 0 included; `shown` are the counts that are shown to help, by the verdicts on all arms of
    the same baseline.
    """
    if 0 not in arms:
        expected = "one without synthetic slices"
        raise InputError("the counts", found=f"{sorted(arms)}", expected=expected, do="Train it too.")
    counts = sorted(count for count in arms if count != 0)
    curve = effects(arms[0], [arms[count] for count in counts], higher_is_better=higher_is_better)
    means = {0: 0.0, **{count: found.mean for count, found in zip(counts, curve, strict=True)}}
    sign = 1 if higher_is_better else -1
    best = max(sorted(means), key=lambda count: sign * means[count])
    shares = _how_often_best(arms, counts, seed, draws, sign)
    points = [
        Point(count, found, share) for count, found, share in zip([0, *counts], [None, *curve], shares, strict=True)
    ]
    helping = [count for count in counts if count in shown] if best in shown else []
    # Whether the interval of an arm compared with the best one reaches to `within` of it.
    short = {count: effect(arms[best], arms[count]) for count in helping}
    near = (count for count, found in short.items() if (found.high if sign > 0 else -found.low) >= -within)
    enough = next(near, None)
    fitted = cross_fitted_gain(arms, sign)
    return Saturation(tuple(points), best, bool(helping), enough, within, means[best], fitted)


def cross_fitted_gain(arms: Mapping[int, ArmScores], sign: int) -> float:
    """The mean gain over count 0, in each fold that of the count that is the best in the other folds.

    Without the optimism of picking the largest of several means and then quoting it (cross-validation of a choice,
    Stone 1974).
    """
    counts = sorted(arms)
    folds, away = arms[0].folds, np.stack([arms[count].by_patient - arms[0].by_patient for count in counts])
    if len(np.unique(folds)) < 2:
        return float("nan")
    gains = np.empty(len(folds))
    for fold in np.unique(folds):
        inside = folds == fold
        gains[inside] = away[int(np.argmax(sign * away[:, ~inside].mean(axis=1)))][inside]
    return float(gains.mean())


def _how_often_best(
    arms: Mapping[int, ArmScores], counts: Sequence[int], seed: int, draws: int, sign: int
) -> list[float]:
    """The share of draws in which count 0 and each of `counts` is the best; equal counts share a draw."""
    if not counts:
        return [1.0]
    base, others, _ = paired(arms[0], [arms[count] for count in counts])
    if len(base.folds) < 2:
        return [float("nan")] * (len(counts) + 1)
    spreads = [spread(base, arm) for arm in others]
    # One width for all arms of a draw, since the part of the base must be the same in all of them.
    freedom = min(part.freedom for part in spreads)
    means = np.array([(arm.by_patient - base.by_patient).mean() for arm in others])
    moved = deviations(base, others, spreads, seed, draws) * student(freedom, draws, rng(seed, "width"))
    gains = np.concatenate([np.zeros((1, draws)), sign * (means[:, None] + moved)])
    return best_shares(gains).tolist()


def best_shares(gains: Float[np.ndarray, "counts draws"]) -> Float[np.ndarray, " counts"]:
    """The share of draws in which each row is the largest; equal rows share a draw."""
    largest = gains == gains.max(axis=0)
    return (largest / largest.sum(axis=0)).mean(axis=1)
