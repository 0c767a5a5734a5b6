"""Processes that train together, and the CPU threads of each.

Notable:
- OpenMP's threads synchronise after every layer, by spinning. If one of them shares its core with another program, all
  wait for it at every layer: two threads on two cores, one of them busy, took 3 times (2,000,000 numbers per layer) to
  90 times (65,000) as long as on quiet cores. A single thread lost little.
- Small networks therefore compute on one thread, which also leaves the other cores to other runs.
- The number of threads determines the order of sums, so it is part of "same machine, same result". It follows from the
  settings and the machine, not from the machine's load.
- Data parallel: every process has the same weights and its own slices; gradients are averaged before each optimizer
  step, as in DDP, by a hook of the optimizer. So a family's step may run networks twice or freeze them for half of the
  step, which wrapped modules do not allow.
- All processes decide together (to stop, to save), so that none waits for one that has left.
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
    """Number of threads of each process on this machine; `small`: whether one thread is nearly as fast as several."""
    if machine.threads:
        return machine.threads
    # torch respects OMP_NUM_THREADS, but not the limits of a container.
    return 1 if small else max(1, min(torch.get_num_threads(), usable_cores() // processes))


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with this number of threads; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def suited_to(network: nn.Module, size: int, device: torch.device, threads: int = 0) -> Iterator[None]:
    """Use a trained network on slices of `size` pixels per side: a small one with a single thread, as in training.
    `threads`: requested by the user; 0: choose."""
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    numbers = size**2 * batch_size(device, size) * first.out_channels if first else SMALL + 1
    small = device.type == "cpu" and numbers <= SMALL
    with computing_with(threads or (1 if small else torch.get_num_threads())):
        yield


log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Distributed:
    """A process among all that train together."""

    device: torch.device  # where this process computes
    rank: int = 0  # its number, from 0
    ranks: int = 1  # number of processes
    control_group: Any = None  # process group for everything except gradients; it never waits for a GPU
    threads: int = 0  # CPU threads requested by the user; 0: the number was chosen, and may be lowered

    @property
    def first(self) -> bool:
        """Whether this process writes and logs for all."""
        return self.rank == 0

    def all_agree(self, *values: int) -> list[int]:
        """The largest of each value over all processes."""
        if self.ranks == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.int64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.control_group)
        return shared.tolist()

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each value over all processes; NaN if it is NaN in one of them."""
        if self.ranks == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(shared, group=self.control_group)
        return (shared / self.ranks).tolist()

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, in the order of ranks, on the first process; nothing on the others."""
        if self.ranks == 1:
            return [value]
        values: list[Any] | None = [None] * self.ranks if self.first else None
        distributed.gather_object(value, values, group=self.control_group)
        return values or []

    def once(self, work: Callable[[], Value]) -> Value:
        """Run `work` on the first process; its result is returned on all, its InputError raised on all."""
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
        """Average the gradients over all processes before each step of an optimizer."""
        if self.ranks > 1:
            optimizer.register_step_pre_hook(lambda optimizer, *_: self._average(optimizer))

    def _average(self, optimizer: Optimizer) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # In one message: several would each wait.
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.ranks
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))


@contextmanager
def launch_processes(machine: Machine, *, small: bool = False) -> Iterator[Distributed]:
    """The processes that `machine` requests, started unless torchrun or SLURM has started them."""
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
        found, expected = f"{machine.devices}", f"at most {torch.cuda.device_count()}, the number of GPUs"
        raise InputError("--devices", found=found, expected=expected, do="Lower it.")
    world = _join(device, machine)
    try:
        yield world
    except TrainingInterrupted:
        # All of them stop together; the first one may still be writing.
        distributed.barrier(group=world.control_group)
        raise
    else:
        distributed.barrier(group=world.control_group)
    finally:
        # Otherwise a process may hang at its end.
        distributed.destroy_process_group()


def _join(device: torch.device, machine: Machine) -> Distributed:
    # Slow to import, and not required by a single process.
    from lightning_fabric import Fabric

    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fabric = Fabric(accelerator=device.type, devices=machine.devices, num_nodes=machine.nodes, strategy="ddp")
    fabric.launch()
    if fabric.global_rank > 0:
        disable_progress()
        logging.getLogger("crossmod").setLevel(logging.ERROR)
    # Decisions go through the host, also if gradients do not.
    control_group = distributed.new_group(backend="gloo")
    return Distributed(fabric.device, fabric.global_rank, fabric.world_size, control_group, machine.threads)
