"""How many CPU threads compute.

Notable:
- OpenMP's threads meet after every layer and wait for each other by spinning. Where one of them has to share its core
  with another program, all of them wait for it at every layer: two threads on two cores, one of them busy, took 3 times
  (2,000,000 numbers a layer) to 90 times (65,000) as long as on quiet cores. One thread alone lost little.
- Small networks therefore compute on one thread, which also leaves the other cores to other runs.
- The number of threads decides how sums are ordered, so that it is part of what "same machine, same answer" means. It
  follows from the settings and the machine, not from how busy the machine is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from crossmod.engine.device import batch_size
from crossmod.machine import SMALL, usable_cores
from crossmod.settings import Machine


def threads_for(machine: Machine, *, small: bool, processes: int = 1) -> int:
    """How many threads a process computes with.

    Args:
        machine: `threads`, where it is not 0, decides.
        small: whether one thread is nearly as fast as several.
        processes: that compute side by side on this machine.
    """
    if machine.threads:
        return machine.threads
    # torch knows OMP_NUM_THREADS, but not what a container may use.
    return 1 if small else max(1, min(torch.get_num_threads(), usable_cores() // processes))


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def suited_to(network: nn.Module, size: int, device: torch.device, threads: int = 0) -> Iterator[None]:
    """Use a trained network: a small one with a single thread, as it was trained.

    Args:
        network: its first convolution tells how wide it is.
        size: pixels along each side of the slices.
        device: on a GPU nothing is changed.
        threads: that the user asked for; 0: choose.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    numbers = size**2 * batch_size(device, size) * first.out_channels if first else SMALL + 1
    small = device.type == "cpu" and numbers <= SMALL
    with computing_with(threads or (1 if small else torch.get_num_threads())):
        yield
