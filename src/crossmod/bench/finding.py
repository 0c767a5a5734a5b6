"""What `crossmod doctor` says: one line a finding."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from crossmod.files import write_json

State = Literal["ok", "note", "missing", "broken"]

COLOURS: dict[State, str] = {"ok": "green", "note": "cyan", "missing": "yellow", "broken": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        state: `ok`; `note`: worth knowing; `missing`: crossmod works without it; `broken`: it does not.
        topic: what was looked at.
        text: what was found.
        do: what to do about it; "": nothing.
    """

    state: State
    topic: str
    text: str
    do: str = ""


def save(findings: Sequence[Finding], path: Path) -> None:
    """Write the findings as JSON."""
    write_json(path, {"findings": [asdict(finding) for finding in findings]})


def show(findings: Sequence[Finding]) -> None:
    """Print the findings on standard output, in colour on a terminal."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for one in findings:
            table.add_row(Text(one.state, COLOURS[one.state]), Text(one.topic, "bold"), Text(_sentence(one)))
        Console().print(table)
        return
    width = max(len(finding.topic) for finding in findings)
    for one in findings:
        print(f"{one.state:7}  {one.topic:{width}}  {_sentence(one)}")


def _sentence(finding: Finding) -> str:
    return f"{finding.text}. {finding.do}".strip()
