"""The section "Published beside ours": one table of a benchmark's published results and of the experiment's arms."""

from crossmod.html.format import Cell, Table, number, with_interval
from crossmod.report.experiment.data import Experiment
from crossmod.report.experiment.published_schema import Estimate, OwnRow, PublishedRow

MEAN = "mean"
OURS = "this experiment"


def published_section(experiment: Experiment) -> dict[str, object] | None:
    """The content of the section; None if the design names no benchmark."""
    found = experiment.findings.get("published")
    if not found:
        return None
    target = experiment.findings["target"].upper()
    saw = {"nothing": f"no {target}", "images": f"{target} images", "labels": f"{target} labels"}
    columns = [*found["organs"], MEAN]
    head = ("Method", "Training sees", *(name.replace("_", " ") for name in columns), "Source")
    rows = [_published(row, columns, saw) for row in found["published"]]
    own = [_own(row, columns, saw) for row in found["own"]]
    return {
        "title": found["title"],
        "table": Table(head, rows + own, range(len(rows), len(rows) + len(own))),
        "caveats": found["caveats"],
        "cut": found["cut"],
    }


def _published(row: PublishedRow, columns: list[str], saw: dict[str, str]) -> list[str | Cell]:
    source = f"{row['source']} ({row['note']})" if row["note"] else row["source"]
    unverified = dict.fromkeys(row["unverified"], "*")
    numbers = [number(row["dice"][name]) + unverified.get(name, "") if name in row["dice"] else "" for name in columns]
    return [row["method"], saw[row["sees"]], *numbers, source]


def _own(row: OwnRow, columns: list[str], saw: dict[str, str]) -> list[str | Cell]:
    cells = [_cell(row["dice"][name], row["cut"].get(name)) if name in row["dice"] else "" for name in columns]
    return [row["arm"], saw[row["sees"]], *cells, OURS]


def _cell(whole: Estimate, cut: Estimate | None) -> Cell:
    """The mean, and below it the interval, if there is one, and the mean of cut scans: a narrow column."""
    mean, _, interval = with_interval(whole).partition(" ")
    return Cell(mean, (*([interval] if interval else []), f"cut {number(cut['mean'] if cut else None)}"))
