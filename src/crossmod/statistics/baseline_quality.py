"""Whether a baseline was trained enough that a difference from it says something.

Two things are asked of it, of the means over its runs:

- It finds the organ better than an answer that does not look at the image: its Dice over all tested pixels is above
  that of the best mask that is the same in every slice (`trivial_dice`).
- Its loss has stopped falling: of all that it fell, less than `STILL_FALLING` fell from the third to the last quarter
  of the training. A loss that falls along a straight line still falls by 0.29 of the whole there, one that falls along
  exp(-t / T) by 0.1 where the training lasts three times T.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


def trivial_dice(truth: Bool[np.ndarray, "slices rows columns"]) -> float:
    """Dice over all pixels of the best mask that is the same in every slice; 0 where no slice shows the organ.

    The best of all fixed masks, "everywhere" and the organ's mean position among them, chosen with the truth in hand:
    no training can find a better one. Of all masks of k pixels, the one of the k pixels that are organ in most slices
    has the largest overlap with the truth, and all of them have k pixels in each slice; so one per size is tried.

    Args:
        truth: of all tested slices.
    """
    slices = len(truth)
    counts = np.sort(np.count_nonzero(truth, axis=0).ravel())[::-1]
    total = int(counts.sum())
    if total == 0:
        return 0.0
    sizes = np.arange(1, counts.size + 1)
    return float((2 * np.cumsum(counts) / (total + sizes * slices)).max())


STILL_FALLING = 0.1
# Where a run of an earlier version does not say what a fixed mask reaches.
FLOOR = 0.5


@dataclass(frozen=True)
class Training:
    """What is known of one run of a baseline.

    Args:
        dice: over all tested pixels.
        trivial: what the best fixed mask reaches there; None where the run does not say.
        losses: step and loss of each reading of the training; empty where it was not recorded.
    """

    dice: float
    trivial: float | None = None
    losses: tuple[tuple[int, float], ...] = ()


def untrained(runs: Sequence[Training]) -> str:
    """Why a baseline was not trained enough to compare with; empty where it was.

    Args:
        runs: of the baseline.
    """
    if not runs:
        return ""
    dice = float(np.mean([run.dice for run in runs]))
    floors = [run.trivial for run in runs if run.trivial is not None]
    floor = float(np.mean(floors)) if floors else FLOOR
    if not dice > floor:
        than = "the best mask that is the same in every slice reaches" if floors else "the least to compare with is"
        return f"the baseline is not trained enough (its Dice is {dice:.3f}, and {than} {floor:.3f})"
    falls = [still_falling(run.losses) for run in runs if run.losses]
    if any(fall is None for fall in falls):
        steps = max(run.losses[-1][0] for run in runs if run.losses)
        return f"the baseline is not trained enough ({steps} steps are too few to see the loss stop falling)"
    known = [fall for fall in falls if fall is not None]
    if known and np.mean(known) > STILL_FALLING:
        return (
            f"the baseline is not trained enough (its loss still falls: {np.mean(known):.0%} of the whole fall "
            "from the third to the last quarter of the training)"
        )
    return ""


def still_falling(losses: Sequence[tuple[int, float]]) -> float | None:
    """The share of the whole fall of a loss that lies between the third and the last quarter of a training.

    0 where the loss did not fall at all; None where too few readings tell: one in each of these quarters, and one
    before them.

    Args:
        losses: step and loss of each reading, by rising step.
    """
    steps = np.array([step for step, _ in losses], dtype=np.float64)
    values = np.array([loss for _, loss in losses], dtype=np.float64)
    if not len(steps):
        return None
    part = steps / steps[-1]
    third, last = values[(part > 0.5) & (part <= 0.75)], values[part > 0.75]
    if not len(third) or not len(last) or part[0] > 0.5:
        return None
    fall = values[0] - last.mean()
    return float(max(third.mean() - last.mean(), 0.0) / fall) if fall > 0 else 0.0
