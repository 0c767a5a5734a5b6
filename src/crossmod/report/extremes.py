"""Test slices that gain and lose most in the best arm, as pictures; no more pixels are read than these show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.store import Store
from crossmod.report.experiment_data import Experiment, ReadRun
from crossmod.report.figures import COLOURS, INCHES, TRUTH, data_url, display_range, gray, outline
from crossmod.report.panels import Gray, Mask

SHOWN = 4
BASE, ARM = COLOURS[2], COLOURS[1]
# Around what is outlined, the share of its length that is shown beside it.
MARGIN = 0.35


@dataclass(frozen=True)
class Change:
    """A test slice in two runs.

    Args:
        case: its case.
        index: its place in the case.
        before: Dice of the baseline.
        after: Dice of the arm.
        base: the baseline's run.
        arm: the arm's.
    """

    case: str
    index: int
    before: float
    after: float
    base: ReadRun
    arm: ReadRun

    @property
    def gain(self) -> float:
        """What the arm adds."""
        return self.after - self.before


def extremes(experiment: Experiment) -> dict[str, Any] | None:
    """Largest gains and losses of the best arm, first seed; None where nothing can be compared."""
    best = experiment.best
    base = experiment.arm(best["baseline"]) if best else None
    if best is None or base is None:
        return None
    changes, seed = _changes(experiment.runs(base), experiment.runs(best))
    gains = [one for one in _one_a_case(sorted(changes, key=lambda one: -one.gain)) if one.gain > 0][:SHOWN]
    losses = [one for one in _one_a_case(sorted(changes, key=lambda one: one.gain)) if one.gain < 0][:SHOWN]
    if not gains and not losses:
        return None
    return {
        "arm": best["name"],
        "base": base["name"],
        "seed": seed,
        "slices": len(changes),
        "better": sum(one.gain > 0 for one in changes),
        "worse": sum(one.gain < 0 for one in changes),
        "panels": {
            name: {"figure": _panel(shown), "alt": "; ".join(_title(one).replace("\n", ": ") for one in shown)}
            for name, shown in (("Largest gains", gains), ("Largest losses", losses))
            if shown
        },
    }


def _changes(
    bases: Mapping[tuple[int, int], ReadRun], arms: Mapping[tuple[int, int], ReadRun]
) -> tuple[list[Change], int | None]:
    """All test slices that show the organ, of the first seed that both arms have."""
    seed = min((seed for seed, _ in set(bases) & set(arms)), default=None)
    found = []
    for key in sorted(set(bases) & set(arms)):
        if key[0] != seed or not (bases[key].answered and arms[key].answered):
            continue
        before = {(row["case"], row["slice"]): row["dice"] for row in bases[key].card["scores"]["slice_values"]}
        for row in arms[key].card["scores"]["slice_values"]:
            place = row["case"], row["slice"]
            if place in before:
                found.append(Change(*place, before[place], row["dice"], bases[key], arms[key]))
    return found, seed


def _one_a_case(changes: Sequence[Change]) -> list[Change]:
    """The first slice of each case: its neighbours would show the same once more."""
    first: dict[str, Change] = {}
    for one in changes:
        first.setdefault(one.case, one)
    return list(first.values())


def _title(one: Change) -> str:
    return f"{one.case}, slice {one.index}\nDice {one.before:.2f} to {one.after:.2f}"


def _panel(shown: Sequence[Change]) -> str:
    """Each slice as it is, and below, nearer, with the outlines of truth, baseline and arm."""
    # Always as many columns, so that few slices are not drawn larger than many.
    figure = Figure(figsize=(SHOWN * INCHES, 2 * INCHES + 0.45), layout="constrained")
    axes = figure.subplots(2, SHOWN, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for (above, below), one in zip(axes.T, shown, strict=False):
        image, truth, before, after = _read(one)
        for axis in (above, below):
            gray(axis, image, *display_range(image))
        for mask, colour in ((truth, TRUTH), (before, BASE), (after, ARM)):
            outline(below, mask, colour)
        _nearer(below, (truth > 0) | (before > 0) | (after > 0))
        above.set_title(_title(one), fontsize=8)
    return data_url(figure)


def _nearer(axis: Axes, shown: np.ndarray) -> None:
    """A square around all that is outlined, within the picture."""
    size = min(shown.shape)
    rows, columns = (np.flatnonzero(shown.any(axis=side)) for side in (1, 0))
    long = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    half = min((0.5 + MARGIN) * max(long, size / 8), size / 2)
    middle = (np.clip((side[0] + side[-1]) / 2, half - 0.5, size - half - 0.5) for side in (columns, rows))
    x, y = (float(place) for place in middle)
    axis.set(xlim=(x - half, x + half), ylim=(y + half, y - half))


def _read(one: Change) -> tuple[Gray, Mask, Mask, Mask]:
    place = one.base.card["tested"][one.case].index(one.index)
    base = Store(one.base.path / "predictions").tensors(one.case)
    after = Store(one.arm.path / "predictions").tensors(one.case, ["answer"])["answer"]
    there = one.arm.card["tested"][one.case].index(one.index)
    return base["image"][place].astype("float32"), base["label"][place], base["answer"][place], after[there]
