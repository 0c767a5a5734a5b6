"""The report of an experiment: one HTML file, pictures and all, that opens without a network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from crossmod.html.page import check_free, write_page
from crossmod.progress import track
from crossmod.report import experiment_answer, experiment_warnings, paper_figures
from crossmod.report.experiment_costs import costs
from crossmod.report.experiment_data import read_experiment
from crossmod.report.experiment_sections import pictures
from crossmod.report.extremes import extremes
from crossmod.report.methods import for_papers
from crossmod.report.paper_tables import tables
from crossmod.report.why import why_section


def build_experiment_report(root: Path, out: Path, *, sources: Sequence[Path] = ()) -> list[str]:
    """Write the report of an experiment.

    Args:
        root: the experiment's folder, which has results.
        out: the HTML file.
        sources: stores in which to look for the slices that synthetic ones were made from; those that translators were
            trained on are looked into anyway.

    Returns:
        What each arm adds to its baseline, in a sentence.

    Raises:
        InputError: a file of the experiment is missing or damaged, or `out` is no report.
    """
    check_free(out)
    experiment = read_experiment(root)
    parts: dict[str, Callable[[], object]] = {
        "asked": lambda: experiment_answer.asked(experiment),
        "answer": lambda: experiment_answer.answer(experiment),
        "warnings": lambda: experiment_warnings.warnings(experiment),
        "failures": lambda: experiment_warnings.failures(experiment),
        "table": lambda: experiment_answer.table(experiment),
        "others": lambda: experiment_answer.other_scores(experiment),
        "pictures": lambda: pictures(experiment),
        "tables": lambda: tables(experiment),
        "figures": lambda: paper_figures.pictures(experiment, sources),
        "extremes": lambda: extremes(experiment),
        "papers": lambda: for_papers(experiment),
        "costs": lambda: costs(experiment),
        "why": lambda: why_section(experiment.findings),
    }
    made = {name: make() for name, make in track(parts.items(), "Drawing the report")}
    write_page("experiment.html", out, root=root.resolve().name, **made)
    return experiment_answer.sentences(experiment)
