"""Why synthetic slices help or do not: figures and text of an experiment's analysis."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.slices import spread
from crossmod.html.format import count, listed, number, with_interval
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
    for place_of_arm, (arm, colour) in enumerate(colours.items()):
        rows = [(place, row) for place, row in enumerate(kind["arms"][arm]) if row["mean"] is not None]
        places = np.array([place for place, _ in rows]) + step * (place_of_arm - (len(colours) - 1) / 2)
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
        _curve_figure(axis, title, lines)
    return data_url(figure)


def _panels(curves: Mapping[str, Any], styles: Coloured) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    """By loss or score, the lines of one panel: name, colour, curve."""
    panels: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for name, colour in styles.items():
        for what, curve in curves.get(name, {}).items():
            panels.setdefault(what.replace("_", " "), []).append((name, colour, curve))
    return panels


def _curve_figure(axis: Axes, title: str, lines: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
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


# So many arms are drawn; colours of more could not be distinguished.
DRAWN = 6
LINES = 4
# A loss that falls by so much over the last fifth of a training has not come to its end.
FALLING, SINCE = 0.1, 0.8
SHOWN = ("improves", "hurts")
KINDS = {"layer": ("layer", "axial layer"), "area": ("slices of", "size of the organ")}


def why_section(findings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template `experiment_why.html` shows; None where nothing was found out.

    Args:
        findings: of an experiment; its `why` is looked at.
    """
    why = findings.get("why")
    if not why or not any(why.get(part) for part in ("strata", "quality", "curves", "notes")):
        return None
    names = list(why["strata"]["layer"]["arms"]) if why["strata"] else list((why["quality"] or {"arms": {}})["arms"])
    drawn = [names[place] for place in spread(len(names), DRAWN)] if names else []
    baselines = [one["name"] for one in findings.get("arms", ()) if one["baseline"] is None]
    return {
        "notes": why["notes"],
        "drawn": f"{len(drawn)} of {len(names)} arms are drawn." if len(drawn) < len(names) else "",
        "organ": findings.get("organ", "organ"),
        "strata": _strata(why["strata"], drawn) if why["strata"] and names else None,
        "patients": _patients(why["strata"]["patient"], drawn) if why["strata"] and names else None,
        "quality": _quality(why["quality"]) if why["quality"] else None,
        "curves": _curves(why["curves"], drawn, baselines) if why["curves"] else None,
    }


def _strata(strata: Mapping[str, Any], drawn: Sequence[str]) -> dict[str, Any]:
    rules = ", ".join(f"{rule} ({cases})" for rule, cases in strata["layer"]["rules"].items())
    return {
        "figure": gains(strata, drawn),
        "lines": [line for kind in KINDS for line in _stands_out(kind, strata[kind])] + _found(strata["empty"]),
        "rules": rules,
        "tables": [_table(kind, strata[kind], drawn) for kind in ("layer", "area", "empty")],
    }


def _stands_out(kind: str, found: Mapping[str, Any]) -> list[str]:
    """Which strata's changes are shown, a line an arm."""
    short, long = KINDS[kind]
    lines = []
    for arm, rows in found["arms"].items():
        told = [
            f"{short} {stratum['name']} by {with_interval(row, sign=True)}"
            for stratum, row in zip(found["strata"], rows, strict=True)
            if row["verdict"] in SHOWN
        ]
        if told:
            lines.append(f"{arm}: slice Dice changes in {'; '.join(told)}.")
    return _some(lines) or [f"No {long} stands out: in none of them is a change of any arm shown."]


def _found(found: Mapping[str, Any]) -> list[str]:
    """Which arms find more or less where nothing is."""
    if not found["strata"][0]["slices"]:
        return ["No slice without the organ was tested, so that nothing can be said of what is found there."]
    lines = [
        f"{arm}: finds {'more' if row['mean'] > 0 else 'less'} where nothing is: {row['arm']:.1f} ml in a patient, "
        f"{row['base']:.1f} ml without synthetic slices ({with_interval(row, 1, sign=True)})."
        for arm, (row,) in found["arms"].items()
        if row["verdict"] in SHOWN
    ]
    return _some(lines) or ["In slices without the organ, no arm's change of what is found there is shown."]


