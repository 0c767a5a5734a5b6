"""Figures on why synthetic slices help or do not: gains by stratum, quality against gain, curves of trainings."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.report.figures import COLOURS, data_url

# Of the span of all means, so much is left free above and below; intervals of few patients reach far beyond.
ROOM = 0.8
LEAST_SPAN = {"": 0.02, "ml": 1.0}
BASE = ("0.1", "0.55", "0.75")
BAND = 0.15
AXES = {"consistency": "label consistency", "frechet": "Fréchet distance (random network)"}

# Arms with their colours.
Coloured = Mapping[str, str]


def coloured(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of a few names."""
    return dict(zip(names, itertools.cycle(COLOURS), strict=False))


def gains(strata: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Differences to the baseline by layer, by area and where the organ is not, with 95 % intervals.

    Args:
        strata: of `why`.
        arms: which to draw, six at most.
    """
    colours = coloured(arms)
    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    layer, area, empty = figure.subplots(1, 3, width_ratios=[2.6, 1.3, 1.0])
    _stratum(layer, strata["layer"], colours)
    layer.set(title="by axial layer (1: feet)", ylabel="change of slice Dice")
    _stratum(area, strata["area"], colours)
    area.set(title="by area in the slice")
    _stratum(empty, strata["empty"], colours)
    empty.set(title="slices without the organ", ylabel="change of ml found in a patient")
    for axis in (layer, area, empty):
        axis.title.set_fontsize(9)
        axis.yaxis.label.set_fontsize(8)
    handles, labels = layer.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=min(len(labels), 3))
    return data_url(figure)


def _stratum(axis: Axes, kind: Mapping[str, Any], colours: Coloured) -> None:
    names = [one["name"] for one in kind["strata"]]
    axis.axhline(0, color="0.4", linewidth=1, linestyle="--")
    means: list[float] = [0.0]
    step = 0.7 / max(len(colours), 1)
    for number, (arm, colour) in enumerate(colours.items()):
        rows = [(place, row) for place, row in enumerate(kind["arms"][arm]) if row["mean"] is not None]
        places = np.array([place for place, _ in rows]) + step * (number - (len(colours) - 1) / 2)
        # Filled where it is shown, hollow where not: visible without colours too.
        for place, (_, row) in zip(places, rows, strict=True):
            if row["low"] is not None and row["high"] is not None:
                axis.vlines(place, row["low"], row["high"], color=colour, linewidth=1.1)
            face = colour if row["verdict"] in ("improves", "hurts") else "white"
            axis.plot(place, row["mean"], "o", color=colour, markerfacecolor=face, markersize=4.5)
            means.append(row["mean"])
        axis.plot([], [], "o", color=colour, label=arm)
    span = max(max(means) - min(means), LEAST_SPAN[kind["unit"]])
    axis.set_ylim(min(means) - ROOM * span, max(means) + ROOM * span)
    axis.set_xticks(range(len(names)), [name.replace(" to ", " to\n").replace(" cm²", "\ncm²") for name in names])
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3, axis="y")


def scatter(points: Sequence[Mapping[str, Any]], translators: Sequence[str]) -> str | None:
    """Gain of each arm in each fold over the quality of its synthetic slices; None where none was measured.

    Args:
        points: of `why`.
        translators: those that have a colour of their own; the others are grey.
    """
    measures = [name for name in AXES if any(point[name] is not None for point in points)]
    if not measures:
        return None
    colours = coloured(translators)
    names = list(dict.fromkeys(point["translator"] for point in points))
    figure = Figure(figsize=(4.2 * len(measures), 3.3), layout="constrained")
    for axis, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for name, marker in zip(names, itertools.cycle("os^Dv*"), strict=False):
            own = [point for point in points if point["translator"] == name and point[measure] is not None]
            xs, ys = [point[measure] for point in own], [point["gain"] for point in own]
            axis.scatter(xs, ys, s=22, color=colours.get(name, "0.6"), marker=marker, alpha=0.85, label=name)
        axis.axhline(0, color="0.4", linewidth=1, linestyle="--")
        axis.set_xlabel(AXES[measure], fontsize=8)
        axis.set_ylabel("gain in 3D Dice in a fold", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=min(len(labels), 5))
    return data_url(figure)


def courses(curves: Mapping[str, Any], arms: Sequence[str], baselines: Sequence[str]) -> str | None:
    """Losses of segmenters over their steps, and scores of translators: the mean of runs in their least and most.

    Args:
        curves: of `why`.
        arms: which to draw, six at most.
        baselines: in black and grey, three at most.
    """
    styles = {**coloured(arms), **dict(zip(baselines, BASE, strict=False))}
    panels = _panels({name: curves["segmenters"][name] for name in styles if name in curves["segmenters"]}, styles)
    panels |= _panels(curves["translators"], coloured(list(curves["translators"])))
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(columns * 3.5, 5.0), rows * 2.7 + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        _curves(axis, title, lines)
    return data_url(figure)


def _panels(curves: Mapping[str, Any], styles: Coloured) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    """By loss or score, the lines of one panel: name, colour, curve."""
    panels: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for name, colour in styles.items():
        for what, curve in curves.get(name, {}).items():
            panels.setdefault(what.replace("_", " "), []).append((name, colour, curve))
    return panels


def _curves(axis: Axes, title: str, lines: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
    for name, colour, curve in lines:
        axis.plot(curve["steps"], curve["mean"], color=colour, linewidth=1.2, label=name)
        axis.fill_between(curve["steps"], curve["low"], curve["high"], color=colour, alpha=BAND, linewidth=0)
    if all(low > 0 for _, _, curve in lines for low in curve["low"]):
        axis.set_yscale("log")
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("steps", fontsize=8)
    axis.tick_params(labelsize=7, which="both")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=6.5)
