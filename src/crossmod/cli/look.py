"""`crossmod info` and `crossmod report`: look at what is there."""

from pathlib import Path

from crossmod.cli.application import app, say


@app.command(sort_key=2)
def info(path: Path) -> None:
    """Describe a volume, a store or a run.

    Parameters
    ----------
    path
        NIfTI file, folder of DICOM files, store, or run folder.
    """
    from crossmod.report.describe import show

    show(path)


@app.command(sort_key=6)
def report(runs: tuple[Path, ...], *, out: Path = Path("report.html")) -> None:
    """Make one HTML page, which opens offline, of training and segmentation runs and synthetic stores.

    Parameters
    ----------
    runs
        Run folders, and stores that `synthesize` made. The first segmentation run without synthetic slices is what
        the others are compared to.
    out
        The page.
    """
    from crossmod.report.build import build_report

    build_report(list(runs), out)
    say(f"{out}")
