"""`crossmod evaluate`: what synthetic images are worth as images, without a segmenter."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import crossmod
from crossmod.cli.app import app, say
from crossmod.settings import EvaluationSettings

Flat = Parameter(name="*")

evaluate = App(
    name="evaluate",
    sort_key=5,
    help="""Hold synthetic images against real ones, without pairs: how near they are, and which model is nearest.""",
)
app.command(evaluate)


@evaluate.command(sort_key=1)
def images(
    real: Path,
    synthetic: tuple[Path, ...],
    *,
    out: Path,
    source: tuple[Path, ...] = (),
    truth: Path | None = None,
    segmenter: Path | None = None,
    options: Annotated[EvaluationSettings | None, Flat] = None,
) -> None:
    """Score synthetic stores against real images of other people, layer by layer, with real against real as the unit.

    Parameters
    ----------
    real
        Store with real cases of the modality that was synthesized, of two patients or more.
    synthetic
        Stores that `synthesize` made, one a model.
    out
        The result folder.
    source
        Stores with the scans that the synthetic cases were made from, which say where each slice lies; the real store
        is looked into anyway.
    truth
        Store with real images of the very patients that were translated, in the modality that was synthesized.
    segmenter
        Run of `segment`, trained on real images of that modality: it looks for its organ in the synthetic images, which
        is held against their labels. Without it, the answers of the models' own segmentors are.
    """
    from crossmod.evaluation.result import lines

    run = crossmod.evaluate_images(
        real, synthetic, out, source=source, truth=truth, segmenter=segmenter, settings=options
    )
    for line in lines(run.card):
        say(line)
    say(f"{out}. Next: crossmod report {out} --out page.html")


@evaluate.command(sort_key=2)
def compare(results: tuple[Path, ...], *, json: Path | None = None) -> None:
    """Rank the models of some results over all metrics, and say which differences are not shown.

    Parameters
    ----------
    results
        Folders that `evaluate images` made.
    json
        Write the ranking to this file, too.
    """
    from crossmod.evaluation.ranking import compare_evaluations, table, to_json
    from crossmod.evaluation.result import columns
    from crossmod.files import write_json

    ranking = compare_evaluations(results)
    if json is not None:
        write_json(json, to_json(ranking))
    for line in columns(table(ranking)):
        say(line)
    for pair in ranking.pairs:
        say(pair.sentence)
    for line in ranking.warnings:
        say(f"Note: {line}")
