"""Sections that packages add at the end of a report; docs/how-to/extend.md shows one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from crossmod.html.figures import data_url
from crossmod.html.format import Table
from crossmod.registry import Members


@dataclass(frozen=True)
class ReportSection:
    """A section that a package adds.

    Args:
        title: its heading.
        content: from the reported paths (runs, results and synthetic stores, or the folder of an experiment),
            paragraphs, tables and figures in their order; nothing: the section is left out.
    """

    title: str
    content: Callable[[Sequence[Path]], Sequence[str | Table | Figure]]


SECTIONS = Members[ReportSection]("report_section")


def added_sections(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Each section for the templates: title, and the kind and the content of its parts."""
    contents = [(section.title, section.content(paths)) for section in SECTIONS.values()]
    return [{"title": title, "parts": [_part(part) for part in parts]} for title, parts in contents if parts]


def _part(part: str | Table | Figure) -> dict[str, object]:
    if isinstance(part, str):
        return {"paragraph": part}
    return {"table": part} if isinstance(part, Table) else {"figure": data_url(part)}
