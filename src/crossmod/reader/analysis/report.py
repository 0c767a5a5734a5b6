"""The report: one HTML page that needs nothing else."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from crossmod.files import write_text
from crossmod.reader.analysis import figures, published
from crossmod.reader.analysis.equivalence import percent, with_ends
from crossmod.reader.analysis.gather import ALL_SURVEYS
from crossmod.reader.analysis.proportions import COLUMNS
from crossmod.version import __version__

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
    environment = Environment(
        loader=PackageLoader("crossmod.reader.analysis"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        version=__version__,
        surveys=surveys,
        everything=found["surveys"],
        columns=COLUMNS,
        warnings=[f"{name}: {line}" for name, one in found["surveys"].items() for line in one["cautions"]],
        published_tests=published_tests(len(surveys)),
        any_realism=any(one["realism"] for one in surveys.values()),
        any_regions=any(one["regions"] for one in surveys.values()),
        figures={
            "by_survey": figures.by_survey(found["surveys"]),
            "by_reader": figures.by_reader(surveys),
            "by_layer": figures.by_layer(surveys),
            "confusion": figures.confusion(surveys),
            "times": figures.times(surveys),
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
    write_text(out, page)


def published_tests(surveys: int) -> list[dict[str, Any]]:
    """Table 3 of Crespi et al. by row; of one survey alone, without what compares several."""
    names = published.SURVEYS
    rows = [(f"{name}: real vs synthetic", p) for name, p in zip(names, published.WITHIN, strict=True)]
    if surveys > 1:
        rows.append(("all surveys: real vs synthetic", published.OVER_ALL))
        rows += [(f"{names[first]} vs {names[second]}", p) for (first, second), p in published.PAIRS.items()]
    return [{"name": name, "p": [f"{one:.3f}" for one in p]} for name, p in rows]
