"""The report of an analysis: figures and one HTML page."""

import base64
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.html.page import write_page
from crossmod.reader.analysis import summary as published
from crossmod.reader.analysis.accuracy import COLUMNS
from crossmod.reader.analysis.equivalence import percent, with_ends
from crossmod.reader.analysis.summary import ALL_SURVEYS

# Okabe and Ito's palette: told apart by colour-blind readers too.
REAL, SYNTHETIC, UNSURE, BOTH = "#0072B2", "#E69F00", "#BBBBBB", "#1d232b"
CLASSES = (("real", REAL), ("synthetic", SYNTHETIC))
POINT: dict[str, Any] = {"markersize": 4.5, "capsize": 2.5}
GUESSING: dict[str, Any] = {"color": "#D55E00", "linewidth": 1, "linestyle": "--", "zorder": 0}


def _data_url(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _plain(name: str, width: int = 24) -> str:
    """A name as matplotlib is to write it: a dollar sign would begin a formula."""
    return textwrap.fill(textwrap.shorten(name, 3 * width, placeholder=" ..."), width).replace("$", r"\$")


def _each(surveys: Mapping[str, Any], draw: Callable[[Axes, Any], None], height: float = 2.9) -> dict[str, str]:
    """A figure a survey, so that a telephone shows them below one another, and words large enough."""
    urls = {}
    for name, one in surveys.items():
        figure = Figure(figsize=(4.4, height), layout="constrained")
        axis = figure.subplots()
        draw(axis, one)
        axis.tick_params(labelsize=8)
        urls[name] = _data_url(figure)
    return urls


def by_survey(surveys: Mapping[str, Any]) -> str:
    """Percent correct with clustered intervals: all, real, synthetic; a line a survey."""
    figure = Figure(figsize=(5.6, 0.62 * len(surveys) + 1.1), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(surveys))[::-1]
    for shift, (column, colour) in zip((0.22, 0.0, -0.22), (("all", BOTH), *CLASSES), strict=True):
        shares = [one["table_2"]["left_out"][column] for one in surveys.values()]
        values, reach = _reach(shares, "clustered")
        axis.errorbar(values, places + shift, xerr=reach, fmt="o", color=colour, label=column, **POINT)
    axis.set_yticks(places, [_plain(name) for name in surveys], fontsize=9)
    axis.set_ylim(-0.6, len(surveys) - 0.4)
    axis.axvline(50, **GUESSING)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("percent correct", fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return _data_url(figure)


def _reach(shares: Sequence[Any], ends: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares in percent, and how far their intervals go down and up; not at all where there is none."""
    values = 100 * np.array([share["estimate"] for share in shares], dtype=np.float64)
    limits = 100 * np.array([share[ends] for share in shares], dtype=np.float64).reshape(-1, 2)
    limits = np.where(np.isfinite(limits), limits, values[:, None])
    # An end may pass the estimate by a rounding.
    return values, np.maximum(np.stack([values - limits[:, 0], limits[:, 1] - values]), 0)


def _bars(axis: Axes, shares: Sequence[Any]) -> None:
    """Points with Wilson's intervals, from left to right."""
    values, reach = _reach(shares, "wilson")
    axis.errorbar(np.arange(len(shares)), values, yerr=reach, fmt="o", color=BOTH, **POINT)
    axis.axhline(50, **GUESSING)
    axis.set_ylim(-3, 103)
    axis.set_ylabel("percent correct")
    axis.grid(axis="y", alpha=0.3)


def by_reader(surveys: Mapping[str, Any]) -> dict[str, str]:
    """Percent correct of each reader, a dot each, from low to high."""

    def draw(axis: Axes, one: Any) -> None:
        rows = [row for row in one["by_reader"] if row["shares"]["all"]["answers"]]
        rows.sort(key=lambda row: row["shares"]["all"]["estimate"])
        _bars(axis, [row["shares"]["all"] for row in rows])
        many = len(rows) > 15
        labels = [] if many else [_plain(row["reader"], 18) for row in rows]
        axis.set_xticks([] if many else range(len(rows)), labels, rotation=60, ha="right", rotation_mode="anchor")

    return _each(surveys, draw, 3.2)


def by_layer(surveys: Mapping[str, Any]) -> dict[str, str]:
    """Percent correct by axial layer."""

    def draw(axis: Axes, one: Any) -> None:
        rows = [row for row in one["layers"] if row["answers"]]
        _bars(axis, rows)
        axis.set_xticks(range(len(rows)), [str(row["layer"] or "?") for row in rows])
        axis.set_xlabel("axial layer", fontsize=9)

    return _each(surveys, draw)


def confusion(surveys: Mapping[str, Any]) -> dict[str, str]:
    """What was answered, by class."""

    def draw(axis: Axes, one: Any) -> None:
        counts, below = np.array(one["counts"]), np.zeros(2)
        for column, (label, colour) in enumerate((*CLASSES, ("cannot tell", UNSURE))):
            axis.barh([1, 0], counts[:, column], left=below, color=colour, label=f"said {label}", height=0.6)
            for place, count, start in zip((1, 0), counts[:, column], below, strict=True):
                if count > 0.06 * counts.sum(axis=1).max():
                    ink = "white" if colour == REAL else "black"
                    axis.text(start + count / 2, place, str(count), ha="center", va="center", fontsize=8, color=ink)
            below = below + counts[:, column]
        axis.set_yticks([1, 0], ["real", "synthetic"])
        axis.set_xlabel("answers", fontsize=9)
        axis.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.28), frameon=False)

    return _each(surveys, draw, 2.2)


def times(surveys: Mapping[str, Any]) -> dict[str, str]:
    """Median and quartiles of the time an answer took, by class and outcome."""
    known = {name: one for name, one in surveys.items() if one["seconds"]["all"]["answers"]}

    def draw(axis: Axes, one: Any) -> None:
        kinds = ("real", "synthetic", "right", "wrong", "cannot tell")
        rows = [(kind, one["seconds"][kind]) for kind in kinds if one["seconds"][kind]["answers"]]
        places = np.arange(len(rows))[::-1]
        medians = np.array([row["median"] for _, row in rows])
        quartiles = np.array([row["quartiles"] for _, row in rows])
        reach = np.stack([medians - quartiles[:, 0], quartiles[:, 1] - medians])
        axis.errorbar(medians, places, xerr=reach, fmt="o", color=BOTH, **POINT)
        axis.set_yticks(places, [f"{kind} scans" if kind in ("real", "synthetic") else kind for kind, _ in rows])
        axis.set_xlim(left=0)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xlabel("seconds an answer: median and quartiles", fontsize=9)
        axis.grid(axis="x", alpha=0.3)

    return _each(known, draw, 2.2)


UNDEFINED = "undefined"


def number(value: float, digits: int = 2) -> str:
    """A number, or that there is none."""
    # 0 is added since -0.0 would be printed with its sign.
    return UNDEFINED if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def value(estimate: float, interval: Sequence[float], digits: int = 2) -> str:
    """A number with its interval, where it has one."""
    if math.isnan(estimate):
        return UNDEFINED
    if not all(math.isfinite(end) for end in interval):
        return f"{number(estimate, digits)} [no interval]"
    return f"{number(estimate, digits)} [{number(interval[0], digits)}, {number(interval[1], digits)}]"


def points(difference: float, interval: Sequence[float]) -> str:
    """A difference of shares in points of percent."""
    return value(100 * difference, [100 * end for end in interval], 1)


def between(interval: Sequence[float]) -> str:
    """An interval of a share."""
    if not all(math.isfinite(end) for end in interval):
        return "no interval"
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def p_value(p: float) -> str:
    """P as it is printed: never 0."""
    return "no test" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def time(seconds: float | None) -> str:
    """Seconds of an answer."""
    return "not known" if seconds is None else f"{seconds:.1f} s"


def write_report(found: Mapping[str, Any], out: Path) -> None:
    """Fill the template; text is escaped, and a name that the template misses is an error.

    Args:
        found: of `gather.everything`.
        out: the file.
    """
    surveys = {name: one for name, one in found["surveys"].items() if name != ALL_SURVEYS}
    write_page(
        "crossmod.reader.analysis",
        "report.html",
        out,
        surveys=surveys,
        everything=found["surveys"],
        columns=COLUMNS,
        warnings=[f"{name}: {line}" for name, one in found["surveys"].items() for line in one["cautions"]],
        published_tests=published_tests(len(surveys)),
        any_realism=any(one["realism"] for one in surveys.values()),
        any_regions=any(one["regions"] for one in surveys.values()),
        figures={
            "by_survey": by_survey(found["surveys"]),
            "by_reader": by_reader(surveys),
            "by_layer": by_layer(surveys),
            "confusion": confusion(surveys),
            "times": times(surveys),
        },
        share=lambda estimate, interval: with_ends(estimate, interval, 1),
        percent=percent,
        points=points,
        value=value,
        number=number,
        p=p_value,
        range=between,
        time=time,
        **{
            key: found[key] for key in ("verdicts", "table_3", "pairs", "reasons", "published", "cannot_tell", "margin")
        },
        draws=f"{found['draws']:,}",
    )


def published_tests(surveys: int) -> list[dict[str, Any]]:
    """Table 3 of Crespi et al. by row; of one survey alone, without what compares several."""
    names = published.SURVEYS
    rows = [(f"{name}: real vs synthetic", p) for name, p in zip(names, published.WITHIN, strict=True)]
    if surveys > 1:
        rows.append(("all surveys: real vs synthetic", published.OVER_ALL))
        rows += [(f"{names[first]} vs {names[second]}", p) for (first, second), p in published.PAIRS.items()]
    return [{"name": name, "p": [f"{one:.3f}" for one in p]} for name, p in rows]
