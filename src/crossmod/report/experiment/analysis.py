"""Why synthetic slices help or do not: figures and text of an experiment's analysis."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.slices import spread
from crossmod.html.figures import COLOURS, data_url, legend_below, panels
from crossmod.html.format import UNDEFINED, Cell, Table, count, listed, number, with_interval
from crossmod.report.experiment.schema import (
    AllStrata,
    Findings,
    PatientRow,
    Quality,
    QualityPoint,
    RunCurve,
    Strata,
    TrainingCurves,
)

# The share of the span of all means that is left free above and below; intervals of few patients reach far beyond.
ROOM = 0.8
LEAST_SPAN = {"": 0.02, "ml": 1.0}
BASE = ("0.1", "0.55", "0.75")
BAND = 0.15
AXES = {
    "consistency": "label consistency",
    "measured": "Dice by a segmenter of real labels",
    "frechet": "Fréchet distance (random network)",
}

# Arms with their colours.
Coloured = Mapping[str, str]
# Name, colour and points of a curve.
Line = tuple[str, str, RunCurve]


def coloured(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of a few names."""
    return dict(zip(names, itertools.cycle(COLOURS), strict=False))


def gains(strata: AllStrata, arms: Sequence[str]) -> str:
    """Differences to the baseline by layer, by area and in slices without the organ, with 95 % intervals."""
    colours = coloured(arms)
    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    layer, area, empty = figure.subplots(1, 3, width_ratios=[2.6, 1.3, 1.0])
    for axis, kind, title, what in (
        (layer, "layer", "by axial layer (1: feet)", "change of slice Dice"),
        (area, "area", "by area in the slice", ""),
        (empty, "empty", "slices without the organ", "change of ml found in a patient"),
    ):
        _stratum(axis, strata[kind], colours)
        axis.set_title(title, fontsize=9)
        axis.set_ylabel(what, fontsize=8)
    legend_below(figure, layer, 3)
    return data_url(figure)


def _stratum(axis: Axes, kind: Strata, colours: Coloured) -> None:
    names = [stratum["name"] for stratum in kind["strata"]]
    axis.axhline(0, color="0.4", linewidth=1, linestyle="--")
    means: list[float] = [0.0]
    step = 0.7 / max(len(colours), 1)
    for place_of_arm, (arm, colour) in enumerate(colours.items()):
        shift = step * (place_of_arm - (len(colours) - 1) / 2)
        # Filled if shown, hollow if not: visible without colours too.
        for place, row in enumerate(kind["arms"][arm]):
            mean = row["mean"]
            if mean is None:
                continue
            if row["low"] is not None and row["high"] is not None:
                axis.vlines(place + shift, row["low"], row["high"], color=colour, linewidth=1.1)
            face = colour if row["verdict"] in ("improves", "hurts") else "white"
            axis.plot(place + shift, mean, "o", color=colour, markerfacecolor=face, markersize=4.5)
            means.append(mean)
        axis.plot([], [], "o", color=colour, label=arm)
    span = max(max(means) - min(means), LEAST_SPAN[kind["unit"]])
    axis.set_ylim(min(means) - ROOM * span, max(means) + ROOM * span)
    axis.set_xticks(range(len(names)), [name.replace(" to ", " to\n").replace(" cm²", "\ncm²") for name in names])
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3, axis="y")


def scatter(points: Sequence[QualityPoint], translators: Sequence[str]) -> str | None:
    """Gain of each arm in each fold over the quality of its synthetic slices; None if none was measured."""
    measures = [name for name in AXES if any(point.get(name) is not None for point in points)]
    if not measures:
        return None
    colours = coloured(translators)
    names = list(dict.fromkeys(point["translator"] for point in points))
    figure, axes = panels(len(measures), len(measures), 4.2, 3.3)
    for axis, measure in zip(axes, measures, strict=True):
        for name, marker in zip(names, itertools.cycle("os^Dv*"), strict=False):
            own = [point for point in points if point["translator"] == name and point.get(measure) is not None]
            xs, ys = [point[measure] for point in own], [point["gain"] for point in own]
            axis.scatter(xs, ys, s=22, color=colours.get(name, "0.6"), marker=marker, alpha=0.85, label=name)
        axis.axhline(0, color="0.4", linewidth=1, linestyle="--")
        axis.set_xlabel(AXES[measure], fontsize=8)
        axis.set_ylabel("gain in 3D Dice in a fold", fontsize=8)
    legend_below(figure, axes[0])
    return data_url(figure)


