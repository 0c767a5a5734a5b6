"""Jobs and lists of cases on a Ray cluster; needs the extra `ray`.

Notable:
- The experiment's folder and the stores must lie on a disk that all machines see under the same path; runs leave their
  results there and nothing goes through Ray but a job's settings. Every machine needs the same crossmod.
- A run whose worker or machine is lost is started again by the ledger, elsewhere, and goes on from its checkpoint. Ray
  itself starts nothing again: it would not count.
- A Ray that is started here reports to nobody, has no dashboard, and asks whoever connects for a secret made for it.
  One that is connected to is as its owner made it.
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
from crossmod.experiment.executors.base import Work
from crossmod.experiment.executors.worker import alone, looked_for, package, run_job, share
from crossmod.experiment.jobs import Job
from crossmod.experiment.scheduler import Outcome
from crossmod.inference.batch.table import Case, Row
from crossmod.settings import Machine

# A case whose machine was lost is begun anew; nothing of it was written.
TRIES = 3


def cases_on_ray(
    address: str | None = None, gpus: float = 0.0
) -> Callable[[Callable[[Case], Row], Sequence[Case]], Iterator[Row]]:
    """What `translate_list` takes as `spread`. All machines must see the same folders under the same paths.

    Args:
        address: of the cluster, such as `auto`; None: a Ray of this machine alone.
        gpus: of each case; 0.25 lets four share one.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    connection = Connection(address)

    def spread(do: Callable[[Case], Row], cases: Sequence[Case]) -> Iterator[Row]:
        ray = connection.open()
        # Ray takes functions by their name, which a partial has not.
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


# Between looks at whether all is well, in seconds; and how long runs have to save when they are to stop.
PATIENCE, GRACE = 5.0, 60.0
# Bytes; results lie on disk, so that Ray needs next to none. It refuses less than 75 MiB.
OBJECTS = 80 * 1024 * 1024
LOST = (
    *("WorkerCrashedError", "NodeDiedError", "RayActorError", "LocalRayletDiedError", "OutOfMemoryError"),
    *("ObjectLostError", "TaskCancelledError"),
)


class RayExecutor:
    """Each job is a task of Ray's.

    Args:
        root: folder of the experiment, on a disk that all machines share.
        machine: where and how to compute; large runs take the CPUs of a job where no number of threads is given.
        address: `host:port` of a cluster, or `auto` for the one that this machine is part of; None: start a Ray of this
            machine alone, which ends with the experiment.
        cpus: that a job takes.
        gpus: that a job takes; 0.25 lets four share one. Ray counts GPUs, not their memory: try what fits.
        most: jobs to hold at once; 0: as many as fit, asked again as machines come and go. More than fit make a cluster
            grow that can.
        work: does a job, in place of `perform`.

    Raises:
        InputError: Ray is not installed, or jobs of several processes each.
    """

    def __init__(
        self,
        root: Path,
        machine: Machine,
        *,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        most: int = 0,
        work: Work | None = None,
    ):
        self._connection = Connection(address)
        self._root, self._work, self._most = root, work, most
        self._cpus, self._gpus = cpus, gpus
        self._machine = alone(machine, "--executor ray")
        self._held: dict[Any, tuple[Job, float]] = {}
        self._fitting, self._counted = 0, float("-inf")

    @property
    def slots(self) -> int:
        """How many jobs fit, at least one: a cluster that lost all its machines may get new ones.

        Raises:
            InputError: no such cluster, or no machine of it has what a job takes.
        """
        now = time.monotonic()
        if not self._most and not self._connection.closed and now - self._counted > PATIENCE:
            self._fitting, self._counted = max(self._count(), 1), now
        return self._most or self._fitting

    def start(self, job: Job) -> None:
        """Give a job to Ray, which starts it where there is room."""
        ray = self._connection.open()
        task = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(run_job)
        reference = task.options(name=job.name).remote(
            job, share(self._root), self._machine, self._work, max(int(self._cpus), 1)
        )
        self._held[reference] = (job, time.monotonic())

    def wait(self) -> list[Outcome]:
        """What came back."""
        ray, held = self._connection.open(), list(self._held)
        if not held or not ray.wait(held, timeout=PATIENCE)[0]:
            return []
        ended, _ = ray.wait(held, num_returns=len(held), timeout=0)
        return [self._outcome(reference) for reference in ended]

    def close(self) -> None:
        """Have what runs saved, and let go of the cluster."""
        held, self._held = list(self._held), {}
        self._connection.close(held)

    def _count(self) -> int:
        machines = [one["Resources"] for one in self._connection.open().nodes() if one["Alive"]]
        have = [(float(one.get("CPU", 0)), float(one.get("GPU", 0))) for one in machines]
        count = sum(fit(cpus, gpus, self._cpus, self._gpus) for cpus, gpus in have)
        if not count and not self._held:
            found = ", ".join(f"a machine of {cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in have) or "no machine"
            expected = f"one with {self._cpus:g} CPUs and {self._gpus:g} GPUs for a run"
            raise InputError("--executor ray", found=found, expected=expected, do="Ask for less for each run.")
        return count

    def _outcome(self, reference: Any) -> Outcome:
        job, began = self._held.pop(reference)
        errors = self._connection.ray.exceptions
        seconds = time.monotonic() - began
        try:
            return looked_for(self._connection.ray.get(reference), job, share(self._root))
        except tuple(getattr(errors, name) for name in LOST) as error:
            return Outcome(job.name, lost=True, error=_first(error), seconds=seconds)
        except errors.RayError as error:
            return Outcome(job.name, error=_first(error), seconds=seconds)


class Connection:
    """To a cluster, or to a Ray that is started for it; opened when it is first needed."""

    def __init__(self, address: str | None):
        self._address, self._opened, self._ours, self.closed = address, False, False, False
        # What becomes of machines and workers the ledger says, in a line; Ray would print pages.
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
        if address is None and "ray" not in sys.modules:
            # Ray looks at it once, when it is first used; later it would lock itself out.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.ray = package("ray", "ray")

    def open(self) -> Any:
        """Ray, connected.

        Raises:
            InputError: there is no such cluster.
        """
        if not self._opened:
            self._ours = not self.ray.is_initialized()
            if self._ours:
                self._join()
            self._opened = True
        return self.ray

    def close(self, held: list[Any]) -> None:
        """Cancel what is held, wait until it has saved, and leave."""
        if self._opened:
            # To a training this is a Ctrl-C: it ends after the step, and saves.
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
            do = "Start it (ray start --head), or leave the address out for a Ray of this machine alone."
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
    """The first sentence of what may be a page."""
    words = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {words or 'no words'}"
