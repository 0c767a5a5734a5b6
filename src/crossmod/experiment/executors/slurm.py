"""Jobs on a SLURM cluster, those that are ready together as one array, by way of submitit; needs the extra `slurm`.

Notable:
- The experiment's folder and the stores must lie on a disk that all machines see under the same path.
- submitit pickles what it runs, and what comes back, into the folder `slurm` of the experiment, and unpickles both:
  whoever may write there may run code as you. crossmod itself reads no pickle.
- Before its time is up, and when it is preempted, a run saves. It is then submitted again and goes on from there, which
  does not count as a try; a run whose machine died, or that was killed, does. SLURM itself requeues nothing.
- When the command that drives the experiment is stopped, its jobs are cancelled (they save). It computes nothing: leave
  it running in a job of its own, or in tmux.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.experiment.executors.base import Work
from crossmod.experiment.executors.worker import Place, alone, looked_for, package, run_job, share
from crossmod.experiment.jobs import Job
from crossmod.experiment.scheduler import Outcome
from crossmod.settings import Machine

# Seconds: between looks, and without news until `wait` gives nothing; for a result to arrive after its job has ended;
# and that a run has to save before its time is up.
POLL, PATIENCE, ARRIVES, TO_SAVE = 2.0, 10.0, 60.0, 120
# Tasks of one array; what SLURM allows is 1001 unless it is told otherwise.
ARRAY = 1000
# States after which submitting again does not help.
FINAL = {
    "CANCELLED": "somebody cancelled it",
    "OUT_OF_MEMORY": "it needs more memory than it was given",
}


class SlurmExecutor:
    """Each job is a task of an array.

    Args:
        root: folder of the experiment, on a disk that all machines share.
        machine: where and how to compute; large runs take the CPUs of a job where no number of threads is given.
        partition: of SLURM; None: the default one.
        hours: after which a run is asked to save, and submitted again.
        cpus: that a job takes.
        gpus: that a job takes, whole ones.
        memory_gb: main memory that a job takes.
        most: jobs that SLURM holds at once, waiting or running.
        parallel: of each array, how many may run at once; 0: as many as SLURM likes.
        options: further ones of `sbatch`, such as `{"account": "radiology"}`.
        cluster: `slurm`; or, for trying things out, `local`: plain processes on this machine.
        work: does a job, in place of `perform`.

    Raises:
        InputError: submitit is not installed, there is no SLURM here, or jobs of several processes each.
    """

    def __init__(
        self,
        root: Path,
        machine: Machine,
        *,
        partition: str | None = None,
        hours: float = 24.0,
        cpus: int = 4,
        gpus: int = 1,
        memory_gb: float = 16.0,
        most: int = 1000,
        parallel: int = 0,
        options: dict[str, Any] | None = None,
        cluster: str = "slurm",
        work: Work | None = None,
    ):
        self.slots = most
        self._root, self._work, self._cluster = root, work, cluster
        self._machine, self._cpus = alone(machine, "--executor slurm"), cpus
        self._submitit = package("submitit", "slurm")
        if cluster == "slurm" and shutil.which("srun") is None:
            do = "Start the experiment where jobs are submitted, or use another executor."
            raise InputError("--executor slurm", found="no srun", expected="a SLURM cluster", do=do)
        self._asked: dict[str, Any] = {
            "name": "crossmod",
            "timeout_min": max(round(hours * 60), 1),
            "cpus_per_task": cpus,
            "mem_gb": memory_gb,
            "slurm_array_parallelism": parallel or most,
            "slurm_signal_delay_s": TO_SAVE,
            "slurm_additional_parameters": {"no-requeue": True, **(options or {})},
        }
        self._asked |= {"gpus_per_node": gpus} if gpus else {}
        self._asked |= {"slurm_partition": partition} if partition else {}
        self._executor: Any = None
        self._waiting: list[Job] = []
        self._held: dict[str, tuple[Any, Job]] = {}
        self._ended: dict[str, float] = {}

    def start(self, job: Job) -> None:
        """Take a job; it is submitted with the others of its array."""
        self._waiting.append(job)

    def wait(self) -> list[Outcome]:
        """Submit what was taken since, then see what came back."""
        self._submit()
        until = time.monotonic() + PATIENCE
        while True:
            looks = [(name, self._look(task, job)) for name, (task, job) in self._held.items()]
            outcomes = [(name, outcome) for name, outcome in looks if outcome is not None]
            for name, _ in outcomes:
                del self._held[name]
                self._ended.pop(name, None)
            if outcomes or time.monotonic() > until:
                return [outcome for _, outcome in outcomes]
            time.sleep(POLL)

    def close(self) -> None:
        """Cancel what is held: SLURM asks it to stop, and it saves."""
        tasks = [task for task, _ in self._held.values() if not task.done()]
        self._waiting, self._held, self._ended = [], {}, {}
        if self._cluster == "slurm":
            for first in range(0, len(tasks), ARRAY):
                some = [str(task.job_id) for task in tasks[first : first + ARRAY]]
                subprocess.run(["scancel", *some], check=False)
            return
        for task in tasks:
            task.cancel(check=False)

    def _submit(self) -> None:
        place = share(self._root)
        if self._executor is None:
            self._executor = self._submitit.AutoExecutor(folder=place.root / "slurm", cluster=self._cluster)
            self._executor.update_parameters(**self._asked)
        for first in range(0, len(self._waiting), ARRAY):
            some = self._waiting[first : first + ARRAY]
            with self._executor.batch():
                asked = (place, self._machine, self._work, self._cpus)
                tasks = [self._executor.submit(sit_on_slurm, job, *asked) for job in some]
            self._held |= {job.name: (task, job) for job, task in zip(some, tasks, strict=True)}
        self._waiting = []

    def _look(self, task: Any, job: Job) -> Outcome | None:
        """How a job ended; None as long as it has not."""
        # A preempted job counts as running to submitit, since SLURM might requeue it. Ours are not requeued.
        if not task.done() and _state(task) != "PREEMPTED":
            self._ended.pop(job.name, None)
            return None
        if not task.paths.result_pickle.exists():
            ended = self._ended.setdefault(job.name, time.monotonic())
            return _without_result(task, job) if time.monotonic() - ended > ARRIVES else None
        error = task.exception()
        if error is None:
            return looked_for(task.result(), job, share(self._root))
        trace = str(error).split("-" * 22)[1:2] or [str(error)]
        return Outcome(job.name, error=f"{trace[0].strip().splitlines()[-1]} (details: {task.paths.stderr})")


def sit_on_slurm(job: Job, place: Place, machine: Machine, work: Work | None, cpus: int) -> Outcome:
    """`sit`, where the signal that time is nearly up asks as SIGTERM does."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    return run_job(job, place, machine, work, cpus)


def _state(task: Any) -> str:
    """Such as `CANCELLED`, of `CANCELLED by 1000`."""
    return str(task.state).split()[0].rstrip("+") if task.state else ""


def _without_result(task: Any, job: Job) -> Outcome:
    state, where = _state(task), f"see {task.paths.stderr}"
    if state in FINAL:
        return Outcome(job.name, error=f"SLURM says {state}: {FINAL[state]}; {where}")
    return Outcome(job.name, lost=True, error=f"SLURM says {state}; {where}")
