"""Whether a baseline was trained enough that a difference to it has a meaning.

Both conditions are of means over its runs:

- Its Dice over all tested pixels is above that of the best mask that is the same in every slice (`trivial_dice`), which
  does not depend on the image.
- Its loss has stopped falling: less than `STILL_FALLING` of its whole fall lies between the third and the last quarter
  of the training. A loss that falls along a straight line still falls by 0.29 of the whole there, one that falls along
  exp(-t / T) by 0.1 if the training lasts three times T.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


def trivial_dice(truth: Bool[np.ndarray, "slices rows columns"]) -> float:
    """Dice over all pixels of the best mask that is the same in every slice; 0 if no slice shows the organ.

    The best of all fixed masks, chosen with the truth, so that no training can find a better one. Of all masks of k
    pixels, the one of the k pixels that are organ in most slices has the largest overlap with the truth; so one mask
    per size is tried.
    """
    slices = len(truth)
    counts = np.sort(np.count_nonzero(truth, axis=0).ravel())[::-1]
    total = int(counts.sum())
    if total == 0:
        return 0.0
    sizes = np.arange(1, counts.size + 1)
    return float((2 * np.cumsum(counts) / (total + sizes * slices)).max())


STILL_FALLING = 0.1
# For runs of an earlier version, which did not record the Dice of a fixed mask.
FLOOR = 0.5


@dataclass(frozen=True)
class Training:
    """One run of a baseline."""

    dice: float  # over all tested pixels
    trivial: float | None = None  # the Dice of the best fixed mask there; None if the run did not record it
    # Step and loss of each reading of the training, by rising step; empty if they were not recorded
    losses: tuple[tuple[int, float], ...] = ()


def untrained(runs: Sequence[Training]) -> str:
    """Why a baseline with these runs was not trained enough to compare with; empty if it was."""
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

    0 if the loss did not fall; None if there are too few readings: one is needed in each of these quarters, and one
    before them.
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
