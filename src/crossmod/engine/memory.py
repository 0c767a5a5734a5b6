"""How much memory this process takes: now, and at most so far."""

import resource
import sys
from pathlib import Path

import torch

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
