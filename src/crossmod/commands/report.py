"""`crossmod info` and `crossmod report`: look at stores, runs and results."""

from pathlib import Path

from crossmod.commands import Paths, command, several
from crossmod.files import PathName
from crossmod.progress import say


@command("info", 2)
def info(path: PathName) -> str:
    """Describe a volume, a store, a run or a model bundle.

    Args:
        path: NIfTI file, folder of DICOM files, store, run folder, or a bundle made by `export`.

    Returns:
        The description, tables in plain text.

    Raises:
        InputError: the path is none of these, or cannot be read.
    """
    path = Path(path)
    if (path / "bundle.json").is_file():
        from crossmod.inference.bundle.load import read_bundle
        from crossmod.inference.bundle.model_card import readme_of

        # Not the file beside it, which anyone may have written.
        text = readme_of(read_bundle(path))
    else:
        from crossmod.report.info import description

        text = description(path)
    say(text.rstrip("\n"))
    return text


@command("report", 6)
def build_report(runs: Paths, *, out: PathName = "report.html", source: Paths = ()) -> Path:
    """Build one HTML page, which opens offline, from training and segmentation runs, results and synthetic stores.

    Args:
        runs: Run folders, results of `evaluate images`, and synthetic stores; or the folder of one experiment.
            Segmentation runs that differ only in seed and fold form an arm; an arm with synthetic slices is compared
            with the arm without them that was trained in the same way.
        out: The page.
        source: Stores with the slices that synthetic ones were made from; those that the training runs read are
            searched anyway.

    Returns:
        The page.

    Raises:
        InputError: a path that is none of these, an unfinished run, or `out` is something else.
    """
    from crossmod.report import build

    for line in build.build_report(list(several(runs)), Path(out), sources=several(source)):
        say(line)
    say(f"{out}")
    return Path(out)