def training_curves(curves: TrainingCurves, arms: Sequence[str], baselines: Sequence[str]) -> str | None:
    """Losses of segmenters and scores of translators over steps; at most six arms in colour, baselines in grey."""
    styles = {**coloured(arms), **dict(zip(baselines, BASE, strict=False))}
    lines = _lines(curves["segmenters"], styles)
    lines |= _lines(curves["translators"], coloured(list(curves["translators"])))
    if not lines:
        return None
    figure, axes = panels(len(lines), 3, 3.5, 2.7, least=5.0, more=0.4)
    for axis, (title, own) in zip(axes, lines.items(), strict=True):
        _curve_figure(axis, title, own)
    return data_url(figure)


def _lines(curves: Mapping[str, Mapping[str, RunCurve]], styles: Coloured) -> dict[str, list[Line]]:
    """By loss or score, the lines of one panel."""
    lines: dict[str, list[Line]] = {}
    for name, colour in styles.items():
        for what, curve in curves.get(name, {}).items():
            lines.setdefault(what.replace("_", " "), []).append((name, colour, curve))
    return lines


def _curve_figure(axis: Axes, title: str, lines: Sequence[Line]) -> None:
    for name, colour, curve in lines:
        axis.plot(curve["steps"], curve["mean"], color=colour, linewidth=1.2, label=name)
        axis.fill_between(curve["steps"], curve["low"], curve["high"], color=colour, alpha=BAND, linewidth=0)
    if all(low > 0 for _, _, curve in lines for low in curve["low"]):
        axis.set_yscale("log")
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("steps", fontsize=8)
    axis.legend(fontsize=6.5)


# Arms that are drawn; colours of more could not be distinguished.
DRAWN = 6
LINES = 4
# A loss that falls by this share over the last fifth of a training has not converged.
FALLING, SINCE = 0.1, 0.8
SHOWN = ("improves", "hurts")
KINDS = {"layer": ("layer", "axial layer"), "area": ("slices of", "size of the organ")}


def why_section(findings: Findings) -> dict[str, object] | None:
    """The parts of the template `experiment_why.html` from an experiment's findings; None without an analysis."""
    why = findings.get("why")
    if not why or not any(why.get(part) for part in ("strata", "quality", "curves", "notes")):
        return None
    names = list(why["strata"]["layer"]["arms"]) if why["strata"] else list((why["quality"] or {"arms": {}})["arms"])
    drawn = [names[place] for place in spread(len(names), DRAWN)] if names else []
    baselines = [arm["name"] for arm in findings.get("arms", ()) if arm["baseline"] is None]
    several = any(arm.get("organs") for arm in findings["arms"])
    organ = "organs" if several else findings.get("organ", "organ")
    return {
        "notes": why["notes"],
        "drawn": f"{len(drawn)} of {len(names)} arms are drawn." if len(drawn) < len(names) else "",
        "organ": organ,
        "strata": _strata(why["strata"], drawn) if why["strata"] and names else None,
        "patients": _patients(why["strata"]["patient"], drawn, organ) if why["strata"] and names else None,
        "quality": _quality(why["quality"]) if why["quality"] else None,
        "curves": _curves(why["curves"], drawn, baselines) if why["curves"] else None,
    }


def _strata(strata: AllStrata, drawn: Sequence[str]) -> dict[str, object]:
    rules = ", ".join(f"{rule} ({cases})" for rule, cases in strata["layer"].get("rules", {}).items())
    return {
        "figure": gains(strata, drawn),
        "lines": [line for kind in KINDS for line in _stands_out(kind, strata[kind])] + _found(strata["empty"]),
        "rules": rules,
        "tables": [_table(kind, strata[kind], drawn) for kind in ("layer", "area", "empty")],
    }


def _stands_out(kind: str, found: Strata) -> list[str]:
    """The strata whose changes are shown, a line per arm."""
    short, long = KINDS[kind]
    lines = []
    for arm, rows in found["arms"].items():
        changes = [
            f"{short} {stratum['name']} by {with_interval(row, sign=True)}"
            for stratum, row in zip(found["strata"], rows, strict=True)
            if row["verdict"] in SHOWN
        ]
        if changes:
            lines.append(f"{arm}: slice Dice changes in {'; '.join(changes)}.")
    return _some(lines) or [f"No {long} stands out: in none of them is a change of any arm shown."]


def _found(found: Strata) -> list[str]:
    """The arms that find more or less in slices without the organ."""
    if not found["strata"][0]["slices"]:
        return ["No slice without the organ was tested, so that nothing is known about false positives there."]
    lines = [
        f"{arm}: finds {'more' if (row['mean'] or 0.0) > 0 else 'less'} in slices without the organ: {row['arm']:.1f} "
        f"ml per patient, {row['base']:.1f} ml without synthetic slices ({with_interval(row, 1, sign=True)})."
        for arm, (row,) in found["arms"].items()
        if row["verdict"] in SHOWN
    ]
    return _some(lines) or ["In slices without the organ, no arm's change of what is found there is shown."]


