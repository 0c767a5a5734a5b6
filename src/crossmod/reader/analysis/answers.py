"""Answers as arrays: readers by scans, and how an answer is scored.

Notable:
- Readers and scans are crossed: nearly every reader sees nearly every scan. A cell may be empty.
- A scan that is shown again is left out here; it serves self-agreement alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer

REAL, SYNTHETIC, CANNOT_TELL = range(len(CHOICES))
MISSING = -1
# What the questions are called in the values of an answer.
CHOICE, REASON, REALISM, REGIONS = "choice", "reason", "realism", "regions"

Rule = Literal["left_out", "wrong", "half"]
RULES: dict[Rule, str] = {
    "left_out": "left out",
    "wrong": "counted as wrong",
    "half": "counted as half right, as a guess is",
}


@dataclass(frozen=True, eq=False)
class Readings:
    """The answers of one survey, or of several together.

    Args:
        name: of the survey.
        readers: labels, one a row.
        scans: ids, one a column.
        synthetic: the key.
        layers: axial layer, 0 where it is not known.
        surveys: which survey a scan belongs to, counted from 0.
        choices: index in `CHOICES`, or `MISSING`.
        seconds: that each answer took; nan where it is not known.
    """

    name: str
    readers: tuple[str, ...]
    scans: tuple[str, ...]
    synthetic: Bool[np.ndarray, " scans"]
    layers: Int[np.ndarray, " scans"]
    surveys: Int[np.ndarray, " scans"]
    choices: Int[np.ndarray, "readers scans"]
    seconds: Float[np.ndarray, "readers scans"]

    @property
    def counts(self) -> Int[np.ndarray, "classes answers"]:
        """Answers by class (real, synthetic) and choice (real, synthetic, cannot tell)."""
        by_scan = self.by_scan
        return np.stack([by_scan[~self.synthetic].sum(axis=0), by_scan[self.synthetic].sum(axis=0)])

    @property
    def by_scan(self) -> Int[np.ndarray, "scans answers"]:
        """How many readers gave each answer to each scan."""
        return np.stack([(self.choices == choice).sum(axis=0) for choice in range(len(CHOICES))], axis=1)


def choice_of(values: Mapping[str, Any]) -> int:
    """The index of what was answered; `MISSING` where the question was left open."""
    given = values.get(CHOICE)
    return CHOICES.index(given) if given in CHOICES else MISSING


def first_showings(answers: Sequence[RecordedAnswer]) -> list[RecordedAnswer]:
    """Answers to scans that are shown for the first time."""
    return [one for one in answers if one.repeats is None]


def readings(surveys: Mapping[str, Sequence[RecordedAnswer]]) -> Readings:
    """The answers of one survey or several as one array.

    The same label in two surveys is taken for the same reader, so that their answers are not counted as independent.

    Args:
        surveys: answers by the name of their survey.
    """
    firsts = {name: first_showings(answers) for name, answers in surveys.items()}
    readers = sorted({one.reader for answers in firsts.values() for one in answers}, key=_natural)
    shown = {one.scan: (number, one) for number, answers in enumerate(firsts.values()) for one in answers}
    scans = sorted(shown, key=lambda scan: (shown[scan][0], shown[scan][1].synthetic, shown[scan][1].layer, scan))
    row, column = {name: i for i, name in enumerate(readers)}, {scan: i for i, scan in enumerate(scans)}
    choices = np.full((len(readers), len(scans)), MISSING)
    seconds = np.full(choices.shape, np.nan)
    for one in (one for answers in firsts.values() for one in answers):
        choices[row[one.reader], column[one.scan]] = choice_of(one.values)
        # 0: the browser did not say.
        seconds[row[one.reader], column[one.scan]] = one.seconds if one.seconds > 0 else np.nan
    return Readings(
        name=" + ".join(surveys),
        readers=tuple(readers),
        scans=tuple(scans),
        synthetic=np.array([shown[scan][1].synthetic for scan in scans], dtype=bool),
        layers=np.array([shown[scan][1].layer for scan in scans], dtype=np.int64),
        surveys=np.array([shown[scan][0] for scan in scans], dtype=np.int64),
        choices=choices,
        seconds=seconds,
    )


def _natural(label: str) -> tuple[int, str]:
    """`reader 10` comes after `reader 2`."""
    return len(label), label


def scores(read: Readings, rule: Rule) -> Float[np.ndarray, "readers scans"]:
    """1 where the class was told rightly, 0 where wrongly, nan where nothing counts; `rule` is for "cannot tell"."""
    right = (read.choices == read.synthetic.astype(np.int64)).astype(np.float64)
    unsure = {"left_out": np.nan, "wrong": 0.0, "half": 0.5}[rule]
    right[read.choices == CANNOT_TELL] = unsure
    right[read.choices == MISSING] = np.nan
    return right


def said(read: Readings, choice: int, *, among: Sequence[int]) -> Float[np.ndarray, "readers scans"]:
    """1 where `choice` was answered, 0 where another of `among`, else nan."""
    values = (read.choices == choice).astype(np.float64)
    values[~np.isin(read.choices, list(among))] = np.nan
    return values
