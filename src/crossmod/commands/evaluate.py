"""`crossmod evaluate`: how close synthetic images are to real ones, without a segmenter."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmod.commands import Paths, build_settings, command, settings_of, several
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.files import PathName
from crossmod.progress import say

if TYPE_CHECKING:
    from crossmod.evaluation.ranking import Ranking
    from crossmod.runs import Run


@command("evaluate images", 1, options=settings_of(EvaluationSettings))
def evaluate_images(
    real: PathName,
    synthetic: Paths,
    *,
    out: PathName,
    source: Paths = (),
    truth: PathName | None = None,
    segmenter: PathName | None = None,
    **options: Any,
) -> "Run":
    """Score synthetic stores against real images of other people, by axial layer and relative to real against real.

    Args:
        real: Store with real cases of the synthetic modality, of at least two patients.
        synthetic: Stores made by `synthesize`, one per model.
        out: The result folder.
        source: Stores with the scans that the synthetic cases were made from, which give the position of each slice;
            the real store is searched anyway.
        truth: Store with real images of the translated patients themselves, in the synthetic modality.
        segmenter: Run of `segment`, trained on real images of that modality: it segments the synthetic images, and the
            result is compared with their labels. Or a folder of label maps that another tool made of the synthetic
            images: CASE.nii.gz or CASE_seg.nii.gz, and a labels.json as `prepare nifti` reads it; with several stores,
            in a folder for each, named as the store. Default: the predictions of each model's own segmentor.
        options: Fields of `EvaluationSettings`.

    Returns:
        The finished result; a result that exists is not computed again.

    Raises:
        InputError: nothing to compare, fewer than two real patients, values that are not HU, an unknown detector, a
            segmenter of another modality, label maps that lie elsewhere or name no organ of the labels, or `out` is
            something else.
    """
    from crossmod.evaluation import run as evaluation
    from crossmod.evaluation.result import lines

    settings, _ = build_settings(EvaluationSettings, options)
    run = evaluation.evaluate_images(
        real, several(synthetic), out, source=several(source), truth=truth, segmenter=segmenter, settings=settings
    )
    for line in lines(run.card):
        say(line)
    say(f"{out}. Next: crossmod report {out} --out page.html")
    return run


@command("evaluate compare", 2)
def compare_evaluations(results: Paths, *, json: PathName | None = None) -> "Ranking":
    """Rank the models of several results over all metrics, and say which differences are not shown.

    Args:
        results: Folders made by `evaluate images`.
        json: Also write the ranking to this file.

    Returns:
        The ranking, with the differences between each two models.

    Raises:
        InputError: results that do not share real patients, layers or settings.
    """
    from crossmod.evaluation import ranking as models
    from crossmod.evaluation.result import columns
    from crossmod.files import write_json

    ranking = models.compare_evaluations(several(results))
    if json is not None:
        write_json(Path(json), models.to_json(ranking))
    for line in columns(models.table(ranking)):
        say(line)
    for pair in ranking.pairs:
        say(pair.sentence)
    for line in ranking.warnings:
        say(f"Warning: {line}")
    return ranking
