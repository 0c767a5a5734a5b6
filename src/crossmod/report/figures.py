"""The report's figures, each a PNG in a data URL, so that the page needs no other file."""

import base64
import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.engine.logger import loss_histories, score_histories
from crossmod.report.collect import Arm
from crossmod.report.slices import Mask, Outlined, SyntheticSlice
from crossmod.runs import Run

# Okabe and Ito's palette: colour-blind readers can distinguish it.
TRUTH = "#F0E442"
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
INCHES = 1.9


def data_url(figure: Figure) -> str:
    """A figure as a PNG in a data URL."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _grid(rows: int, columns: int, titles: Sequence[str]) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(columns * INCHES, rows * INCHES), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure, axes


def gray(axis: Axes, image: np.ndarray | None, low: float, high: float) -> None:
    """An image in gray, or words that its source is not there."""
    if image is None:
        axis.text(
            0.5, 0.5, "source not found:\ngive --source", ha="center", va="center", fontsize=8, transform=axis.transAxes
        )
    else:
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic")


def outline(axis: Axes, mask: Mask, colour: str) -> None:
    """The border of a mask, where it has one."""
    if mask.any():
        axis.contour(mask > 0, levels=[0.5], colors=[colour], linewidths=1.2)


def synthesis_panel(slices: Sequence[SyntheticSlice], source: str, target: str) -> str:
    """Source | synthetic | mask | S's answer, a row a slice."""
    scored = slices[0].answer is not None
    titles = [source, f"synthetic {target}", "mask", *(["S's answer"] if scored else [])]
    figure, axes = _grid(len(slices), len(titles), titles)
    for row, one in zip(axes, slices, strict=True):
        gray(row[0], one.source, -1.0, 1.0)
        low, high = display_range(one.synthetic)
        gray(row[1], one.synthetic, low, high)
        row[2].imshow(one.mask > 0, cmap="gray", interpolation="nearest")
        if one.answer is not None:
            row[3].imshow(one.answer > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            row[3].text(0.03, 0.03, f"Dice {one.consistency:.2f}", color=TRUTH, fontsize=8, transform=row[3].transAxes)
    return data_url(figure)


def comparison_panel(families: Mapping[str, Sequence[SyntheticSlice | None]], source: str) -> str:
    """One row a source slice, one column a family; the source's label is drawn on every image."""
    names = list(families)
    first = families[names[0]]
    figure, axes = _grid(len(first), 1 + len(names), [source, *names])
    for number, row in enumerate(axes):
        origin = first[number]
        assert origin is not None
        gray(row[0], origin.source, -1.0, 1.0)
        outline(row[0], origin.mask, TRUTH)
        for axis, name in zip(row[1:], names, strict=True):
            one = families[name][number]
            if one is not None:
                gray(axis, one.synthetic, *display_range(one.synthetic))
                outline(axis, one.mask, TRUTH)
    return data_url(figure)


def outline_panel(slices: Sequence[Outlined], all_arms: Sequence[Arm]) -> str:
    """Real test slices: the truth in every picture, and each arm's answer over it."""
    figure, axes = _grid(
        len(slices), 2 + len(all_arms), ["real slice", "truth", *(_wrap(arm.name) for arm in all_arms)]
    )
    for row, one in zip(axes, slices, strict=True):
        for axis in row:
            gray(axis, one.image, *display_range(one.image))
        outline(row[1], one.truth, TRUTH)
        for axis, answer, colour in zip(row[2:], one.answers, itertools.cycle(COLOURS), strict=False):
            outline(axis, one.truth, TRUTH)
            outline(axis, answer, colour)
    return data_url(figure)


def plain(name: str) -> str:
    """A name as matplotlib is to write it: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def _wrap(name: str) -> str:
    return plain(name).replace(" + ", "\n+ ").replace(" (", "\n(")


def display_range(image: np.ndarray) -> tuple[float, float]:
    """What is shown as black and as white."""
    low, high = np.percentile(image, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def loss_curves(run: Run) -> str | None:
    """Every loss of a run over its steps, one small axis each, and its scores, the best epoch's step marked.

    None where it has read no losses.
    """
    readings = list(run.metrics())
    scores = score_histories(readings)
    histories = {**loss_histories(readings), **scores}
    if len(histories) == len(scores):
        return None
    best = run.card.get("best") if run.finished else None
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(columns * 2.6, rows * 1.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(histories) :]:
        axis.set_axis_off()
    for axis, (name, history) in zip(axes.flat, histories.items(), strict=False):
        axis.plot(*zip(*history, strict=True), color=COLOURS[5], linewidth=0.9, marker="." if name in scores else None)
        if best and name in scores:
            axis.axvline(best["step"], color="0.4", linewidth=0.8, linestyle=":")
        axis.set_title(name.replace("_", " "), fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    return data_url(figure)


def roc_curves(all_arms: Sequence[Arm]) -> str | None:
    """ROC of every run, one colour an arm: all of it, and its upper left corner. None where no curve is defined."""
    if not any(card["scores"]["roc"]["fpr"] for arm in all_arms for card in arm.cards):
        return None
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    whole, corner = figure.subplots(1, 2)
    for arm, colour in zip(all_arms, itertools.cycle(COLOURS), strict=False):
        label: str | None = f"{plain(arm.name)} (AUC {arm.mean('auc')})"
        for card in arm.cards:
            curve = card["scores"]["roc"]
            if curve["fpr"]:
                for axis in (whole, corner):
                    axis.plot(curve["fpr"], curve["tpr"], color=colour, linewidth=1.1, label=label)
                label = None
    for axis in (whole, corner):
        axis.set_xlabel("false positive rate")
        axis.set_ylabel("true positive rate")
        axis.grid(alpha=0.3)
    corner.set(xlim=(0, 0.1), ylim=(0.8, 1.005))
    whole.legend(fontsize=7, loc="lower right")
    return data_url(figure)


def patients_plot(all_arms: Sequence[Arm]) -> str:
    """3D Dice of every test patient in every arm: a line a patient."""
    figure = Figure(figsize=(max(4.0, 1.6 * len(all_arms) + 1.5), 3.4), layout="constrained")
    axis = figure.subplots()
    for patient in all_arms[0].by_patient:
        values = [arm.by_patient.get(patient, np.nan) for arm in all_arms]
        axis.plot(range(len(all_arms)), values, color="0.6", linewidth=0.8, marker="o", markersize=3)
    means = [float(np.mean(list(arm.by_patient.values()))) for arm in all_arms]
    axis.plot(range(len(all_arms)), means, color=COLOURS[4], linewidth=2, marker="s", label="mean")
    axis.set_xticks(range(len(all_arms)), [_wrap(arm.name) for arm in all_arms], fontsize=8)
    axis.set_ylabel("3D Dice")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return data_url(figure)
