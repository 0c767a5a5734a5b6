"""`crossmod reader analyze`: closed surveys in, a report, a table of answers and all numbers out."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.errors import InputError
from crossmod.files import write_json, write_text
from crossmod.reader.analysis.answers import (
    CHOICE,
    MISSING,
    REALISM,
    REASON,
    REGIONS,
    choice_of,
    first_showings,
)
from crossmod.reader.analysis.report import write_report
from crossmod.reader.analysis.summary import ALL_SURVEYS, everything
from crossmod.reader.create import opened
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer

REPORT, TABLE, NUMBERS = "report.html", "answers.csv", "analysis.json"
FEWEST_DRAWS = 100
COLUMNS = (
    "survey",
    "reader",
    "place",
    "scan",
    "repeats",
    "class",
    "layer",
    "patient",
    CHOICE,
    "correct",
    REALISM,
    REGIONS,
    REASON,
    "seconds",
    "given",
    "submitted",
)


def analyze_surveys(
    surveys: Sequence[Path], *, out: Path, database: str | None = None, margin: float = 0.10, draws: int = 10_000
) -> dict[str, Any]:
    """Analyse closed surveys and write `report.html`, `answers.csv` and `analysis.json`.

    Args:
        surveys: folders of surveys.
        out: folder to write to.
        database: where their answers are; None for the database in each survey's folder.
        margin: readers are equivalent to guessing if their share of right answers is within this of a half.
        draws: of readers and scans, and of shuffled keys.

    Returns:
        What `analysis.json` holds.

    Raises:
        InputError: a survey is open, has no answers, or a single reader; or the settings are no use.
    """
    _check(surveys, margin, draws)
    found: dict[str, list[RecordedAnswer]] = {}
    for path in surveys:
        name, answers = _read(path, database)
        if name in found:
            raise InputError(path, found=f"a second survey {name!r}", expected="each once", do="Leave one out.")
        found[name] = answers
    return analyze(found, out=out, margin=margin, draws=draws)


def analyze(
    surveys: Mapping[str, Sequence[RecordedAnswer]], *, out: Path, margin: float = 0.10, draws: int = 10_000
) -> dict[str, Any]:
    """The same of answers that are read already, by the name of their survey."""
    for name, answers in surveys.items():
        check_answers(name, answers)
    found = everything(surveys, margin=margin, draws=draws)
    out.mkdir(parents=True, exist_ok=True)
    written = plain(found)
    write_report(found, out / REPORT)
    write_text(out / TABLE, table([one for answers in surveys.values() for one in answers]))
    write_json(out / NUMBERS, written)
    return written


def _read(path: Path, database: str | None) -> tuple[str, list[RecordedAnswer]]:
    """The name of a survey and its answers."""
    with opened(path, database) as (study, survey):
        if study.closed(survey) is None:
            do = "Close it first; no answer is taken from then on."
            raise InputError(
                path, found="a survey that is open", expected="a closed one, since its key is shown", do=do
            )
        return study.design(survey).name, study.answers(survey)


def _check(surveys: Sequence[Path], margin: float, draws: int) -> None:
    if not surveys:
        raise InputError("SURVEY", found="none", expected="one or several", do="Name a survey.")
    if not 0 < margin < 0.5:
        expected = "more than 0 and less than 0.5, such as 0.1 for 10 points"
        raise InputError("--margin", found=f"{margin:g}", expected=expected, do="Choose another margin.")
    if draws < FEWEST_DRAWS:
        raise InputError("--draws", found=f"{draws}", expected=f"{FEWEST_DRAWS} or more", do="Take 10000.")


def check_answers(name: str, answers: Sequence[RecordedAnswer]) -> None:
    """Refuse what cannot be analysed.

    Raises:
        InputError: no answers, a single reader, or one class alone.
    """
    if name == ALL_SURVEYS:
        raise InputError(
            f"survey {name!r}", found="the name of the report's own row", expected="another name", do="Rename it."
        )
    firsts = [one for one in first_showings(answers) if choice_of(one.values) != MISSING]
    if not firsts:
        do = "Wait until readers have answered."
        raise InputError(f"survey {name!r}", found="no answers", expected="those of two or more readers", do=do)
    if len({one.reader for one in firsts}) < 2:
        do = "One reader tells nothing about others: invite more."
        raise InputError(f"survey {name!r}", found="a single reader", expected="two or more", do=do)
    if len({one.synthetic for one in firsts}) < 2:
        found, expected = "answers to one class of scans alone", "to real and to synthetic ones"
        raise InputError(f"survey {name!r}", found=found, expected=expected, do="Check how the survey was made.")


def table(answers: Sequence[RecordedAnswer]) -> str:
    """A row an answer, as CSV with a header; readers by their label alone."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in answers:
        choice = choice_of(one.values)
        truth = int(one.synthetic)
        writer.writerow(
            _safe(
                [
                    one.survey,
                    one.reader,
                    one.number,
                    one.scan,
                    one.repeats or "",
                    CHOICES[truth],
                    one.layer,
                    one.patient,
                    "" if choice == MISSING else CHOICES[choice],
                    int(choice == truth) if choice in (0, 1) else "",
                    one.values.get(REALISM) or "",
                    " ".join(one.values.get(REGIONS) or ()),
                    one.values.get(REASON) or "",
                    round(one.seconds, 2) if one.seconds > 0 else "",
                    one.given.isoformat(),
                    int(one.submitted),
                ]
            )
        )
    return stream.getvalue()


def _safe(row: Sequence[object]) -> list[object]:
    """Text that a spreadsheet would take for a formula gets an apostrophe: readers write what they like."""
    return [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
        for cell in row
    ]


def plain(value: Any) -> Any:
    """JSON has neither nan nor infinity: None stands for both."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
