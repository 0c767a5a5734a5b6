"""Processes that train together, and the CPU threads of each.

Notable:
- OpenMP's threads meet after every layer and wait for each other by spinning. Where one of them has to share its core
  with another program, all of them wait for it at every layer: two threads on two cores, one of them busy, took 3 times
  (2,000,000 numbers a layer) to 90 times (65,000) as long as on quiet cores. One thread alone lost little.
- Small networks therefore compute on one thread, which also leaves the other cores to other runs.
- The number of threads decides how sums are ordered, so that it is part of what "same machine, same answer" means. It
  follows from the settings and the machine, not from how busy the machine is.
- Data parallel: every process has the same weights and its own slices; gradients are averaged before each optimizer
  step, as DDP does it, from a hook of the optimizer. A step of a family needs to know nothing of it, whatever networks
  it runs twice or freezes for half of the step, which is where wrapped modules go wrong.
- Whatever is decided (to stop, to save) is decided by all together, so that nobody waits for one who has left.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.optim import Optimizer

from crossmod.engine.device import batch_size, pick_device
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.machine import SMALL, usable_cores
from crossmod.progress import disable_progress
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


log = logging.getLogger(__name__)

Given = TypeVar("Given")


@dataclass(frozen=True)
class Distributed:
    """One process's view of all that train together.

    Args:
        device: where this process computes.
        rank: its number, from 0.
        ranks: how many there are.
        control_group: process group for everything but gradients; it never waits for a GPU.
        threads: CPU threads that the user asked for; 0: the number was chosen, and may be lowered.
    """

    device: torch.device
    rank: int = 0
    ranks: int = 1
    control_group: Any = None
    threads: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def all_agree(self, *values: int) -> list[int]:
        """The largest of each value over all processes."""
        if self.ranks == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.int64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.control_group)
        return shared.tolist()

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each value over all processes; one that is no number anywhere is none everywhere."""
        if self.ranks == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(shared, group=self.control_group)
        return (shared / self.ranks).tolist()

    def gather(self, value: Given) -> list[Given]:
        """Every process's value, in the order of ranks, on the first process; nothing on the others."""
        if self.ranks == 1:
            return [value]
        values: list[Any] | None = [None] * self.ranks if self.first else None
        distributed.gather_object(value, values, group=self.control_group)
        return values or []

    def once(self, work: Callable[[], Given]) -> Given:
        """What the first process's `work` gives, on all; what it raises is raised on all."""
        if self.ranks == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = work()
            except InputError as error:
                outcome[1] = {name: vars(error)[name] for name in ("subject", "found", "expected", "do")}
        distributed.broadcast_object_list(outcome, group=self.control_group)
        if outcome[1] is not None:
            raise InputError(**outcome[1])
        return outcome[0]

    def average_gradients(self, optimizer: Optimizer) -> None:
        """Have the gradients averaged over all processes before each step of an optimizer."""
        if self.ranks > 1:
            optimizer.register_step_pre_hook(lambda optimizer, *_: self._average(optimizer))

    def _average(self, optimizer: Optimizer) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # One message: what is sent in pieces waits in pieces.
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.ranks
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))


@contextmanager
def launch_processes(machine: Machine, *, small: bool = False) -> Iterator[Distributed]:
    """The processes that `machine` asks for, started where they are not there yet (by torchrun or SLURM).

    Args:
        machine: where and how to compute.
        small: whether one CPU thread is nearly as fast as several.

    Raises:
        InputError: more devices than there are, or no such device.
    """
    device = pick_device(machine.device)
    threads = threads_for(machine, small=small and device.type == "cpu", processes=machine.devices)
    with computing_with(threads), _launched(machine, device) as world:
        yield world


@contextmanager
def _launched(machine: Machine, device: torch.device) -> Iterator[Distributed]:
    if machine.devices * machine.nodes == 1:
        yield Distributed(device, threads=machine.threads)
        return
    if device.type == "cuda" and machine.devices > torch.cuda.device_count():
        found, expected = f"{machine.devices}", f"at most {torch.cuda.device_count()}, which are there"
        raise InputError("--devices", found=found, expected=expected, do="Lower it.")
    world = _join(device, machine)
    try:
        yield world
    except BaseException as error:
        if not isinstance(error, TrainingInterrupted):
            raise
        # All of them stop together; the first one may still be writing.
        distributed.barrier(group=world.control_group)
        raise
    else:
        distributed.barrier(group=world.control_group)
    finally:
        # Without it a process may hang at its end.
        distributed.destroy_process_group()


def _join(device: torch.device, machine: Machine) -> Distributed:
    # Slow to import, and one process needs nothing of it.
    from lightning_fabric import Fabric

    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fabric = Fabric(accelerator=device.type, devices=machine.devices, num_nodes=machine.nodes, strategy="ddp")
    fabric.launch()
    if fabric.global_rank > 0:
        disable_progress()
        logging.getLogger("crossmod").setLevel(logging.ERROR)
    # Decisions go through the host, whatever gradients go through.
    control_group = distributed.new_group(backend="gloo")
    return Distributed(fabric.device, fabric.global_rank, fabric.world_size, control_group, machine.threads)