def _some(lines: Sequence[str]) -> list[str]:
    left = len(lines) - LINES
    more = [f"And {count(left, 'arm')} more in findings.json."] if left > 0 else []
    return [*lines[:LINES], *more]


def _table(kind: str, found: Strata, drawn: Sequence[str]) -> Table:
    digits = 1 if kind == "empty" else 3
    rows: list[list[str | Cell]] = []
    for place, stratum in enumerate(found["strata"]):
        name = f"{'layer ' if kind == 'layer' else ''}{stratum['name']}{', ml' if kind == 'empty' else ''}"
        own = [found["arms"][arm][place] for arm in drawn]
        cells = [
            Cell(
                f"{number(row['base'], digits)} → {number(row['arm'], digits)}",
                (with_interval(row, digits, sign=True),),
            )
            for row in own
        ]
        rows.append([name, str(stratum["slices"]), str(stratum["patients"]), *cells])
    return Table(["Stratum", "Slices", "Patients", *drawn], rows)


def _patients(found: Mapping[str, Sequence[PatientRow]], drawn: Sequence[str], organ: str) -> dict[str, object]:
    arms = [arm for arm in drawn if arm in found]
    lines = []
    for arm in arms:
        known = {row["patient"]: row["difference"] for row in found[arm] if row["difference"] is not None}
        if known:
            worst, best = (choose(known, key=lambda name: known[name]) for choose in (min, max))
            low, high = (f"{known[name]:+.3f} ({name})" for name in (worst, best))
            gaining = sum(difference > 0 for difference in known.values())
            lines.append(f"{arm}: {gaining} of {count(len(known), 'patient')} gain; from {low} to {high}.")
    # Patients of the first arm: all arms are tested on the same ones.
    rows = [
        [row["patient"], str(row["fold"]), str(row["slices"]), *(number(each["difference"], sign=True) for each in own)]
        for row, *others in zip(*(found[arm] for arm in arms), strict=False)
        if all(other["patient"] == row["patient"] for other in others)
        for own in [(row, *others)]
    ]
    return {"table": Table(["Patient", "Fold", f"Slices with {organ}", *arms], rows), "lines": lines}


def _quality(quality: Quality) -> dict[str, object]:
    points = quality["points"]
    translators = list(dict.fromkeys(point["translator"] for point in points))
    relations = quality["relations"]
    rows = [
        [
            arm,
            number(row["slices"], 0),
            number(row["consistency"]),
            UNDEFINED if row["low"] is None else f"{row['low']:.0%}",
            number(row.get("judged")),
            number(row.get("measured")),
            _mm(row.get("measured_rows"), row.get("measured_columns")),
            number(row["frechet"], 2),
            f"{row['rows']:+.1f}, {row['columns']:+.1f}",
        ]
        for arm, row in quality["arms"].items()
    ]
    return {
        "figure": scatter(points, translators[:DRAWN]),
        "lines": [
            f"{title[0].upper()}{title[1:]} and gain: {relations[measure]['words']}"
            for measure, title in AXES.items()
            if measure in relations
        ],
        "number": quality["frechet_slices"],
        "detector": quality["detector"],
        "table": Table(
            (
                *("Arm", "Synthetic slices", "Label consistency", "under 0.5", "Judge", "Segmenter of real labels"),
                *("Its shift: down, right (mm)", "Fréchet distance", "Shift of edges: rows, columns"),
            ),
            rows,
        ),
    }


def _mm(rows: float | None, columns: float | None) -> str:
    return UNDEFINED if rows is None or columns is None else f"{rows:+.1f}, {columns:+.1f}"


def _curves(curves: TrainingCurves, drawn: Sequence[str], baselines: Sequence[str]) -> dict[str, object] | None:
    figure = training_curves(curves, drawn, baselines[: len(BASE)])
    if figure is None:
        return None
    falling = [arm for arm, losses in curves["segmenters"].items() if any(map(_still_falling, losses.values()))]
    line = (
        f"A loss still fell by more than a tenth over the last fifth of the training in {listed(falling)}: "
        "longer training may change what is compared here."
        if falling
        else "No arm's loss fell by more than a tenth over the last fifth of the training."
    )
    return {"figure": figure, "lines": [line]}


def _still_falling(curve: RunCurve) -> bool:
    steps, means = curve["steps"], curve["mean"]
    before = [mean for step, mean in zip(steps, means, strict=True) if step <= SINCE * steps[-1]]
    return bool(before) and means[-1] < (1 - FALLING) * before[-1]
