"""`crossmod info` and `crossmod report`: look at what is there."""

from pathlib import Path

from crossmod.cli.app import app, say


@app.command(sort_key=2)
def info(path: Path) -> None:
    """Describe a volume, a store, a run or a model bundle.

    Parameters
    ----------
    path
        NIfTI file, folder of DICOM files, store, run folder, or what `export` made.
    """
    if (path / "bundle.json").is_file():
        from crossmod.inference.bundle.model_card import readme_of
        from crossmod.inference.bundle.parse import read_bundle

        # Not the file beside it, which anybody may have written.
        return say(readme_of(read_bundle(path)))
    from crossmod.report.info import show

    return show(path)


@app.command(sort_key=6)
def report(runs: tuple[Path, ...], *, out: Path = Path("report.html"), source: tuple[Path, ...] = ()) -> None:
    """Make one HTML page, which opens offline, of training and segmentation runs, results and synthetic stores.

    Parameters
    ----------
    runs
        Run folders, results of `evaluate images`, and stores that `synthesize` made; or the folder of an experiment,
        by itself. Segmentation runs that differ in
        seed and fold alone make an arm; an arm with synthetic slices is compared to the one without that was trained
        alike.
    out
        The page.
    source
        Stores with the slices that synthetic ones were made from; those that the named training runs read are
        looked into anyway.
    """
    from crossmod.report.build import build_report

    for line in build_report(list(runs), out, sources=source):
        say(line)
    say(f"{out}")
