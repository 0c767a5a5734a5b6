"""The report of an analysis: figures and one HTML page."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.html.figures import data_url, escaped
from crossmod.html.format import between, number, p_value
from crossmod.html.page import write_page
from crossmod.reader.analysis import summary
from crossmod.reader.analysis.accuracy import COLUMNS, Portion, percent, range_of, with_ends
from crossmod.reader.analysis.summary import ALL_SURVEYS, Analysis, SurveyResult

# Okabe and Ito's palette: colour-blind readers can distinguish it.
REAL, SYNTHETIC, UNSURE, BOTH = "#0072B2", "#E69F00", "#BBBBBB", "#1d232b"
CLASSES = (("real", REAL), ("synthetic", SYNTHETIC))
Surveys = Mapping[str, SurveyResult]
POINT: dict[str, Any] = {"markersize": 4.5, "capsize": 2.5}
GUESSING: dict[str, Any] = {"color": "#D55E00", "linewidth": 1, "linestyle": "--", "zorder": 0}


def _short(name: str, width: int = 24) -> str:
    """A name that fits into a figure."""
    return escaped(textwrap.fill(textwrap.shorten(name, 3 * width, placeholder=" ..."), width))


def _each(surveys: Surveys, draw: Callable[[Axes, SurveyResult], None], height: float = 2.9) -> dict[str, str]:
    """A figure per survey, so that a telephone shows them one below the other with readable text."""
    urls = {}
    for name, one in surveys.items():
        figure = Figure(figsize=(4.4, height), layout="constrained")
        axis = figure.subplots()
        draw(axis, one)
        axis.tick_params(labelsize=8)
        urls[name] = data_url(figure)
    return urls


def by_survey(surveys: Surveys) -> str:
    """Percent correct with clustered intervals: all, real, synthetic; a line per survey."""
    figure = Figure(figsize=(5.6, 0.62 * len(surveys) + 1.1), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(surveys))[::-1]
    for shift, (column, colour) in zip((0.22, 0.0, -0.22), (("all", BOTH), *CLASSES), strict=True):
        shares = [one.table_2["left_out"][column] for one in surveys.values()]
        values, reach = _reach(shares, "clustered")
        axis.errorbar(values, places + shift, xerr=reach, fmt="o", color=colour, label=column, **POINT)
    axis.set_yticks(places, [_short(name) for name in surveys], fontsize=9)
    axis.set_ylim(-0.6, len(surveys) - 0.4)
    axis.axvline(50, **GUESSING)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("percent correct", fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return data_url(figure)


def _reach(shares: Sequence[Portion], ends: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares in percent, and the lengths of their intervals below and above; 0 without an interval."""
    values = 100 * np.array([share.estimate for share in shares], dtype=np.float64)
    limits = 100 * np.array([getattr(share, ends) for share in shares], dtype=np.float64).reshape(-1, 2)
    limits = np.where(np.isfinite(limits), limits, values[:, None])
    # Rounding may put an end beyond the estimate.
    return values, np.maximum(np.stack([values - limits[:, 0], limits[:, 1] - values]), 0)


def _bars(axis: Axes, shares: Sequence[Portion]) -> None:
    """Points with Wilson's intervals, from left to right."""
    values, reach = _reach(shares, "wilson")
    axis.errorbar(np.arange(len(shares)), values, yerr=reach, fmt="o", color=BOTH, **POINT)
    axis.axhline(50, **GUESSING)
    axis.set_ylim(-3, 103)
    axis.set_ylabel("percent correct")
    axis.grid(axis="y", alpha=0.3)


def by_reader(surveys: Surveys) -> dict[str, str]:
    """Percent correct of each reader, from low to high."""

    def draw(axis: Axes, one: SurveyResult) -> None:
        rows = [row for row in one.by_reader if row.shares["all"].answers]
        rows.sort(key=lambda row: row.shares["all"].estimate)
        _bars(axis, [row.shares["all"] for row in rows])
        many = len(rows) > 15
        labels = [] if many else [_short(row.reader, 18) for row in rows]
        axis.set_xticks([] if many else range(len(rows)), labels, rotation=60, ha="right", rotation_mode="anchor")

    return _each(surveys, draw, 3.2)


