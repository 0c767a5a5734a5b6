"""Jobs on a SLURM cluster, those that are ready together as one array, through submitit; needs the extra `slurm`.

Notable:
- The experiment's folder and the stores must lie on a disk that all machines see under the same path.
- submitit pickles jobs and results in the folder `slurm` of the experiment, and unpickles both: users who can write
  there can run code as you. crossmod itself reads no pickle.
- A run saves before its time limit, and when it is preempted. It is then submitted again and resumes, which does not
  count as a try; a run that was killed, or whose machine died, does. SLURM itself requeues nothing.
- When the command that drives the experiment is stopped, its jobs are cancelled (they save). It computes nothing: run
  it in a job of its own, or in tmux.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.experiment.executors.base import (
    SharedFolder,
    Work,
    check_visible,
    package,
    run_job,
    share,
    single_process,
)
from crossmod.experiment.executors.options import ExecutorOptions
from crossmod.experiment.jobs import Job, Outcome
from crossmod.settings import Machine

# Seconds: between looks; without news until `wait` gives nothing; for a result to arrive after its job has ended; and
# for a run to save before its time limit.
POLL, PATIENCE, ARRIVES, TO_SAVE = 2.0, 10.0, 60.0, 120
# Jobs that SLURM holds at once, and tasks of one array; SLURM's default limit of an array is 1001.
MOST = ARRAY = 1000
# States after which submitting again does not help.
FINAL = {
    "CANCELLED": "a user cancelled it",
    "OUT_OF_MEMORY": "it needs more memory than it was given",
}


class SlurmExecutor:
    """Each job is a task of an array; `extra` are options of `sbatch`; `cluster="local"` is for tests."""

    slots = MOST

    def __init__(
        self,
        root: Path,
        machine: Machine,
        options: ExecutorOptions,
        *,
        extra: Mapping[str, object] | None = None,
        cluster: str = "slurm",
        work: Work | None = None,
    ):
        if options.gpus != int(options.gpus):
            do = "Use --executor ray to share one."
            raise InputError("--gpus", found=f"{options.gpus:g}", expected="whole GPUs with SLURM", do=do)
        self._root, self._work, self._cluster = root, work, cluster
        self._machine, self._cpus = single_process(machine, "--executor slurm"), options.cpus
        self._submitit = package("submitit", "slurm")
        if cluster == "slurm" and shutil.which("srun") is None:
            do = "Start the experiment where jobs are submitted, or use another executor."
            raise InputError("--executor slurm", found="no srun", expected="a SLURM cluster", do=do)
        self._parameters: dict[str, object] = {
            "name": "crossmod",
            "timeout_min": max(round(options.hours * 60), 1),
            "cpus_per_task": options.cpus,
            "mem_gb": options.memory_gb,
            "slurm_array_parallelism": options.jobs or MOST,
            "slurm_signal_delay_s": TO_SAVE,
            "slurm_additional_parameters": {"no-requeue": True, **(extra or {})},
        }
        self._parameters |= {"gpus_per_node": int(options.gpus)} if options.gpus else {}
        self._parameters |= {"slurm_partition": options.partition} if options.partition else {}
        self._executor: Any = None
        self._waiting: list[Job] = []
        self._held: dict[str, tuple[Any, Job]] = {}
        self._ended: dict[str, float] = {}

    def start(self, job: Job) -> None:
        """Take a job; it is submitted with the others of its array."""
        self._waiting.append(job)

    def wait(self) -> list[Outcome]:
        """Submit the jobs that were taken, then wait for outcomes."""
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
        """Cancel all jobs: SLURM asks them to stop, and they save."""
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
            self._executor.update_parameters(**self._parameters)
        for first in range(0, len(self._waiting), ARRAY):
            some = self._waiting[first : first + ARRAY]
            with self._executor.batch():
                how = (place, self._machine, self._work, self._cpus)
                tasks = [self._executor.submit(run_on_slurm, job, *how) for job in some]
            self._held |= {job.name: (task, job) for job, task in zip(some, tasks, strict=True)}
        self._waiting = []

    def _look(self, task: Any, job: Job) -> Outcome | None:
        """How a job ended; None while it runs."""
        # submitit counts a preempted job as running, since SLURM might requeue it. Ours are not requeued.
        if not task.done() and _state(task) != "PREEMPTED":
            self._ended.pop(job.name, None)
            return None
        if not task.paths.result_pickle.exists():
            ended = self._ended.setdefault(job.name, time.monotonic())
            return _without_result(task, job) if time.monotonic() - ended > ARRIVES else None
        error = task.exception()
        if error is None:
            return check_visible(task.result(), job, share(self._root))
        trace = str(error).split("-" * 22)[1:2] or [str(error)]
        return Outcome(job.name, error=f"{trace[0].strip().splitlines()[-1]} (details: {task.paths.stderr})")


def run_on_slurm(job: Job, place: SharedFolder, machine: Machine, work: Work | None, cpus: int) -> Outcome:
    """`run_job`, with SLURM's signal before the time limit as a SIGTERM."""
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
