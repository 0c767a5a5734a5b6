"""What a verdict has to know beside the numbers: what the synthetic slices share, and whether the baseline works.

An interval resamples folds and runs as if they were independent. That is true only of what was made independently: two
folds whose translators started from one seed, or were trained on the same source patients, share the luck of it, and no
resampling shows how large that luck is. A verdict about such slices speaks of these translators and of no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Scope = Literal["synthetic slices", "this model", "these models"]

ONE_MODEL = "one trained translator"
ONE_SEED = "the seed of the translators"
ONE_SOURCE = "the source patients"
NOT_BY_PATIENT = "patients: the split is by slice"


@dataclass(frozen=True)
class Facts:
    """What a verdict has to know beside the numbers.

    Args:
        shared: what the synthetic slices of an arm have in common although folds are resampled as independent; empty
            where folds share none of it.
        untrained: why the baseline does not work well enough to compare with; empty where it does.
    """

    shared: tuple[str, ...] = ()
    untrained: str = ""

    @property
    def scope(self) -> Scope:
        """What a verdict may speak of."""
        if not self.shared:
            return "synthetic slices"
        return "this model" if ONE_MODEL in self.shared else "these models"


@dataclass(frozen=True)
class Origin:
    """The translator behind the synthetic slices of one run.

    Args:
        fold: what the run was tested on.
        model: the trained translator, by any name that is its own, such as a hash of its weights.
        seed: of its training; None where that is not recorded.
        source: the source patients (or cases) it was trained on; None where that is not recorded.
    """

    fold: int
    model: str
    seed: int | None = None
    source: frozenset[str] | None = None


def shared_by_folds(origins: Sequence[Origin], *, split: str = "patient") -> tuple[str, ...]:
    """What translators of different folds have in common, for `Facts.shared`; what is not recorded counts as shared.

    With one fold there is one training side, and several trained translators tell the luck of their seeds alone: the
    source patients are then shared.

    Args:
        origins: of all runs of an arm with synthetic slices.
        split: `patient`, or how else the sides were divided.
    """
    if not origins:
        return ()
    found = [NOT_BY_PATIENT] if split != "patient" else []
    pairs = [(one, other) for one, other in combinations(origins, 2) if one.fold != other.fold]
    if len({one.model for one in origins}) < 2 or any(one.model == other.model for one, other in pairs):
        return (*found, ONE_MODEL)
    if any(one.seed is None or one.seed == other.seed for one, other in pairs):
        found.append(ONE_SEED)
    if not pairs or any(one.source is None or one.source == other.source for one, other in pairs):
        found.append(ONE_SOURCE)
    return tuple(found)
