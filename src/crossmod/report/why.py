"""The section on why synthetic slices help or do not: pictures of an experiment's `why`, and words that follow it."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossmod.data.slices import spread
from crossmod.html.format import count, listed, number, with_interval
from crossmod.report import why_figures

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
        "figure": why_figures.gains(strata, drawn),
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
        "figure": why_figures.scatter(points, translators[:DRAWN]),
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
    figure = why_figures.courses(curves, drawn, baselines[: len(why_figures.BASE)])
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
