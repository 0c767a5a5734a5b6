"""What a bench found, as plain data: printed, written as JSON, and read back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from crossmod.files import read_json, write_json

# Beyond this, relatively, the two do not compute the same. bf16 keeps 8 bits: a loss of it is off by a percent or less.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Reading:
    """One path's numbers.

    Args:
        path: how it computes, in words.
        seconds: of each timed step; on a GPU the mean of each turn.
        milliseconds: the median of a step, or of a slice.
        slices_per_second: how many slices it gets through.
        start_seconds: what the first steps took beyond as many later ones: compiling, recording, choosing algorithms.
        peak_bytes: memory; `Bench.memory` says what is counted.
        tflops: floating-point operations, as the reference does them, in 1e12 a second; None without networks.
        share: `tflops` over what the machine reaches at its best in the same precision.
    """

    path: str
    seconds: tuple[float, ...]
    milliseconds: float
    slices_per_second: float
    start_seconds: float
    peak_bytes: int
    tflops: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The shipped path and the reference at the same work.

    Args:
        work: what they do.
        unit: what the milliseconds are of: `step` or `slice`.
        reference: plain PyTorch.
        shipped: what crossmod runs.
        ratio: how many times faster the shipped path is: milliseconds of the reference / milliseconds of the shipped.
        operations: floating-point operations of a unit; None without networks.
        checked: what of the two was held against each other.
        difference: the largest relative difference found; None: something was no number.
        same: whether that is close enough.
        reading_milliseconds: what fetching one step's data takes by itself; None where nothing is fetched.
        reading_share: of the shipped path's step.
    """

    work: str
    unit: str
    reference: Reading
    shipped: Reading
    ratio: float
    operations: int | None
    checked: str
    difference: float | None
    same: bool
    reading_milliseconds: float | None = None
    reading_share: float | None = None


@dataclass(frozen=True)
class Bench:
    """All that one command measured.

    Args:
        command: its name.
        size: the work's, in words.
        device: where.
        torch: version.
        threads: that torch used.
        rates: TFLOP/s of the machine at its best, in a large matrix product or convolution, by precision.
        memory: what the memory numbers are.
        comparisons: one or more.
        notes: what must be known to read the numbers.
    """

    command: str
    size: str
    device: str
    torch: str
    threads: int
    rates: dict[str, float]
    memory: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


def save(bench: Bench, path: Path) -> None:
    """Write the numbers as JSON."""
    write_json(path, plain(bench))


def load(path: Path) -> Bench:
    """The numbers that `save` wrote.

    Raises:
        InputError: the file is not there or is not JSON.
    """
    return TypeAdapter(Bench).validate_python(read_json(path))


def plain(bench: Bench) -> dict[str, Any]:
    """The numbers as JSON knows them."""
    return asdict(bench)