def _some(lines: Sequence[str]) -> list[str]:
    left = len(lines) - LINES
    more = [f"And {count(left, 'arm')} more, of which findings.json tells."] if left > 0 else []
    return [*lines[:LINES], *more]


def _table(kind: str, found: Mapping[str, Any], drawn: Sequence[str]) -> dict[str, Any]:
    digits = 1 if kind == "empty" else 3
    rows = []
    for place, stratum in enumerate(found["strata"]):
        own = [found["arms"][arm][place] for arm in drawn]
        cells = [f"{number(row['base'], digits)} → {number(row['arm'], digits)}" for row in own]
        ends = [with_interval(row, digits, sign=True) for row in own]
        name = f"{'layer ' if kind == 'layer' else ''}{stratum['name']}{', ml' if kind == 'empty' else ''}"
        cells = list(zip(cells, ends, strict=True))
        rows.append({"name": name, "slices": stratum["slices"], "patients": stratum["patients"], "cells": cells})
    return {"arms": list(drawn), "rows": rows}


def _patients(found: Mapping[str, Any], drawn: Sequence[str]) -> dict[str, Any]:
    arms = [arm for arm in drawn if arm in found]
    lines = []
    for arm in arms:
        known = [row for row in found[arm] if row["difference"] is not None]
        if known:
            best, worst = (choose(known, key=lambda row: row["difference"]) for choose in (max, min))
            low, high = (f"{row['difference']:+.3f} ({row['patient']})" for row in (worst, best))
            gaining = sum(row["difference"] > 0 for row in known)
            lines.append(f"{arm}: {gaining} of {count(len(known), 'patient')} gain; from {low} to {high}.")
    # Patients of the first arm: all arms are tested on the same ones.
    rows = [
        {
            **{name: row[name] for name in ("patient", "fold", "slices")},
            "cells": [_signed(found[arm][place]["difference"]) for arm in arms],
        }
        for place, row in enumerate(found[arms[0]] if arms else ())
        if all(len(found[arm]) > place and found[arm][place]["patient"] == row["patient"] for arm in arms)
    ]
    return {"arms": arms, "rows": rows, "lines": lines}


def _signed(value: float | None) -> str:
    return number(value) if value is None else f"{value:+.3f}"


def _quality(quality: Mapping[str, Any]) -> dict[str, Any]:
    points = quality["points"]
    translators = list(dict.fromkeys(point["translator"] for point in points))
    relations = quality["relations"]
    return {
        "figure": scatter(points, translators[:DRAWN]),
        "lines": [
            f"Label consistency and gain: {relations['consistency']['words']}",
            f"Fréchet distance and gain: {relations['frechet']['words']}",
        ],
        "number": quality["frechet_slices"],
        "detector": quality["detector"],
        "rows": [
            {
                "arm": arm,
                "slices": number(row["slices"], 0),
                "consistency": number(row["consistency"]),
                "low": "undefined" if row["low"] is None else f"{row['low']:.0%}",
                "frechet": number(row["frechet"], 2),
                "shift": f"{row['rows']:+.1f}, {row['columns']:+.1f}",
            }
            for arm, row in quality["arms"].items()
        ],
    }


def _curves(curves: Mapping[str, Any], drawn: Sequence[str], baselines: Sequence[str]) -> dict[str, Any] | None:
    figure = courses(curves, drawn, baselines[: len(BASE)])
    if figure is None:
        return None
    falling = [arm for arm, losses in curves["segmenters"].items() if any(map(_still_falling, losses.values()))]
    said = (
        f"A loss still fell by more than a tenth over the last fifth of the training in {listed(falling)}: "
        "longer training may change what is compared here."
        if falling
        else "No arm's loss fell by more than a tenth over the last fifth of the training."
    )
    return {"figure": figure, "lines": [said]}


def _still_falling(curve: Mapping[str, Any]) -> bool:
    steps, means = curve["steps"], curve["mean"]
    before = [mean for step, mean in zip(steps, means, strict=True) if step <= SINCE * steps[-1]]
    return bool(before) and means[-1] < (1 - FALLING) * before[-1]
