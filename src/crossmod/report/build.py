"""The report: one HTML file, pictures and all, that opens without a network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from crossmod import __version__
from crossmod.errors import InputError
from crossmod.files import write_text
from crossmod.progress import track
from crossmod.report import figures, sections
from crossmod.report.contents import collect
from crossmod.report.images import images
from crossmod.report.tables import arms


def build_report(paths: Sequence[Path], out: Path, *, sources: Sequence[Path] = ()) -> None:
    """Write the report of some runs, results and synthetic stores.

    Args:
        paths: run folders and synthetic stores; the synthetic stores that segmentation runs used come in by themselves.
        out: the HTML file.
        sources: stores in which to look for the slices that synthetic ones were made from; those that the runs used
            are looked into anyway.

    Raises:
        InputError: a path that is neither, a run that is not finished, nothing at all, or `out` is something else.
    """
    _check_free(out)
    contents = collect(paths, sources)
    all_arms = arms(contents.segmenters)
    environment = Environment(loader=PackageLoader("crossmod.report"), autoescape=True, undefined=StrictUndefined)
    parts: dict[str, Callable[[], object]] = {
        "verdicts": lambda: sections.verdicts(all_arms),
        "warnings": lambda: sections.warnings(contents, all_arms),
        "results": lambda: sections.results(all_arms),
        "patients": lambda: figures.patients_plot(all_arms) if all_arms else None,
        "roc": lambda: figures.roc_curves(all_arms) if all_arms else None,
        "synthesis": lambda: [sections.synthesis(contents, store) for store in contents.stores],
        "comparison": lambda: sections.comparison(contents),
        "images": lambda: images(contents.judgements),
        "outlines": lambda: sections.outlines(all_arms),
        "training": lambda: sections.training(contents),
        "costs": lambda: sections.costs(contents, all_arms),
        "data": lambda: sections.data(contents),
    }
    made = {name: make() for name, make in track(parts.items(), "Drawing the report")}
    page = environment.get_template("report.html").render(version=__version__, **made)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)


def _check_free(out: Path) -> None:
    """Refuse to write over anything but an earlier report."""
    if not out.exists():
        return
    found = None if out.is_file() else "a folder" if out.is_dir() else "something that is no file"
    if out.is_file() and not out.read_bytes()[:15].lower().startswith(b"<!doctype html"):
        found = "a file that is no HTML page"
    if found:
        raise InputError(out, found=found, wanted="a new file, or an earlier report", do="Choose another --out.")
