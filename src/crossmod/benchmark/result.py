"""The result of a benchmark: its file, compared with another, and its table."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from crossmod.files import write_json

# Beyond this, relatively, the two do not compute the same. bf16 keeps 8 bits: a loss of it is off by a percent or less.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Reading:
    """One path's numbers."""

    path: str  # how it computes, in words
    seconds: tuple[float, ...]  # of each timed step; on a GPU the mean of each turn
    milliseconds: float  # the median of a step, or of a slice
    slices_per_second: float  # throughput
    start_seconds: float  # time of the first steps beyond as many later ones: compiling, recording, choosing algorithms
    peak_bytes: int  # memory; `Bench.memory` says what is counted
    # Floating-point operations, as the reference does them, in 1e12 per second; None without networks
    tflops: float | None = None
    share: float | None = None  # `tflops` over the machine's best in the same precision


@dataclass(frozen=True)
class Comparison:
    """The shipped path and the reference at the same work."""

    work: str  # what they do
    unit: str  # of the milliseconds: `step` or `slice`
    reference: Reading  # plain PyTorch
    shipped: Reading  # what crossmod runs
    ratio: float  # milliseconds of the reference / milliseconds of the shipped path
    operations: int | None  # floating-point operations per unit; None without networks
    checked: str  # what was compared
    difference: float | None  # the largest relative difference found; None: a value was not finite
    same: bool  # whether that is close enough
    reading_milliseconds: float | None = None  # time to fetch one step's data; None if nothing is fetched
    reading_share: float | None = None  # of the shipped path's step


@dataclass(frozen=True)
class Bench:
    """All measurements of one command."""

    command: str  # its name
    size: str  # of the work, in words
    device: str  # where
    torch: str  # version
    threads: int  # of torch
    # TFLOP/s of the machine at its best, in a large matrix product or convolution, by precision
    rates: dict[str, float]
    memory: str  # what the memory numbers are
    comparisons: tuple[Comparison, ...]  # one or more
    notes: tuple[str, ...] = ()  # what must be known to read the numbers


def save(bench: Bench, path: Path) -> None:
    """Write the numbers as JSON."""
    write_json(path, asdict(bench))


Row = tuple[str, str, str]

# What starts in less than this needs no line of its own.
WORTH_A_LINE_SECONDS = 1.0


def show(bench: Bench) -> None:
    """Print it on standard output: with lines around it on a terminal, plain elsewhere."""
    print(f"crossmod bench {bench.command}: {bench.size}")
    print(f"On {bench.device}, PyTorch {bench.torch}")
    if bench.rates:
        shown = ", ".join(f"{rate:.3g} TFLOP/s in {name}" for name, rate in bench.rates.items())
        print(f"Peak rate: {shown} (large matrix product or convolution)")
    for comparison in bench.comparisons:
        print()
        _print_table(rows(comparison))
        for line in lines(comparison):
            print(line)
    print()
    print(f"Memory: {bench.memory}.")
    for note in bench.notes:
        print(note)


def rows(comparison: Comparison) -> list[Row]:
    """The table, its head first."""
    table = [
        (comparison.work, "reference", "shipped"),
        ("path", comparison.reference.path, comparison.shipped.path),
        _row(comparison, f"ms per {comparison.unit}", lambda one: _number(one.milliseconds)),
        _row(comparison, "from, to", _spread),
        _row(comparison, "slices/s", lambda one: _number(one.slices_per_second)),
        ("times as fast", "1", f"{comparison.ratio:.2f}"),
        _row(comparison, "memory, MB", lambda one: f"{one.peak_bytes / 1e6:.0f}"),
    ]
    if comparison.operations is not None:
        table += [
            _row(comparison, "TFLOP/s", lambda one: "" if one.tflops is None else f"{one.tflops:.3g}"),
            _row(comparison, "of its best", lambda one: "" if one.share is None else f"{one.share:.0%}"),
        ]
    return table


def _row(comparison: Comparison, name: str, of: Callable[[Reading], str]) -> Row:
    return (name, of(comparison.reference), of(comparison.shipped))


def _spread(one: Reading) -> str:
    # The median's share of a step is that of every step.
    unit = one.milliseconds / median(one.seconds)
    return f"{_number(min(one.seconds) * unit)}, {_number(max(one.seconds) * unit)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def lines(comparison: Comparison) -> list[str]:
    """The lines below the table."""
    texts = []
    if comparison.shipped.start_seconds >= WORTH_A_LINE_SECONDS:
        texts.append(
            f"Once, before full speed: {comparison.shipped.start_seconds:.0f} s in the shipped path's first steps."
        )
    if comparison.reading_milliseconds is not None and comparison.reading_share is not None:
        shown = f"{comparison.reading_milliseconds:.2g} ms, {comparison.reading_share:.1%} of the shipped path's step"
        texts.append(f"Fetching a step's slices takes {shown}; it is part of both paths' times.")
    return [*texts, verdict(comparison)]


def verdict(comparison: Comparison) -> str:
    """Whether both compute the same."""
    if comparison.difference is None:
        return f"WARNING, fast but wrong: a value is not finite ({comparison.checked})."
    off = f"differ by {comparison.difference:.2%} at most ({comparison.checked})"
    if comparison.same:
        return f"The two {off}."
    return f"WARNING, fast but wrong: the two {off}; {TOLERANCE:.0%} would be close enough. Use --precision fp32."


def _print_table(table: Sequence[Row]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        head, *rest = table
        shown = Table(head[0], *(f"[bold]{name}" for name in head[1:]))
        for row in rest:
            shown.add_row(*row)
        Console().print(shown)
        return
    widths = [max(len(row[place]) for row in table) for place in range(2)]
    for first, second, third in table:
        print(f"{first:{widths[0]}}  {second:{widths[1]}}  {third}")
