"""`crossmod reader analyze`: a report, a table of answers and all numbers of closed surveys."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.files import to_json, write_json, write_text
from crossmod.reader.analysis.answers import CHOICE, MISSING, REALISM, REASON, REGIONS, choice_of, first_showings
from crossmod.reader.analysis.report import write_report
from crossmod.reader.analysis.summary import ALL_SURVEYS, everything
from crossmod.reader.create import opened
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer

Json = dict[str, Any]
REPORT, TABLE, NUMBERS = "report.html", "answers.csv", "analysis.json"
FEWEST_DRAWS = 100
COLUMNS = (
    "survey", "reader", "place", "scan", "repeats", "class", "layer", "patient", CHOICE, "correct", REALISM, REGIONS,
    REASON, "seconds", "given", "submitted",
)  # fmt: skip


def analyze_surveys(
    surveys: Sequence[Path], *, out: Path, database: str | None = None, margin: float = 0.10, draws: int = 10_000
) -> Json:
    """Analyse closed surveys; the arguments are those of `crossmod.analyze_surveys`, and the number of draws.

    Raises:
        InputError: a survey is open, has no answers, or a single reader; or the settings are invalid.
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
) -> Json:
    """Write `report.html`, `answers.csv` and `analysis.json`, whose content is returned, from answers by survey."""
    for name, answers in surveys.items():
        check_answers(name, answers)
    found = everything(surveys, margin=margin, draws=draws)
    out.mkdir(parents=True, exist_ok=True)
    write_report(found, out / REPORT)
    write_text(out / TABLE, table([answer for answers in surveys.values() for answer in answers]))
    numbers = to_json(found)
    write_json(out / NUMBERS, numbers)
    return numbers


def _read(path: Path, database: str | None) -> tuple[str, list[RecordedAnswer]]:
    """The name of a survey and its answers."""
    with opened(path, database) as (study, survey):
        if study.closed(survey) is None:
            expected = "a closed survey, since its key is shown"
            do = "Close it first; then it accepts no more answers."
            raise InputError(path, found="an open survey", expected=expected, do=do)
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
    """Refuse a survey without answers, with a single reader, or with one class alone."""
    firsts = [answer for answer in first_showings(answers) if choice_of(answer.values) != MISSING]
    if name == ALL_SURVEYS:
        found, expected, do = "the name of the report's own row", "another name", "Rename it."
    elif not firsts:
        found, expected, do = "no answers", "answers of two or more readers", "Wait until readers have answered."
    elif len({answer.reader for answer in firsts}) < 2:
        do = "Invite more readers: one reader says nothing about others."
        found, expected = "a single reader", "two or more"
    elif len({answer.synthetic for answer in firsts}) < 2:
        found, expected = "answers to one class of scans only", "answers to real and to synthetic scans"
        do = "Check how the survey was made."
    else:
        return
    raise InputError(f"survey {name!r}", found=found, expected=expected, do=do)


def table(answers: Sequence[RecordedAnswer]) -> str:
    """CSV with a row per answer; readers by their label only."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        choice, truth = choice_of(answer.values), int(answer.synthetic)
        row = [
            answer.survey,
            answer.reader,
            answer.number,
            answer.scan,
            answer.repeats or "",
            CHOICES[truth],
            answer.layer,
            answer.patient,
            "" if choice == MISSING else CHOICES[choice],
            int(choice == truth) if choice in (0, 1) else "",
            answer.values.get(REALISM) or "",
            " ".join(answer.values.get(REGIONS) or ()),
            answer.values.get(REASON) or "",
            round(answer.seconds, 2) if answer.seconds > 0 else "",
            answer.given.isoformat(),
            int(answer.submitted),
        ]
        # Readers write what they like: an apostrophe keeps spreadsheets from reading text as a formula.
        writer.writerow(
            f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
            for cell in row
        )
    return stream.getvalue()
