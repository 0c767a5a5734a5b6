"""The report: one HTML file, pictures and all, that opens without a network."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from crossmod import __version__
from crossmod.files import write_text
from crossmod.report import figures, sections
from crossmod.report.contents import collect
from crossmod.report.tables import arms


def build_report(paths: Sequence[Path], out: Path) -> None:
    """Write the report of some runs and synthetic stores.

    Args:
        paths: run folders and synthetic stores; the synthetic stores that segmentation runs used come in by themselves.
        out: the HTML file.

    Raises:
        InputError: a path that is neither, a run that is not finished, or nothing at all.
    """
    contents = collect(paths)
    all_arms = arms(contents.segmenters)
    environment = Environment(loader=PackageLoader("crossmod.report"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html").render(
        version=__version__,
        verdicts=sections.verdicts(all_arms),
        warnings=sections.warnings(contents, all_arms),
        results=sections.results(all_arms),
        patients=figures.patients_plot(all_arms) if all_arms else None,
        roc=figures.roc_curves(all_arms) if all_arms else None,
        synthesis=[sections.synthesis(store) for store in contents.stores],
        comparison=sections.comparison(contents.stores),
        outlines=sections.outlines(all_arms),
        curves=sections.curves(contents),
        costs=sections.costs(contents, all_arms),
        data=sections.data(contents),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
