"""How much memory a piece of work adds at most to what the process holds.

Notable:
- On a GPU all counts, from the building on: what torch's tensors take. Later steps may be replays of a recorded one,
  which take the memory of the recording and ask for none.
- On a CPU one step counts, beyond what is held before it. Earlier ones load libraries and compile, and both paths hold
  the same weights, gradients and moments.
"""

import ctypes
import sys
from pathlib import Path

import torch

from crossmod.engine.memory import peak_bytes, resident_bytes

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def meaning(device: torch.device) -> str:
    """What the number is, for people."""
    if device.type == "cuda":
        return "GPU memory: weights, Adam and the first steps at their peak, without the slices"
    return "main memory that one step adds at its peak to what is held before and after it, such as weights and Adam"


def begin(device: torch.device) -> int:
    """Begin to watch; gives the bytes from which `added` counts.

    What was freed before is given back to the system first, or it would be used again without being counted. Where the
    system cannot forget an earlier peak (macOS), only what goes beyond that counts.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if sys.platform == "linux":
        # musl's library has no such function.
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    try:
        # "5": forget the peak (proc(5)).
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return _peak()
    return resident_bytes()


def added(since: int, device: torch.device) -> int:
    """Bytes that were held at most beyond those that `begin` gave."""
    return max((peak_bytes(device) if device.type == "cuda" else _peak()) - since, 0)


def _peak() -> int:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return peak_bytes(torch.device("cpu"))
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
