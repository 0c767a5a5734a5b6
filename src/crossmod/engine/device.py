"""Which device computes."""

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