def by_layer(surveys: Surveys) -> dict[str, str]:
    """Percent correct by axial layer."""

    def draw(axis: Axes, one: SurveyResult) -> None:
        rows = [row for row in one.layers if row.answers]
        _bars(axis, rows)
        axis.set_xticks(range(len(rows)), [str(row.layer or "?") for row in rows])
        axis.set_xlabel("axial layer", fontsize=9)

    return _each(surveys, draw)


def confusion(surveys: Surveys) -> dict[str, str]:
    """Answers by class."""

    def draw(axis: Axes, one: SurveyResult) -> None:
        counts, below = one.counts, np.zeros(2)
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


def times(surveys: Surveys) -> dict[str, str]:
    """Median and quartiles of the time per answer, by class and outcome."""
    known = {name: one for name, one in surveys.items() if one.seconds["all"].answers}

    def draw(axis: Axes, one: SurveyResult) -> None:
        kinds = ("real", "synthetic", "right", "wrong", "cannot tell")
        rows = [(kind, one.seconds[kind]) for kind in kinds if one.seconds[kind].answers]
        places = np.arange(len(rows))[::-1]
        medians = np.array([row.median for _, row in rows])
        quartiles = np.array([row.quartiles for _, row in rows])
        reach = np.stack([medians - quartiles[:, 0], quartiles[:, 1] - medians])
        axis.errorbar(medians, places, xerr=reach, fmt="o", color=BOTH, **POINT)
        axis.set_yticks(places, [f"{kind} scans" if kind in ("real", "synthetic") else kind for kind, _ in rows])
        axis.set_xlim(left=0)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xlabel("seconds per answer: median and quartiles", fontsize=9)
        axis.grid(axis="x", alpha=0.3)

    return _each(known, draw, 2.2)


def value(estimate: float, interval: Sequence[float], digits: int = 2) -> str:
    """A number with its interval."""
    return between(estimate, interval, digits, without=" [no interval]")


def write_report(found: Analysis, out: Path) -> None:
    """Write the page of an analysis, which is that of `summary.everything`."""
    surveys = {name: one for name, one in found.surveys.items() if name != ALL_SURVEYS}
    write_page(
        "crossmod.reader.analysis",
        "report.html",
        out,
        surveys=surveys,
        everything=found.surveys,
        columns=COLUMNS,
        warnings=[f"{name}: {line}" for name, one in found.surveys.items() for line in one.cautions],
        published_tests=published_tests(len(surveys)),
        any_realism=any(one.realism for one in surveys.values()),
        any_regions=any(one.regions for one in surveys.values()),
        figures={
            "by_survey": by_survey(found.surveys),
            "by_reader": by_reader(surveys),
            "by_layer": by_layer(surveys),
            "confusion": confusion(surveys),
            "times": times(surveys),
        },
        share=lambda estimate, interval: with_ends(estimate, interval, 1),
        percent=percent,
        points=lambda estimate, interval: value(100 * estimate, [100 * end for end in interval], 1),
        value=value,
        number=lambda estimate: number(estimate, 2),
        p=p_value,
        range=range_of,
        time=lambda seconds: "not known" if seconds is None else f"{seconds:.1f} s",
        **{
            key: getattr(found, key)
            for key in ("verdicts", "table_3", "pairs", "reasons", "published", "cannot_tell", "margin")
        },
        draws=f"{found.draws:,}",
    )


def published_tests(surveys: int) -> list[dict[str, object]]:
    """Table 3 of Crespi et al. by row; for a single survey, without the comparisons of several."""
    names = summary.SURVEYS
    rows = [(f"{name}: real vs synthetic", p) for name, p in zip(names, summary.WITHIN, strict=True)]
    if surveys > 1:
        rows.append(("all surveys: real vs synthetic", summary.OVER_ALL))
        rows += [(f"{names[first]} vs {names[second]}", p) for (first, second), p in summary.PAIRS.items()]
    return [{"name": name, "p": [f"{value:.3f}" for value in p]} for name, p in rows]
