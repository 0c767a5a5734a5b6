"""The section "What are the synthetic slices worth?": Dice over labelled patients, a table, and the answer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.html.figures import COLOURS, data_url, escaped, png
from crossmod.html.format import UNDEFINED, Cell, Table, from_to, number, with_interval
from crossmod.report.experiment.data import Experiment
from crossmod.report.experiment.schema import LabelledNumber, WorthAmount, WorthCurve, WorthMap, WorthPoint
from crossmod.report.sections import verdict_label
from crossmod.statistics.worth import Amount, amount_in_words

# Sentences that are read at a glance, and lines that a figure can hold.
GLANCE = 4
LINES = 7
# Colours and shapes of translators and of controls; the target only is black.
STYLES = tuple(zip((COLOURS[5], COLOURS[4], COLOURS[3], COLOURS[2], COLOURS[1], COLOURS[0]), "osD^vP", strict=True))
CONTROLS = (("0.4", "X"), ("0.55", "<"), ("0.65", ">"), ("0.45", "d"), ("0.6", "p"), ("0.7", "h"))
# Bands of more lines would hide each other.
BANDS = 3


def worth_section(experiment: Experiment) -> dict[str, object] | None:
    """The content of the section; None if the experiment does not vary the number of labelled patients."""
    found = experiment.findings.get("worth")
    if not found:
        return None
    target = experiment.findings["target"].upper()
    return {
        "first": found["answer"][:GLANCE],
        "rest": found["answer"][GLANCE:],
        "notes": found["notes"],
        "alt": alt_text(found["answer"][:GLANCE], target),
        "figures": [
            {"name": name if len(_segmenters(found)) > 1 else "", "image": data_url(figure), "left_out": left_out}
            for name in _segmenters(found)
            if (drawn := worth_figure(found, name, target)) is not None
            for figure, left_out in [drawn]
        ],
        "table": worth_table(found, target) if found["curves"] else None,
        "target": target,
    }


def write_worth_figure(found: WorthMap | None, target: str, path: Path) -> None:
    """Write the figure of the first segmenter as a PNG of its own, 1280 pixels wide; nothing without a map."""
    for name in _segmenters(found)[:1] if found else ():
        if found and (drawn := worth_figure(found, name, target)) is not None:
            path.write_bytes(png(drawn[0], dpi=200))


def _segmenters(found: WorthMap) -> list[str]:
    return [*dict.fromkeys(curve["segmenter"] for curve in found["curves"])]


def worth_figure(found: WorthMap, segmenter: str, target: str) -> tuple[Figure, int] | None:
    """Mean 3D Dice over the number of labelled patients, a line per arm; and the number of lines that are left out.

    The numbers are evenly spaced. Bands are 95 % intervals over patients.
    """
    own = [curve for curve in found["curves"] if curve["segmenter"] == segmenter]
    shown = [curve for curve in own if any(_mean(point) is not None for point in curve["points"])][:LINES]
    if not shown:
        return None
    places = {row["labelled"]: place for place, row in enumerate(found["numbers"])}
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    styles, controls = iter(STYLES), iter(CONTROLS)
    for curve in shown:
        only = curve["translator"] is None
        colour, marker = ("black", "o") if only else next(controls if curve["control"] else styles, ("0.5", "."))
        band = only or sum(other["translator"] is not None for other in shown) <= BANDS
        _line(axis, curve, places, colour, marker, band=band)
    axis.set_xticks(range(len(places)), [_tick(row) for row in found["numbers"]], fontsize=10)
    axis.set_xlim(-0.25, len(places) - 0.75)
    axis.set_xlabel(f"labelled {target} patients", fontsize=10)
    axis.set_ylabel("3D Dice", fontsize=10)
    axis.tick_params(axis="y", labelsize=9)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper left", ncols=3 if len(shown) > 2 else 2, fontsize=9, frameon=False)
    return figure, len(own) - len(shown)


def _mean(point: WorthPoint) -> float | None:
    return None if point["dice"] is None else point["dice"]["mean"]


def _line(axis: Axes, curve: WorthCurve, places: dict[str, int], colour: str, marker: str, *, band: bool) -> None:
    points = [point for point in curve["points"] if _mean(point) is not None]
    x = [places[point["labelled"]] for point in points]
    means = np.array([_mean(point) for point in points], dtype=np.float64)
    name = curve["name"] if curve["translator"] is None else f"+ {curve['name']}"
    style = "--" if curve["control"] else "-"
    face = colour if curve["translator"] is None else "white"
    axis.plot(x, means, style, color=colour, linewidth=2, label=escaped(name), marker=marker, markersize=6.5,
              mfc=face, zorder=3)  # fmt: skip
    gaining = [place for place, point in enumerate(points) if (gain := point["gain"]) and gain["verdict"] == "improves"]
    axis.plot([x[i] for i in gaining], means[gaining], marker, color=colour, markersize=6.5, linewidth=0, zorder=4)
    if band:
        ends = np.array(
            [[point["dice"][end] if point["dice"] else None for point in points] for end in ("low", "high")]
        )
        low, high = ends.astype(np.float64)
        axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)


def _tick(row: LabelledNumber) -> str:
    if row["labelled"] == "none":
        return "0"
    if row["labelled"] == "all":
        return f"all ({from_to((row['least'], row['most']))})"
    return row["labelled"]


def worth_table(found: WorthMap, target: str) -> Table:
    """A row per arm: Dice, gain over the target only, and worth."""
    head = (
        "Arm", f"Labelled {target} patients", "Synthetic slices", "3D Dice [95 %]", "Gain [95 %]",
        "Worth, patients [95 %]", "Verdict",
    )  # fmt: skip
    rows: list[list[str | Cell]] = []
    baselines: list[int] = []
    ticks = {row["labelled"]: _tick(row) for row in found["numbers"]}
    for curve in found["curves"]:
        for point in curve["points"]:
            if curve["translator"] is None:
                baselines.append(len(rows))
            rows.append(_row(curve, point, ticks))
    return Table(head, rows, baselines)


def _row(curve: WorthCurve, point: WorthPoint, ticks: dict[str, str]) -> list[str | Cell]:
    gain, dice = point["gain"], with_interval(point["dice"]) if point["dice"] else UNDEFINED
    of_target = curve["translator"] is None
    verdict = Cell("baseline") if of_target else Cell("no baseline")
    text = ""
    if gain is not None:
        verdict = Cell(verdict_label(gain["verdict"], gain.get("scope", "these models")), (), gain["verdict"])
        over = [f"over {point['against']}"] if point["labelled"] == "none" else []
        text = Cell(with_interval(gain, sign=True), over)
    name = f"{'' if of_target else '+ '}{curve['name']}{' (control)' if curve['control'] else ''}"
    slices = number(point["slices"], 0)
    return [name, ticks[point["labelled"]], slices, dice, text, _worth_text(point), verdict]


def _worth_text(point: WorthPoint) -> str:
    found = point["worth"]
    if found is None:
        return ""
    more, low, high = (_words(found["more"]), _words(found["low"]), _words(found["high"]))
    return more if more == low == high else f"{more} [{low}, {high}]"


def _words(amount: WorthAmount) -> str:
    return amount_in_words(Amount(amount["value"], amount["relation"]))


def alt_text(answer: Sequence[str], target: str) -> str:
    """The figure in words."""
    return f"3D Dice over the number of labelled {target} patients, a line per arm. {' '.join(answer)}"
