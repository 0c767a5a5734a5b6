"""Does the class of a scan change what readers say? A test that asks no independence of answers.

If it does not, the key might as well have been shuffled. A scan's class is shuffled for all readers together, so that
what a scan does to all of them, and a reader to all scans, stays as it is (Fisher 1935).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.seeds import rng

ROUNDING = 1e-9


@dataclass(frozen=True)
class Permuted:
    """A permutation test.

    Args:
        p: nan where all answers are alike.
        exact: whether all arrangements were counted, and not a sample of them.
        arrangements: how many were looked at.
    """

    p: float
    exact: bool
    arrangements: int


def shuffled_key(
    blocks: Sequence[tuple[Int[np.ndarray, "_ answers"], Bool[np.ndarray, " _"]]], *, seed: int, draws: int
) -> Permuted:
    """Pearson's statistic of class by answer, against the same with the key shuffled inside each survey.

    One survey with no more arrangements than `draws` is counted out; else p is (b + 1) / (draws + 1) (Phipson and
    Smyth 2010, eq. 2).

    Args:
        blocks: for each survey, answers by scan, and which scans are synthetic.
        seed: of the draws.
        draws: how many.
    """
    answered = [(counts[counts.sum(axis=1) > 0], synthetic[counts.sum(axis=1) > 0]) for counts, synthetic in blocks]
    total = sum((counts.sum(axis=0) for counts, _ in answered), np.zeros(blocks[0][0].shape[1]))
    seen = _pearson(sum((_real(c, ~s[None]) for c, s in answered), np.zeros((1, len(total)))), total)[0]
    if (total > 0).sum() < 2 or np.isnan(seen):
        return Permuted(float("nan"), False, 0)
    ways = math.prod(math.comb(len(s), int(s.sum())) for _, s in answered)
    counted = len(answered) == 1 and ways <= draws
    keys = [_arrangements(s) if counted else _shuffles(s, draws, seed, n) for n, (_, s) in enumerate(answered)]
    real = sum((_real(c, k) for (c, _), k in zip(answered, keys, strict=True)), np.zeros((len(keys[0]), len(total))))
    with np.errstate(invalid="ignore"):
        extreme = int(np.count_nonzero(_pearson(real, total) >= seen - ROUNDING))
    return Permuted(extreme / ways if counted else (extreme + 1) / (draws + 1), counted, len(real))


def _real(
    counts: Int[np.ndarray, "scans answers"], real: Bool[np.ndarray, "keys scans"]
) -> Float[np.ndarray, "keys answers"]:
    """Answers to the scans that a key calls real."""
    return real.astype(np.float64) @ counts


def _arrangements(synthetic: Bool[np.ndarray, " scans"]) -> Bool[np.ndarray, "keys scans"]:
    """Every key with as many real scans."""
    picked = list(itertools.combinations(range(len(synthetic)), int((~synthetic).sum())))
    keys = np.zeros((len(picked), len(synthetic)), dtype=bool)
    np.put_along_axis(keys, np.array(picked, dtype=np.int64).reshape(len(picked), -1), True, axis=1)
    return keys


def _shuffles(
    synthetic: Bool[np.ndarray, " scans"], draws: int, seed: int, number: int
) -> Bool[np.ndarray, "keys scans"]:
    return rng(seed, "key", number).permuted(np.tile(~synthetic, (draws, 1)), axis=1)


def _pearson(
    real: Float[np.ndarray, "keys answers"], total: Float[np.ndarray, " answers"]
) -> Float[np.ndarray, " keys"]:
    """Pearson's statistic of two rows that add up to `total`; nan where a row is empty."""
    used = total > 0
    rows = np.stack([real, total - real], axis=1)[:, :, used]
    sums = rows.sum(axis=2, keepdims=True)
    expected = sums * total[used] / total.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((rows - expected) ** 2 / expected).sum(axis=(1, 2))
