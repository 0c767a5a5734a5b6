"""Figures of images against images: the layer picture, curves over layers, and averaged spectra."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.evaluation.baseline import UNDIVIDED
from crossmod.evaluation.result import NAMES
from crossmod.metrics.distribution import HIGHER_IS_BETTER, METRICS
from crossmod.metrics.histograms import radial_profile
from crossmod.report.figures import COLOURS, data_url
from crossmod.report.panels import Gray

INCHES = 1.15
# Of the span of all scores, so much is left free above and below; intervals may reach far beyond.
ROOM = 0.6
# A difference of log spectra of so much, a factor of two, is as dark as the colours go.
FURTHEST = 0.3

Spectrum = Float[np.ndarray, "size half"]


def layer_panel(columns: Mapping[str, Sequence[Gray | None]], names: Sequence[str]) -> str:
    """A column a layer, real above synthetic.

    Args:
        columns: layer -> an image a row, in [-1, 1]; None where there is none.
        names: of the rows.
    """
    figure = Figure(figsize=(len(columns) * INCHES + 0.5, len(names) * INCHES + 0.3), layout="constrained")
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for (layer, column), side in zip(columns.items(), axes.T, strict=True):
        for image, axis in zip(column, side, strict=True):
            axis.set(xticks=[], yticks=[], facecolor="0.92")
            axis.spines[:].set_visible(False)
            if image is not None:
                axis.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="bicubic")
            else:
                axis.set_box_aspect(1)
        side[0].set_title(f"layer {layer}", fontsize=8)
    for name, axis in zip(names, axes[:, 0], strict=True):
        axis.set_ylabel(textwrap.fill(name, 16), fontsize=8)
    return data_url(figure)


def layer_curves(card: Mapping[str, Any]) -> str | None:
    """Every metric over the layers with its intervals, a colour a model (Crespi et al., Figs. 5 to 7).

    Ratios to the baseline, whose 1 is real against real; scores of what is not divided.
    """
    metrics = [metric for metric in METRICS if any(v is not None for v in _curve(card["baseline"], metric)[0])]
    if not metrics:
        return None
    columns = min(4, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(columns * 2.7, rows * 2.1 + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(metrics) :]:
        axis.set_axis_off()
    for axis, metric in zip(axes.flat, metrics, strict=False):
        _one_metric(axis, card, metric)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=min(len(labels), 5))
    return data_url(figure)


def _one_metric(axis: Axes, card: Mapping[str, Any], metric: str) -> None:
    undivided = metric in UNDIVIDED
    side = "scores" if undivided else "ratios"
    tops, bottoms = [1.0] if not undivided else [], [1.0] if not undivided else []
    if undivided:
        _draw(axis, card["baseline"], metric, "0.4", 0.0, "real against real")
    else:
        axis.axhline(1, color="0.4", linewidth=1, linestyle="--", label="real against real")
    models = card["models"]
    for number, ((name, model), colour) in enumerate(zip(models.items(), itertools.cycle(COLOURS), strict=False)):
        values = _draw(axis, model[side], metric, colour, 0.12 * (number - (len(models) - 1) / 2), name)
        known = [value for value in values if value is not None]
        tops += known
        bottoms += known
    if tops:
        span = max(max(tops) - min(bottoms), 0.05 * abs(max(tops)), 1e-9)
        # Intervals may be far longer than all differences of models.
        low = min(bottoms) - ROOM * span
        axis.set_ylim(low if undivided else max(low, 0.0), max(tops) + ROOM * span)
    arrow = "higher is nearer" if metric in HIGHER_IS_BETTER else "lower is nearer"
    axis.set_title(f"{NAMES[metric]}{' (score)' if undivided else ''}\n{arrow}", fontsize=8)
    axis.set_xticks(range(1, 11))
    axis.tick_params(labelsize=7)
    axis.set_xlim(0.5, 10.5)
    axis.grid(alpha=0.3)


def _draw(
    axis: Axes, table: Mapping[str, Any], metric: str, colour: str, offset: float, name: str
) -> list[float | None]:
    values, lows, highs = _curve(table, metric)
    layers = np.arange(1, len(values) + 1) + offset
    middle, low, high = (np.array([np.nan if v is None else v for v in side]) for side in (values, lows, highs))
    axis.plot(layers, middle, color=colour, linewidth=1.1, marker="o", markersize=2.5, label=name)
    # An end that is not there leaves no bar. The score may lie at its limit, where the end is the score itself.
    known = ~(np.isnan(low) | np.isnan(high) | np.isnan(middle))
    axis.vlines(layers[known], low[known], high[known], color=colour, linewidth=0.8, alpha=0.7)
    return values


def _curve(table: Mapping[str, Any], metric: str) -> tuple[list[float | None], list[float | None], list[float | None]]:
    rows = [table["layers"][str(layer)][metric] for layer in range(1, 11)]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def spectra(averages: Mapping[str, Spectrum]) -> str:
    """Averaged log spectra, how each differs from the first, and all as radial profiles (Crespi et al., Fig. 8)."""
    names = list(averages)
    reference = averages[names[0]]
    figure = Figure(figsize=(len(names) * 1.7 + 3.6, 3.7), layout="constrained")
    axes = figure.subplot_mosaic(
        [[*(f"spectrum {name}" for name in names), "profile"], [*(f"difference {name}" for name in names), "profile"]],
        width_ratios=[1] * len(names) + [2],
    )
    low, high = (float(end) for end in np.percentile(reference, (1, 99.8)))
    for name in names:
        top, below = axes[f"spectrum {name}"], axes[f"difference {name}"]
        top.imshow(full_plane(averages[name]), cmap="magma", vmin=low, vmax=high)
        top.set_title(textwrap.fill(name, 18), fontsize=8)
        for axis in (top, below):
            axis.set_axis_off()
        if name != names[0]:
            apart = full_plane(averages[name] - reference)
            below.imshow(apart, cmap="RdBu_r", vmin=-FURTHEST, vmax=FURTHEST)
            below.set_title("minus real", fontsize=7)
    axis = axes["profile"]
    styles = zip(names, ("0.1", "0.6", *itertools.islice(itertools.cycle(COLOURS), len(names))), strict=False)
    for name, colour in styles:
        profile = radial_profile(averages[name])
        axis.plot(np.arange(1, len(profile) + 1), profile, color=colour, linewidth=1.2, label=name)
    axis.set_xlabel("periods across the slice", fontsize=8)
    axis.set_ylabel("mean of log10 magnitude", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return data_url(figure)


def full_plane(half: Spectrum) -> Float[np.ndarray, "size size"]:
    """All frequencies of a slice, the mean in the middle: the magnitude at (-r, -c) is that at (r, c)."""
    size = half.shape[0]
    rows = np.arange(size)
    columns = np.arange(size)
    mirrored = columns > size // 2
    r = np.where(mirrored[None], -rows[:, None] % size, rows[:, None])
    c = np.where(mirrored, size - columns, columns)[None]
    return np.fft.fftshift(half[r, np.broadcast_to(c, r.shape)])
