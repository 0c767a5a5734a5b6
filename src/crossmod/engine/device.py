"""Which device computes."""

import platform
from typing import Any

import torch

from crossmod.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        InputError: `cuda` was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        found = "no CUDA device that torch can use"
        raise InputError("--device cuda", found=found, wanted="a GPU", do="Use --device cpu, or a CUDA build of torch.")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """What computed: the same seed gives the same answer on the same one, with the same number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was ordered; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cpu_abilities() -> dict[str, Any]:
    """What torch knows of the CPU: instructions by name, such as `avx512_bf16`, and numbers; empty in old versions."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def cpu_name() -> str:
    """What the CPU calls itself, as far as that can be found out."""
    return str(cpu_abilities().get("cpu_name") or platform.processor() or platform.machine())
