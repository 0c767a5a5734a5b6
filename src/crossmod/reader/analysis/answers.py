"""Answers as arrays of readers by scans, and their scores.

Notable:
- Readers and scans are crossed: nearly every reader sees nearly every scan. A cell may be empty.
- Repeats of scans are left out; they are used for self-agreement only.
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
# Names of the questions in the values of an answer.
CHOICE, REASON, REALISM, REGIONS = "choice", "reason", "realism", "regions"

Rule = Literal["left_out", "wrong", "half"]
RULES: dict[Rule, str] = {
    "left_out": "left out",
    "wrong": "counted as wrong",
    "half": "counted as half right, as a guess is",
}


@dataclass(frozen=True, eq=False)
class Readings:
    """The answers of one survey, or of several together."""

    name: str  # of the survey
    readers: tuple[str, ...]  # labels of the rows
    scans: tuple[str, ...]  # ids of the columns
    synthetic: Bool[np.ndarray, " scans"]  # the key
    layers: Int[np.ndarray, " scans"]  # axial layer, 0 if unknown
    surveys: Int[np.ndarray, " scans"]  # which survey a scan belongs to, counted from 0
    choices: Int[np.ndarray, "readers scans"]  # index in `CHOICES`, or `MISSING`
    seconds: Float[np.ndarray, "readers scans"]  # per answer; NaN if unknown

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
    """The index of the choice; `MISSING` without an answer."""
    choice = values.get(CHOICE)
    return CHOICES.index(choice) if choice in CHOICES else MISSING


def first_showings(answers: Sequence[RecordedAnswer]) -> list[RecordedAnswer]:
    """Answers to scans that are shown for the first time."""
    return [answer for answer in answers if answer.repeats is None]


def readings(surveys: Mapping[str, Sequence[RecordedAnswer]]) -> Readings:
    """The answers of one survey or several as one array.

    The same label in two surveys is taken for the same reader, so that their answers are not counted as independent.
    """
    firsts = {name: first_showings(answers) for name, answers in surveys.items()}
    # `reader 10` comes after `reader 2`.
    labels = {answer.reader for answers in firsts.values() for answer in answers}
    readers = sorted(labels, key=lambda label: (len(label), label))
    shown = {answer.scan: (number, answer) for number, answers in enumerate(firsts.values()) for answer in answers}
    scans = sorted(shown, key=lambda scan: (shown[scan][0], shown[scan][1].synthetic, shown[scan][1].layer, scan))
    row, column = {name: i for i, name in enumerate(readers)}, {scan: i for i, scan in enumerate(scans)}
    choices = np.full((len(readers), len(scans)), MISSING)
    seconds = np.full(choices.shape, np.nan)
    for answer in (answer for answers in firsts.values() for answer in answers):
        place = row[answer.reader], column[answer.scan]
        choices[place] = choice_of(answer.values)
        # 0: unknown to the browser.
        seconds[place] = answer.seconds if answer.seconds > 0 else np.nan
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


def scores(read: Readings, rule: Rule) -> Float[np.ndarray, "readers scans"]:
    """1 for a right answer, 0 for a wrong one, NaN for none; `rule` is for "cannot tell"."""
    right = (read.choices == read.synthetic.astype(np.int64)).astype(np.float64)
    unsure = {"left_out": np.nan, "wrong": 0.0, "half": 0.5}[rule]
    right[read.choices == CANNOT_TELL] = unsure
    right[read.choices == MISSING] = np.nan
    return right


def said(read: Readings, choice: int, *, among: Sequence[int]) -> Float[np.ndarray, "readers scans"]:
    """1 for the answer `choice`, 0 for another of `among`, else NaN."""
    values = (read.choices == choice).astype(np.float64)
    values[~np.isin(read.choices, list(among))] = np.nan
    return values
