"""Figures of an experiment, and its best and worst patients.

Notable: verdicts differ in colour (Okabe and Ito's palette) and in shape, so that the page also works without colours.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossmod.data.store import Store
from crossmod.html.figures import COLOURS, TRUTH, data_url, escaped, gray, image_grid, outline
from crossmod.report.experiment.data import Experiment, ReadRun, change_of, effect_of, means_of_seeds
from crossmod.report.experiment.schema import ArmFinding, EffectRow, SaturationCurve
from crossmod.report.figures import INCHES, Gray, Mask
from crossmod.report.sections import LABELS

# Colour, marker, and whether it is filled.
STYLES = {
    "improves": ("#0072B2", "o", True),
    "hurts": ("#D55E00", "s", True),
    "not shown": ("0.4", "D", False),
    "not comparable": ("0.7", "D", False),
}
WIDTH = 8.4
# Patients whose names fit under an axis.
NAMED = 24
# Counts whose numbers fit under an axis.
MANY = 9


def label(name: str, width: int = 34) -> str:
    """A name that fits beside an axis."""
    return escaped("\n".join(textwrap.wrap(name, width) or [name]))


def forest(arms: Sequence[ArmFinding]) -> str | None:
    """The difference of each arm to its baseline with its interval, and the line of no difference."""
    known = [(arm["name"], mean, effect_of(arm)) for arm in arms if (mean := change_of(arm)) is not None]
    if not known:
        return None
    figure, axis = _rows([name for name, _, _ in known], 0.42, 1.3)
    axis.axvline(0, color="0.2", linewidth=1)
    for place, (_, mean, found) in enumerate(known):
        colour, marker, filled = STYLES[found["verdict"]]
        if found["low"] is not None and found["high"] is not None:
            axis.hlines(place, found["low"], found["high"], color=colour, linewidth=1.8)
        axis.plot(mean, place, marker, color=colour, mfc=colour if filled else "white", markersize=7)
    axis.set_xlabel("change of 3D Dice against the baseline, with its 95 % interval", fontsize=9)
    shown = {found["verdict"] for _, _, found in known}
    handles = [
        Line2D(
            [], [], color=colour, marker=marker, mfc=colour if filled else "white", label=LABELS.get(verdict, verdict)
        )
        for verdict, (colour, marker, filled) in STYLES.items()
        if verdict in shown
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return data_url(figure)


def _rows(names: Sequence[str], height: float, more: float) -> tuple[Figure, Axes]:
    """Axes with a row per name, from the top."""
    figure = Figure(figsize=(WIDTH, height * len(names) + more), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(len(names)), [label(name) for name in names], fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    return figure, axis


def saturation(curve: SaturationCurve) -> str | None:
    """The change over counts with its band, and below it how often each count is the best."""
    points = [point for point in curve["points"] if point["effect"] is None or point["effect"]["mean"] is not None]
    if len(points) < 2:
        return None
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    counts = [point["count"] for point in points]
    means = [0.0 if point["effect"] is None else point["effect"]["mean"] for point in points]
    ends = np.array([_ends(point["effect"]) for point in points])
    above.axhline(0, color="0.2", linewidth=1)
    above.fill_between(counts, ends[:, 0], ends[:, 1], color=COLOURS[1], alpha=0.3, label="95 % interval")
    above.plot(counts, means, color=COLOURS[5], marker="o", label="mean over patients and seeds")
    if curve["enough"] is not None:
        above.axvline(curve["enough"], color="0.4", linestyle=":", linewidth=1.2, label="enough")
    above.set_ylabel("change of 3D Dice", fontsize=9)
    above.legend(fontsize=8)
    shares = [np.nan if point["best"] is None else point["best"] for point in points]
    room = 0.5 * min(np.diff(sorted(counts)))
    below.bar(counts, shares, width=room, color=COLOURS[5])
    for at, share in zip(counts, shares, strict=True):
        if np.isfinite(share) and (share >= 0.05 or len(counts) <= MANY):
            below.annotate(f"{share:.0%}", (at, share), ha="center", va="bottom", fontsize=8)
    # All counts keep their ticks; only as many as fit are named.
    every = -(-len(counts) // MANY)
    below.set(ylim=(0, 1.25), yticks=(0, 0.5, 1))
    below.set_xticks(counts, [f"{at}" if place % every == 0 else "" for place, at in enumerate(counts)])
    below.set_ylabel("share of draws\nwhere best", fontsize=8)
    below.set_xlabel("synthetic slices beside the real ones", fontsize=9)
    for axis in (above, below):
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    return data_url(figure)


def _ends(effect: EffectRow | None) -> tuple[float, float]:
    if effect is None:
        return 0.0, 0.0
    return tuple(np.nan if effect[end] is None else effect[end] for end in ("low", "high"))  # pyright: ignore[reportReturnType]


@dataclass(frozen=True, eq=False)
class PatientGains:
    """What an arm changes for each patient."""

    name: str
    patients: list[str]  # sorted by gain
    means: np.ndarray  # over seeds
    seeds: list[np.ndarray]  # for each seed that both arms have, by patient; NaN if unknown


def patient_gains(gains: Sequence[PatientGains]) -> str:
    """A panel per arm: one dot per patient, sorted by gain, and a faint one for each seed."""
    figure = Figure(figsize=(WIDTH, 1.75 * len(gains) + 0.4), layout="constrained")
    axes = figure.subplots(len(gains), 1, squeeze=False, sharey=True)[:, 0]
    for axis, arm in zip(axes, gains, strict=True):
        places = np.arange(len(arm.patients))
        axis.axhline(0, color="0.2", linewidth=1)
        for values in arm.seeds:
            axis.plot(places, values, "o", color="0.55", markersize=3, alpha=0.5, linewidth=0)
        for verdict, inside in (("improves", arm.means >= 0), ("hurts", arm.means < 0)):
            colour, marker, _ = STYLES[verdict]
            axis.plot(places[inside], arm.means[inside], marker, color=colour, markersize=5)
        _name_patients(axis, arm.patients)
        axis.set_title(label(arm.name, 90), fontsize=9)
        axis.grid(alpha=0.3)
    figure.supylabel("change of 3D Dice", fontsize=9)
    return data_url(figure)


def _name_patients(axis: Axes, patients: Sequence[str]) -> None:
    axis.set_xlim(-0.6, len(patients) - 0.4)
    axis.tick_params(labelsize=7)
    if len(patients) > NAMED:
        axis.set_xlabel(f"{len(patients)} patients, by gain", fontsize=8)
        return
    names = [escaped(textwrap.shorten(name, 22, placeholder="…")) for name in patients]
    turned = {"rotation": 25 if len(patients) <= 10 else 60, "ha": "right"} if len(patients) > 6 else {}
    axis.set_xticks(range(len(patients)), names, fontsize=7, **turned)


def seeds(arms: Sequence[ArmFinding]) -> str | None:
    """Each seed's mean 3D Dice in each arm: what one lucky run could have shown."""
    rows = [(arm, values) for arm in arms if (values := means_of_seeds(arm))]
    if not rows or all(len(values) < 2 for _, values in rows):
        return None
    figure, axis = _rows([arm["name"] for arm, _ in rows], 0.4, 1.0)
    for place, (arm, values) in enumerate(rows):
        base = arm["baseline"] is None
        axis.hlines(place, min(values), max(values), color="0.7", linewidth=4)
        axis.plot(values, [place] * len(values), "o", color="0.15" if base else COLOURS[5], markersize=5)
        axis.plot(float(np.mean(values)), place, "|", color=COLOURS[4], markersize=16, markeredgewidth=2)
    axis.set_xlabel("3D Dice, mean over all test patients: one dot per seed, the line is their mean", fontsize=9)
    return data_url(figure)


