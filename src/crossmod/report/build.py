"""The report: one HTML file with its pictures, which opens without a network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from crossmod.html.page import check_free, write_page
from crossmod.progress import track
from crossmod.report import figures, sections
from crossmod.report.added_sections import added_sections
from crossmod.report.collect import arms, collect, compared, experiment_among
from crossmod.report.experiment.build import build_experiment_report
from crossmod.report.images import images


def build_report(paths: Sequence[Path], out: Path, *, sources: Sequence[Path] = ()) -> list[str]:
    """Write the report of runs, results and synthetic stores, or of an experiment; gives a sentence per arm."""
    check_free(out)
    experiment = experiment_among(paths)
    if experiment is not None:
        return build_experiment_report(experiment, out, sources=sources)
    contents = collect(paths, sources)
    all_arms = arms(contents.segmenters)
    found = compared(all_arms, contents.translators)
    verdicts = sections.verdicts(all_arms, found)
    parts: dict[str, Callable[[], object]] = {
        "verdicts": lambda: verdicts,
        "warnings": lambda: sections.warnings(contents, all_arms),
        "results": lambda: sections.results(all_arms, found) if all_arms else None,
        "organs": lambda: sections.organs(all_arms),
        "patients": lambda: figures.patients_plot(all_arms) if all_arms else None,
        "roc": lambda: figures.roc_curves(all_arms) if all_arms else None,
        "synthesis": lambda: [sections.synthesis(contents, store) for store in contents.stores],
        "comparison": lambda: sections.comparison(contents),
        "images": lambda: images(contents.judgements),
        "outlines": lambda: sections.outlines(all_arms),
        "training": lambda: sections.training(contents),
        "costs": lambda: sections.costs(contents, all_arms),
        "data": lambda: sections.data(contents),
        "added": lambda: added_sections(paths),
    }
    content = {name: make() for name, make in track(parts.items(), "Drawing the report")}
    write_page("crossmod.report", "report.html", out, **content)
    return verdicts
