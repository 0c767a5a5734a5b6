"""Where the runs of an experiment are computed, as the command line asks.

Notable:
- Small runs use one thread each, whatever else runs, so that their results do not depend on how many run at once.
- A large run has all cores to itself, or a GPU: as many at once as there are GPUs. Only the user can say how many fit
  on one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from crossmod import registry
from crossmod.errors import InputError
from crossmod.machine import AnySettings, free_memory, is_small, usable_cores, visible_gpus
from crossmod.settings import Machine, member_of

if TYPE_CHECKING:
    from crossmod.experiment.executors.base import Executor

# Main memory of a small run, bytes. Measured: 0.6 GB, of which libraries take 0.4; the rest is for larger stores.
RUN = 1_500_000_000


@dataclass(frozen=True)
class SideBySide:
    """The number of runs at once, and the reason in a sentence."""

    jobs: int
    why: str


def side_by_side(machine: Machine, runs: Iterable[AnySettings], jobs: int = 0) -> SideBySide:
    """Choose how many runs are computed at once; `jobs` is what the user asked for, 0: choose."""
    if jobs:
        return SideBySide(jobs, f"{_several(jobs)}, as requested.")
    if machine.devices * machine.nodes > 1:
        return SideBySide(1, f"{_several(1)}: each takes several processes.")
    if _on_gpu(machine):
        gpus = max(1, len(visible_gpus()))
        where = "the GPU (--jobs N lets several share it)" if gpus == 1 else f"{gpus} GPUs, one on each"
        return SideBySide(gpus, f"{_several(gpus)} on {where}.")
    if not all(is_small(run) for run in runs):
        return SideBySide(1, f"{_several(1)}: some of them are large enough to use every core (--jobs N runs several).")
    cores, memory, threads = usable_cores(), free_memory(), machine.threads or 1
    fit = max(1, cores // threads)
    least = fit if memory is None else max(1, min(fit, memory // RUN))
    each = "one thread" if threads == 1 else f"{threads} threads"
    has = f"{cores} usable core{'s' if cores > 1 else ''}"
    if memory is not None and least < fit:
        has += f", and {memory / 1e9:.1f} GB of free memory where each may take {RUN / 1e9:.1f} GB"
    return SideBySide(least, f"{_several(least)} with {each} each: they are small, and there are {has}.")


def _several(jobs: int) -> str:
    return "One run after another" if jobs == 1 else f"{jobs} runs at once"


def _on_gpu(machine: Machine) -> bool:
    if machine.device != "auto":
        return machine.device == "cuda"
    # Slow to import, and only needed here.
    from crossmod.engine.device import pick_device

    return pick_device().type == "cuda"


class ExecutorOptions(Machine):
    """Where the runs of an experiment are computed."""

    executor: Annotated[str, member_of("executor")] = "local"
    """This machine; a Ray cluster (extra `ray`); or SLURM array jobs (extra `slurm`)."""
    jobs: int = Field(default=0, ge=0)
    """Runs at once; 0: as many as fit: one per GPU; without a GPU one per core if runs are small, and otherwise 1."""
    address: str | None = None
    """Ray: of the cluster, such as `auto` or head:6379; default: start Ray on this machine only."""
    cpus: int = Field(default=1, ge=1)
    """Ray and SLURM: CPUs of each run."""
    gpus: float = Field(default=0.0, ge=0)
    """Ray and SLURM: GPUs of each run; with Ray 0.25 lets four small runs share one."""
    partition: str | None = None
    """SLURM: the partition."""
    hours: float = Field(default=24.0, gt=0)
    """SLURM: time limit of each run; a run that reaches it resumes from its checkpoint."""
    memory_gb: float = Field(default=16.0, gt=0)
    """SLURM: memory of each run."""


def executor_of(root: Path, where: ExecutorOptions) -> "Executor":
    """The executor of the experiment in `root`; on this machine, 0 jobs are one after another."""
    _refuse_unused(where)
    machine = Machine(**where.model_dump(include=set(Machine.model_fields)))
    return registry.member("executor", where.executor)(root, machine, where)


def local(root: Path, machine: Machine, where: ExecutorOptions) -> "Executor":
    """Runs on this machine: one after another, or side by side in processes of their own."""
    from crossmod.experiment.executors.base import InProcess
    from crossmod.experiment.executors.local import LocalExecutor

    return InProcess(root, machine) if where.jobs <= 1 else LocalExecutor(root, machine, where.jobs)


# Options of some executors only.
ONLY: dict[str, tuple[str, ...]] = {
    "address": ("ray",),
    "cpus": ("ray", "slurm"),
    "gpus": ("ray", "slurm"),
    "partition": ("slurm",),
    "hours": ("slurm",),
    "memory_gb": ("slurm",),
}


def _refuse_unused(where: ExecutorOptions) -> None:
    """Refuse options that the chosen built-in executor would ignore."""
    if where.executor not in registry.built_in("executor"):
        return
    for name, executors in ONLY.items():
        if where.executor not in executors and getattr(where, name) != type(where).model_fields[name].default:
            option, expected = f"--{name.replace('_', '-')}", f"--executor {' or '.join(executors)} with it"
            found = f"{getattr(where, name)} with --executor {where.executor}, which does not know it"
            raise InputError(option, found=found, expected=expected, do=f"Leave {option} out, or change the executor.")