SHOWN = 4
BASE, ARM = COLOURS[2], COLOURS[1]
# The share of the outlined length that is shown around it.
MARGIN = 0.35


@dataclass(frozen=True)
class Change:
    """A test slice in the runs of a baseline and of an arm, with the Dice of both."""

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

    @property
    def title(self) -> str:
        """The slice and both scores."""
        return f"{self.case}, slice {self.index}\nDice {self.before:.2f} to {self.after:.2f}"


def extremes(experiment: Experiment) -> dict[str, object] | None:
    """Largest gains and losses of the best arm, first seed; None if nothing can be compared."""
    best = experiment.best
    base = experiment.baseline(best)
    if best is None or base is None:
        return None
    changes, seed = _changes(experiment.runs(base), experiment.runs(best))
    gains = _first_of_each_case([change for change in sorted(changes, key=lambda c: -c.gain) if change.gain > 0])
    losses = _first_of_each_case([change for change in sorted(changes, key=lambda c: c.gain) if change.gain < 0])
    if not gains and not losses:
        return None
    return {
        "arm": best["name"],
        "base": base["name"],
        "seed": seed,
        "slices": len(changes),
        "better": sum(change.gain > 0 for change in changes),
        "worse": sum(change.gain < 0 for change in changes),
        "panels": {
            name: {"figure": _panel(shown), "alt": "; ".join(change.title.replace("\n", ": ") for change in shown)}
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
        if key[0] != seed or not (bases[key].has_predictions and arms[key].has_predictions):
            continue
        before = {(row["case"], row["slice"]): row["dice"] for row in bases[key].card["scores"]["slice_values"]}
        for row in arms[key].card["scores"]["slice_values"]:
            place = row["case"], row["slice"]
            if place in before:
                found.append(Change(*place, before[place], row["dice"], bases[key], arms[key]))
    return found, seed


def _first_of_each_case(changes: Sequence[Change]) -> list[Change]:
    """The first slices, one per case, since neighbours look alike."""
    first: dict[str, Change] = {}
    for change in changes:
        first.setdefault(change.case, change)
    return list(first.values())[:SHOWN]


def _panel(shown: Sequence[Change]) -> str:
    """Each slice, and below it an enlarged part with the outlines of truth, baseline and arm."""
    # The number of columns is fixed, so that few slices are not drawn larger than many.
    figure, axes = image_grid(2, [change.title for change in shown] + [""] * (SHOWN - len(shown)), INCHES)
    figure.set_figheight(2 * INCHES + 0.45)
    for (above, below), change in zip(axes.T, shown, strict=False):
        image, truth, before, after = _read(change)
        for axis in (above, below):
            gray(axis, image)
        for mask, colour in ((truth, TRUTH), (before, BASE), (after, ARM)):
            outline(below, mask, colour)
        _nearer(below, (truth > 0) | (before > 0) | (after > 0))
        above.title.set_fontsize(8)
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


def _read(change: Change) -> tuple[Gray, Mask, Mask, Mask]:
    """Image, truth, and the predictions of baseline and arm."""
    base, arm = (
        {
            name: tensor[run.card["tested"][change.case].index(change.index)]
            for name, tensor in Store(run.path / "predictions").tensors(change.case, names).items()
        }
        for run, names in ((change.base, ["image", "label", "answer"]), (change.arm, ["answer"]))
    )
    return base["image"].astype("float32"), base["label"], base["answer"], arm["answer"]
