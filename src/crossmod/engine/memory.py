"""How much memory this process takes: now, and at most so far; and what to say where there is too little."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from crossmod.engine.checkpoint import checkpoints
from crossmod.errors import InputError

STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Main memory that the process holds now, bytes; where there is no /proc (macOS), the most it ever held."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return _most_resident()
    return pages * resource.getpagesize()


def peak_bytes(device: torch.device) -> int:
    """The most memory that the process held so far, bytes.

    Args:
        device: `cpu`: main memory, libraries and all; `cuda`: what torch's tensors took of the GPU's memory, without
            what CUDA itself and torch's cache take.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _most_resident()


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB.
    return most if sys.platform == "darwin" else most * 1024


@contextmanager
def fitting(out: Path, batch_size: int, size: int) -> Iterator[None]:
    """Train; where memory does not suffice, say so.

    Args:
        out: the run folder.
        batch_size: slices in a step.
        size: pixels along each side of them.

    Raises:
        InputError: there is too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        which = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "main memory"
        lower = "--batch-size, --size" if batch_size > 1 else "--size"
        # What has no checkpoint begins again with other settings; what has one is a run with its own.
        where = ", with another folder for the run" if checkpoints(out / "checkpoints") else "; the same folder will do"
        raise InputError(
            out,
            found=f"too little {which} for --batch-size {batch_size} with --size {size}",
            expected="a training that fits into memory",
            do=f"Lower {lower} or the width of the networks, or use a machine with more memory{where}.",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: torch and its libraries say it in words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)


_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "not enough memory", "std::bad_alloc")
