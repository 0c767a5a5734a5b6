"""Where the runs of an experiment are made, as the command line asks."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from crossmod.errors import InputError
from crossmod.settings import Machine

if TYPE_CHECKING:
    from crossmod.experiment.executor import Executor


class Where(Machine):
    """Where the runs of an experiment are made."""

    executor: Literal["local", "ray", "slurm"] = "local"
    """This machine; a Ray cluster (extra `ray`); or SLURM array jobs (extra `slurm`)."""
    jobs: int = Field(default=0, ge=0)
    """Runs at once; 0: as many as fit. On this machine that is one a core where runs are small, and otherwise 1."""
    address: str | None = None
    """Ray: of the cluster, such as `auto` or head:6379; default: a Ray of its own on this machine."""
    cpus: int = Field(default=1, ge=1)
    """Ray and SLURM: CPUs of each run."""
    gpus: float = Field(default=0.0, ge=0)
    """Ray and SLURM: GPUs of each run; with Ray 0.25 lets four small runs share one."""
    partition: str | None = None
    """SLURM: the partition."""
    hours: float = Field(default=24.0, gt=0)
    """SLURM: time limit of each run, which goes on from its checkpoint when it is cut off."""
    memory_gb: float = Field(default=16.0, gt=0)
    """SLURM: memory of each run."""


def executor_of(root: Path, where: Where) -> "Executor":
    """Where the runs of the experiment in `root` are made; on this machine, 0 jobs are one after another.

    Raises:
        InputError: an executor whose extra is not installed, GPUs that cannot be shared, or an option of another one.
    """
    _refuse_idle(where)
    machine = Machine(**where.model_dump(include=set(Machine.model_fields)))
    if where.executor == "ray":
        from crossmod.experiment.on_ray import OnRay

        return OnRay(root, machine, address=where.address, cpus=float(where.cpus), gpus=where.gpus, most=where.jobs)
    if where.executor == "slurm":
        return _slurm(root, machine, where)
    from crossmod.experiment.executor import InProcess
    from crossmod.experiment.workers import Workers

    return InProcess(root, machine) if where.jobs <= 1 else Workers(root, machine, where.jobs)


# Options that only some executors know.
ONLY: dict[str, tuple[str, ...]] = {
    "address": ("ray",),
    "cpus": ("ray", "slurm"),
    "gpus": ("ray", "slurm"),
    "partition": ("slurm",),
    "hours": ("slurm",),
    "memory_gb": ("slurm",),
}


def _refuse_idle(where: Where) -> None:
    """An option of another executor would be ignored."""
    for name, executors in ONLY.items():
        default = type(where).model_fields[name].default
        if where.executor not in executors and getattr(where, name) != default:
            option, wanted = f"--{name.replace('_', '-')}", f"--executor {' or '.join(executors)} with it"
            found = f"{getattr(where, name)} with --executor {where.executor}, which does not know it"
            raise InputError(option, found=found, wanted=wanted, do=f"Leave {option} out, or change the executor.")


def _slurm(root: Path, machine: Machine, where: Where) -> "Executor":
    from crossmod.experiment.on_slurm import OnSlurm

    if where.gpus != int(where.gpus):
        do = "Use --executor ray to share one."
        raise InputError("--gpus", found=f"{where.gpus:g}", wanted="whole GPUs with SLURM", do=do)
    return OnSlurm(
        root,
        machine,
        partition=where.partition,
        hours=where.hours,
        cpus=where.cpus,
        gpus=int(where.gpus),
        memory_gb=where.memory_gb,
        parallel=where.jobs,
    )
