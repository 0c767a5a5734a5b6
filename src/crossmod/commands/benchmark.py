"""`crossmod bench` and `crossmod doctor`: how fast this machine is, and what it has."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmod.benchmark.options import PrepareBench, SegmentBench, Timing, TranslateBench
from crossmod.commands import build_settings, command, settings_of
from crossmod.errors import InputError
from crossmod.files import PathName
from crossmod.progress import progress_disabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from crossmod.benchmark.doctor import Check
    from crossmod.benchmark.result import Bench


@command("bench train", 1, options=settings_of(TranslateBench))
def bench_train(*, json: PathName | None = None, **options: Any) -> "Bench":
    """Time a training step of a translator.

    Args:
        json: Also write the numbers to this file.
        options: Fields of `TranslateBench`.

    Returns:
        Seconds per step of crossmod and of plain PyTorch, and their ratio.

    Raises:
        InputError: an option out of range, or no folder for `json`.
    """
    from crossmod.benchmark import train

    return _measure(train.bench_train, build_settings(TranslateBench, options)[0], json)


@command("bench synthesize", 2, options=settings_of(TranslateBench))
def bench_synthesize(*, json: PathName | None = None, **options: Any) -> "Bench":
    """Time the translation of slices; --batch-size has no effect here.

    Args:
        json: Also write the numbers to this file.
        options: Fields of `TranslateBench`.

    Returns:
        Seconds per slice of crossmod and of plain PyTorch, and their ratio.

    Raises:
        InputError: an option out of range, or no folder for `json`.
    """
    from crossmod.benchmark import synthesize

    return _measure(synthesize.bench_synthesize, build_settings(TranslateBench, options)[0], json)


@command("bench segment", 3, options=settings_of(SegmentBench))
def bench_segment(*, json: PathName | None = None, **options: Any) -> "Bench":
    """Time a training step of the U-Net, and its prediction.

    Args:
        json: Also write the numbers to this file.
        options: Fields of `SegmentBench`.

    Returns:
        Seconds per step of crossmod and of plain PyTorch, and their ratio.

    Raises:
        InputError: an option out of range, or no folder for `json`.
    """
    from crossmod.benchmark import segment

    return _measure(segment.bench_segment, build_settings(SegmentBench, options)[0], json)


@command("bench prepare", 4, options=settings_of(PrepareBench))
def bench_prepare(*, json: PathName | None = None, **options: Any) -> "Bench":
    """Time the reading of made-up DICOM files into a store.

    Args:
        json: Also write the numbers to this file.
        options: Fields of `PrepareBench`.

    Returns:
        Seconds per store of crossmod and of plain pydicom, and their ratio.

    Raises:
        InputError: an option out of range, or no folder for `json`.
    """
    from crossmod.benchmark import prepare

    return _measure(prepare.bench_prepare, build_settings(PrepareBench, options)[0], json)


def _measure(bench_of: "Callable[[Any], Bench]", options: Timing, json: PathName | None) -> "Bench":
    from crossmod.benchmark.result import save, show

    _check_place(json)
    bench = bench_of(options)
    if not progress_disabled():
        show(bench)
    if json is not None:
        save(bench, Path(json))
    return bench


def _check_place(json: PathName | None) -> None:
    # Not after minutes of measuring.
    if json is not None and not Path(json).absolute().parent.is_dir():
        raise InputError("--json", found=f"{json}, in no folder", expected="a file in one", do="Make the folder first.")


@command("doctor", 10, exit_code=lambda checks: int(any(check.state == "broken" for check in checks)))
def doctor(*, json: PathName | None = None) -> "list[Check]":
    """Show what this machine has, how a training will compute on it and why, and what to fix.

    The command exits with code 1 if something that crossmod needs is broken.

    Args:
        json: Also write the checks to this file.

    Returns:
        One entry per check, with `state` ok, note, missing or broken.

    Raises:
        InputError: no folder for `json`.
    """
    from crossmod.benchmark.doctor import examine, save, show

    _check_place(json)
    checks = examine()
    if json is not None:
        save(checks, Path(json))
    if not progress_disabled():
        show(checks)
    return checks
