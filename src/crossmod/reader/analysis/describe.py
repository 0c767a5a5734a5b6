"""Times, layers and readers of one survey, and what to be careful about."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from crossmod.reader.analysis.agreement import SelfAgreement
from crossmod.reader.analysis.choices import CANNOT_TELL, MISSING, REASON, Readings, choice_of, first_showings, scores
from crossmod.reader.analysis.proportions import wilson
from crossmod.reader.analysis.signal_detection import counts_of, detection
from crossmod.reader.design import CHOICES
from crossmod.reader.records import Given

# Beyond this share of "cannot tell", what is left of the answers is no fair sample of them.
MANY_UNSURE = 1 / 3


def seconds(read: Readings, inside: Bool[np.ndarray, "readers scans"]) -> dict[str, Any]:
    """Median and quartiles of the time an answer took, of those whose time is known."""
    values = read.seconds[inside & (read.choices != MISSING)]
    values = values[~np.isnan(values)]
    if not values.size:
        return {"answers": 0, "median": None, "quartiles": None}
    low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"answers": int(values.size), "median": middle, "quartiles": [low, high]}


def times(read: Readings) -> dict[str, Any]:
    """Time per answer: all, real and synthetic scans, right and wrong answers."""
    everything = np.ones(read.choices.shape, dtype=bool)
    right = scores(read, "left_out")
    return {
        "all": seconds(read, everything),
        "real": seconds(read, everything & ~read.synthetic),
        "synthetic": seconds(read, everything & read.synthetic),
        "right": seconds(read, right == 1),
        "wrong": seconds(read, right == 0),
        "cannot tell": seconds(read, read.choices == CANNOT_TELL),
    }


def layers(read: Readings) -> list[dict[str, Any]]:
    """Right answers by axial layer, "cannot tell" left out; Wilson's interval, as if answers were independent."""
    values = scores(read, "left_out")
    rows = []
    for layer in np.unique(read.layers):
        there = values[:, read.layers == layer]
        right, answers = float(np.nansum(there)), int((~np.isnan(there)).sum())
        share = right / answers if answers else float("nan")
        scans = int((read.layers == layer).sum())
        rows.append({"layer": int(layer), "scans": scans, "answers": answers, "right": right, "estimate": share})
        rows[-1]["wilson"] = wilson(right, answers)
    return rows


def readers(read: Readings, again: SelfAgreement | None) -> list[dict[str, Any]]:
    """A row a reader."""
    values = scores(read, "left_out")
    rows = []
    for number, label in enumerate(read.readers):
        mine, counts = values[number], counts_of(read, number)
        shares = {name: _share(mine[inside]) for name, inside in _sides(read).items()}
        rows.append(
            {
                "reader": label,
                "answers": int(counts.sum()),
                "cannot_tell": int(counts[:, CANNOT_TELL].sum()),
                "counts": counts.tolist(),
                "shares": shares,
                "detection": vars(detection(counts)),
                "seconds": seconds(read, (np.arange(len(read.readers)) == number)[:, None] & (read.choices != MISSING)),
                "alike": again.by_reader.get(label) if again else None,
            }
        )
    return rows


def _sides(read: Readings) -> dict[str, Bool[np.ndarray, " scans"]]:
    return {"all": np.ones(len(read.scans), dtype=bool), "real": ~read.synthetic, "synthetic": read.synthetic}


def _share(values: np.ndarray) -> dict[str, Any]:
    right, answers = float(np.nansum(values)), int((~np.isnan(values)).sum())
    estimate = right / answers if answers else float("nan")
    return {"right": right, "answers": answers, "estimate": estimate, "wilson": wilson(right, answers)}


def reasons(answers: Sequence[Given]) -> list[dict[str, Any]]:
    """What readers wrote, word for word, by scan."""
    written = [one for one in answers if str(one.values.get(REASON) or "").strip()]
    written.sort(key=lambda one: (one.synthetic, one.layer, one.repeats or one.scan, one.reader))
    rows = []
    for one in written:
        choice = choice_of(one.values)
        said = "no answer" if choice == MISSING else CHOICES[choice].replace("_", " ")
        rows.append(
            {
                "survey": one.survey,
                "scan": (one.repeats or one.scan)[:8],
                "layer": one.layer,
                "class": "synthetic" if one.synthetic else "real",
                "reader": one.reader,
                "said": said,
                "reason": str(one.values[REASON]),
            }
        )
    return rows


def cautions(answers: Sequence[Given], read: Readings) -> list[str]:
    """What a reader of the report should know of one survey before its numbers."""
    lines = []
    left = sorted({one.reader for one in answers if not one.submitted})
    if left:
        lines.append(f"{_some(left)} had not submitted when the survey was closed; what they answered counts.")
    empty = int((read.choices == MISSING).sum())
    if empty:
        lines.append(f"{empty} of {read.choices.size} answers are missing. They are taken to be missing by chance.")
    known = int((read.choices != MISSING).sum())
    unsure = int((read.choices == CANNOT_TELL).sum())
    if known and unsure / known > MANY_UNSURE:
        lines.append(f"{100 * unsure / known:.0f} % of answers are “cannot tell”: look at both ways to count them.")
    scans_of = Counter(
        (one.patient, one.synthetic) for one in {one.scan: one for one in first_showings(answers)}.values()
    )
    several = sum(count > 1 for count in scans_of.values())
    if several:
        lines.append(f"{several} patients gave several scans; these are taken as independent, which they may not be.")
    return lines


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
