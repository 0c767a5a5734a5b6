"""Memory of this process, current and peak, and the error when it does not suffice."""

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
    """Main memory of the process, bytes; without /proc (macOS) its peak."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return _most_resident()
    return pages * resource.getpagesize()


def peak_bytes(device: torch.device) -> int:
    """Peak memory in bytes. On a CPU, that of the process with libraries; on a GPU, that of torch's tensors."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _most_resident()


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB.
    return most if sys.platform == "darwin" else most * 1024


@contextmanager
def fitting(out: Path, batch_size: int, size: int) -> Iterator[None]:
    """Turn a lack of memory in the block into an InputError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # Torch and its libraries say so only in their messages.
        reported = any(words in str(error) for words in _NO_MEMORY)
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or reported):
            raise
        which = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "main memory"
        lower = "--batch-size, --size" if batch_size > 1 else "--size"
        # A run without a checkpoint may begin again with other settings; one with a checkpoint may not.
        where = ", with another folder for the run" if checkpoints(out / "checkpoints") else "; the same folder will do"
        raise InputError(
            out,
            found=f"too little {which} for --batch-size {batch_size} with --size {size}",
            expected="a training that fits into memory",
            do=f"Lower {lower} or the width of the networks, or use a machine with more memory{where}.",
        ) from error


_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "not enough memory", "std::bad_alloc")
