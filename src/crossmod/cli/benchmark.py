"""`crossmod bench` and `crossmod doctor`: how fast this machine is, and what it has."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from crossmod.benchmark.options import PrepareBench, SegmentBench, Timing, TranslateBench
from crossmod.cli.app import app
from crossmod.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crossmod.benchmark.result import Bench

Flat = Parameter(name="*")

bench = App(
    name="bench",
    sort_key=9,
    help="""Time crossmod's paths against plain PyTorch, on this machine and on made-up data.

    The reference is the same networks in eager fp32. Both take the same steps in turns, and it is checked first that
    they compute the same.""",
)
app.command(bench)


@bench.command(sort_key=1)
def train(*, options: Annotated[TranslateBench | None, Flat] = None, json: Path | None = None) -> None:
    """Time a training step of a translator.

    Parameters
    ----------
    json
        Write the numbers to this file, too.
    """
    from crossmod.benchmark.train import bench_train

    _measure(bench_train, options or TranslateBench(), json)


@bench.command(sort_key=2)
def synthesize(*, options: Annotated[TranslateBench | None, Flat] = None, json: Path | None = None) -> None:
    """Time the translation of slices; --batch-size changes nothing here.

    Parameters
    ----------
    json
        Write the numbers to this file, too.
    """
    from crossmod.benchmark.synthesize import bench_synthesize

    _measure(bench_synthesize, options or TranslateBench(), json)


@bench.command(sort_key=3)
def segment(*, options: Annotated[SegmentBench | None, Flat] = None, json: Path | None = None) -> None:
    """Time a training step of the U-Net, and its prediction.

    Parameters
    ----------
    json
        Write the numbers to this file, too.
    """
    from crossmod.benchmark.segment import bench_segment

    _measure(bench_segment, options or SegmentBench(), json)


@bench.command(sort_key=4)
def prepare(*, options: Annotated[PrepareBench | None, Flat] = None, json: Path | None = None) -> None:
    """Time the reading of made-up DICOM files into a store.

    Parameters
    ----------
    json
        Write the numbers to this file, too.
    """
    from crossmod.benchmark.prepare import bench_prepare

    _measure(bench_prepare, options or PrepareBench(), json)


def _measure(bench_of: "Callable[[Any], Bench]", options: Timing, path: Path | None) -> None:
    from crossmod.benchmark.result import save, show

    _check_place(path)
    found = bench_of(options)
    show(found)
    if path is not None:
        save(found, path)


def _check_place(path: Path | None) -> None:
    # Not after minutes of measuring.
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError("--json", found=f"{path}, in no folder", expected="a file in one", do="Make the folder first.")


@app.command(sort_key=10)
def doctor(*, json: Path | None = None) -> None:
    """Say what this machine has, which path a training will take on it and why, and what to mend.

    Leaves with code 1 where something that crossmod needs is broken.

    Parameters
    ----------
    json
        Write the findings to this file, too.
    """
    from crossmod.benchmark.doctor import examine, save, show

    _check_place(json)
    findings = examine()
    if json is not None:
        save(findings, json)
    show(findings)
    if any(finding.state == "broken" for finding in findings):
        sys.exit(1)
