"""The list of a batch, and the summary of its results.

    case,input                       case,t1_in,t1_out,output
    anna,scans/anna                  anna,scans/anna/in,scans/anna/out,anna.nii.gz

Paths are relative to the folder of the list.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossmod.errors import InputError
from crossmod.files import write_text

SUMMARY = "summary.csv"
HEAD = ("case", "status", "seconds", "output", "verdict", "sentences", "trust")
# Valid as a file name on any system.
NAME = re.compile(r"[\w+@-][\w .+@-]{0,99}")
SUFFIXES = (".json", ".trust.html", ".trust.json")

Status = Literal["waiting", "done", "done before", "failed"]


@dataclass(frozen=True)
class Case:
    """One line of the list."""

    name: str
    # name and path of each; the name is None if the model has one input, the path if the cell is empty
    inputs: tuple[tuple[str | None, Path | None], ...]
    output: str  # name of the file or folder in the output folder


@dataclass(frozen=True)
class Row:
    """Result of a case.

    Args:
        status: `done`, `done before` by an earlier run, `failed`, or `waiting`.
        output: name in the output folder.
        verdict: of the trust report; empty without one.
        sentences: its warnings, or the error.
        trust: status of the trust report: `within limits`, `doubtful` or `not assessed`; empty without one.
    """

    case: str
    status: Status
    seconds: float
    output: str
    verdict: str = ""
    sentences: tuple[str, ...] = ()
    trust: str = ""


def read_table(path: Path, inputs: Sequence[str], suffix: str) -> tuple[Case, ...]:
    """The cases of a list.

    Args:
        path: CSV in UTF-8, with commas or semicolons.
        inputs: names of the model's inputs; with one, the column may be called `input`.
        suffix: of outputs that the list does not name.
    """
    lines = _lines(path)
    single = len(inputs) <= 1
    columns = ("input",) if single and "input" in lines[0] else tuple(inputs)
    _check_columns(path, list(lines[0]), columns)
    cases = tuple(_case(path, number, line, columns, suffix, single) for number, line in enumerate(lines, start=2))
    for kind, names in (("case", [one.name for one in cases]), ("output", [one.output for one in cases])):
        _refuse_twice(path, kind, names)
    return cases


def write_summary(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows atomically."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEAD)
    for row in rows:
        seconds = f"{row.seconds:.1f}" if row.seconds else ""
        writer.writerow((row.case, row.status, seconds, row.output, row.verdict, " ".join(row.sentences), row.trust))
    write_text(path, stream.getvalue())


def _lines(path: Path) -> list[dict[str, str]]:
    do = "Write one line per case below the header `case,input`."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(path, found="no such file", expected="a CSV file", do="Check the path.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(path, found=f"no text ({error})", expected="CSV in UTF-8", do=do) from None
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if ";" in head and "," not in head else ",")
    try:
        rows = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(path, found=f"no CSV ({error})", expected="CSV", do=do) from None
    if len(rows) < 2:
        raise InputError(path, found="no case", expected="one or more", do=do)
    head, *others = rows
    for number, row in enumerate(others, start=2):
        if len(row) > len(head):
            found = f"{len(row)} cells in line {number}, {len(head)} in the header"
            raise InputError(path, found=found, expected="as many", do="Put quotes around paths with a comma.")
    return [dict(zip(head, [*row, *[""] * (len(head) - len(row))], strict=True)) for row in others]


def _check_columns(path: Path, have: Sequence[str], inputs: Sequence[str]) -> None:
    expected, allowed = {"case", *inputs}, {"case", *inputs, "output"}
    if not expected <= set(have) or not set(have) <= allowed:
        found, needed = f"columns {', '.join(have)}", f"{', '.join(('case', *inputs))}, and optionally output"
        raise InputError(path, found=found, expected=needed, do="Correct the first line.")


def _case(path: Path, number: int, line: dict[str, str], columns: Sequence[str], suffix: str, single: bool) -> Case:
    name, output = line["case"], line.get("output") or line["case"] + suffix
    for text in (name, output):
        reserved = text == SUMMARY or text.endswith(SUFFIXES)
        if not NAME.fullmatch(text) or reserved or text.endswith((".", " ")):
            expected = "a name without folders, of letters, digits, spaces and -_+@., not used by the batch"
            raise InputError(path, found=f"{text!r} in line {number}", expected=expected, do="Give another name.")
    places = ((column, line[column]) for column in columns)
    inputs = tuple((None if single else column, path.parent / place if place else None) for column, place in places)
    return Case(name, inputs, output)


def _refuse_twice(path: Path, kind: str, names: Sequence[str]) -> None:
    # Some file systems ignore case.
    folded = [name.casefold() for name in names]
    twice = sorted({name for name, low in zip(names, folded, strict=True) if folded.count(low) > 1})
    if twice:
        found = f"the {kind} {twice[0]} more than once"
        raise InputError(path, found=found, expected="each once", do="Rename or remove one.")
