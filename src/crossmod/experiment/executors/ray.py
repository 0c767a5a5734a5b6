"""Jobs and lists of cases on a Ray cluster; needs the extra `ray`.

Notable:
- The experiment's folder and the stores must lie on a disk that all machines see under the same path: runs leave their
  results there, and Ray transfers only the settings of a job. Every machine needs the same crossmod.
- A run whose worker or machine is lost is started again by the scheduler, elsewhere, and resumes from its checkpoint.
  Ray's own retries are off, since they would not be counted.
- A Ray that is started here sends no usage reports, has no dashboard, and requires a secret that is made for it. An
  existing cluster keeps its own configuration.
"""

import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from crossmod.errors import InputError
from crossmod.experiment.executors.base import Work, check_visible, package, run_job, share, single_process
from crossmod.experiment.executors.options import ExecutorOptions
from crossmod.experiment.jobs import Job, Outcome
from crossmod.inference.batch.table import Case, Row
from crossmod.settings import Machine

# Starts of a case whose machine is lost; it begins again, since nothing of it was written.
TRIES = 3


def cases_on_ray(
    address: str | None = None, gpus: float = 0.0
) -> Callable[[Callable[[Case], Row], Sequence[Case]], Iterator[Row]]:
    """What `translate_list` takes as `spread`; all machines must see the same folders under the same paths."""
    connection = Connection(address)

    def spread(do: Callable[[Case], Row], cases: Sequence[Case]) -> Iterator[Row]:
        ray = connection.open()
        # Ray needs functions with a name, which a partial does not have.
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TRIES)(lambda case: do(case))
        held = {task.remote(case): case for case in cases}
        try:
            while held:
                (done, *_), _ = ray.wait(list(held))
                case = held.pop(done)
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:
                    words = str(error).strip().splitlines()[0]
                    yield Row(case.name, "failed", 0.0, case.output, sentences=(f"Its worker was lost: {words}",))
        finally:
            connection.close(list(held))

    return spread


# Seconds between looks, and for runs to save before all is closed.
PATIENCE, GRACE = 5.0, 60.0
# Bytes; results are on disk, so that Ray needs hardly any memory. It refuses less than 75 MiB.
OBJECTS = 80 * 1024 * 1024
LOST = (
    *("WorkerCrashedError", "NodeDiedError", "RayActorError", "LocalRayletDiedError", "OutOfMemoryError"),
    *("ObjectLostError", "TaskCancelledError"),
)


class RayExecutor:
    """Each job is a Ray task; large runs use the CPUs of a job if no number of threads is given.

    Ray counts GPUs, not their memory. Runs to hold at once, 0: as many as fit, counted again as machines come and go.
    More than fit let a cluster grow.
    """

    def __init__(self, root: Path, machine: Machine, options: ExecutorOptions, *, work: Work | None = None):
        self._connection = Connection(options.address)
        self._root, self._work, self._most = root, work, options.jobs
        self._cpus, self._gpus = float(options.cpus), options.gpus
        self._machine = single_process(machine, "--executor ray")
        self._held: dict[Any, tuple[Job, float]] = {}
        self._fitting, self._counted = 0, float("-inf")

    @property
    def slots(self) -> int:
        """How many jobs fit, at least one: a cluster that lost all its machines may get new ones."""
        now = time.monotonic()
        if not self._most and not self._connection.closed and now - self._counted > PATIENCE:
            self._fitting, self._counted = max(self._count(), 1), now
        return self._most or self._fitting

    def start(self, job: Job) -> None:
        """Give a job to Ray, which starts it when a machine is free."""
        ray = self._connection.open()
        task = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(run_job)
        reference = task.options(name=job.name).remote(
            job, share(self._root), self._machine, self._work, max(int(self._cpus), 1)
        )
        self._held[reference] = (job, time.monotonic())

    def wait(self) -> list[Outcome]:
        """The outcomes since the last call."""
        ray, held = self._connection.open(), list(self._held)
        if not held or not ray.wait(held, timeout=PATIENCE)[0]:
            return []
        ended, _ = ray.wait(held, num_returns=len(held), timeout=0)
        return [self._outcome(reference) for reference in ended]

    def close(self) -> None:
        """Let running jobs save, and disconnect."""
        held, self._held = list(self._held), {}
        self._connection.close(held)

    def _count(self) -> int:
        machines = [node["Resources"] for node in self._connection.open().nodes() if node["Alive"]]
        have = [(float(machine.get("CPU", 0)), float(machine.get("GPU", 0))) for machine in machines]
        count = sum(fit(cpus, gpus, self._cpus, self._gpus) for cpus, gpus in have)
        if not count and not self._held:
            found = ", ".join(f"a machine of {cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in have) or "no machine"
            expected = f"one with {self._cpus:g} CPUs and {self._gpus:g} GPUs for a run"
            raise InputError("--executor ray", found=found, expected=expected, do="Ask for less for each run.")
        return count

    def _outcome(self, reference: Any) -> Outcome:
        job, began = self._held.pop(reference)
        errors = self._connection.ray.exceptions
        try:
            return check_visible(self._connection.ray.get(reference), job, share(self._root))
        except errors.RayError as error:
            lost = isinstance(error, tuple(getattr(errors, name) for name in LOST))
            return Outcome(job.name, lost=lost, error=_first(error), seconds=time.monotonic() - began)


class Connection:
    """To a cluster, or to a Ray that is started for it; opened when it is first needed."""

    def __init__(self, address: str | None):
        self._address, self._opened, self._ours, self.closed = address, False, False, False
        # The scheduler reports lost machines and workers in a line; Ray would print pages.
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
        if address is None and "ray" not in sys.modules:
            # Ray reads it once, at its first use; changed later it would lock itself out.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.ray = package("ray", "ray")

    def open(self) -> Any:
        """Ray, connected."""
        if not self._opened:
            self._ours = not self.ray.is_initialized()
            if self._ours:
                self._join()
            self._opened = True
        return self.ray

    def close(self, held: list[Any]) -> None:
        """Cancel these tasks, wait until they have saved, and disconnect."""
        if self._opened:
            # A training receives it as Ctrl-C: it ends after the step, and saves.
            for reference in held:
                self.ray.cancel(reference)
            if held:
                self.ray.wait(held, num_returns=len(held), timeout=GRACE)
            if self._ours:
                self.ray.shutdown()
        self._opened, self.closed = False, True

    def _join(self) -> None:
        quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False}
        if self._address is None:
            self.ray.init("local", include_dashboard=False, object_store_memory=OBJECTS, **quiet)
            return
        try:
            self.ray.init(self._address, **quiet)
        except ConnectionError as error:
            do = "Start it (ray start --head), or leave the address out to start Ray on this machine only."
            raise InputError(f"Ray at {self._address}", found=_first(error), expected="a cluster", do=do) from None


def fit(cpus: float, gpus: float, each_cpus: float, each_gpus: float) -> int:
    """How many jobs fit on a machine at once; a share of a GPU is always of one GPU."""
    fits = [int(cpus / each_cpus + 1e-6)] if each_cpus else []
    if 0 < each_gpus < 1:
        fits.append(int(1 / each_gpus + 1e-6) * int(gpus))
    elif each_gpus:
        fits.append(int(gpus / each_gpus + 1e-6))
    return min(fits, default=1)


def _first(error: BaseException) -> str:
    """The first sentence of a message that may be a page long."""
    words = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {words or 'no message'}"
