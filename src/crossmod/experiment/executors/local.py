"""Jobs side by side on one machine, in processes of their own, each loaded once.

Notable:
- A worker that is lost (killed, out of memory) costs its job a try and nobody else anything; another takes its place.
- Workers end with the process that started them, however that ends: nobody writes to a run behind its back.
"""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from crossmod.experiment.executors.base import Work
from crossmod.experiment.executors.worker import Place, alone, run_job, share
from crossmod.experiment.jobs import Job
from crossmod.experiment.scheduler import Outcome
from crossmod.machine import usable_cores
from crossmod.settings import Machine

# Forking would copy threads and a CUDA context, neither of which survives it.
CONTEXT = multiprocessing.get_context("spawn")
# Between looks at whether all is well, in seconds; and how long a worker has to save when it is to stop.
PATIENCE, GRACE = 5.0, 60.0


class LocalExecutor:
    """A fixed number of worker processes.

    Args:
        root: folder of the experiment; what workers say goes to its `logs`.
        machine: where and how to compute; large runs share the cores where no number of threads is given.
        count: how many.
        work: does a job, in place of `perform`.

    Raises:
        InputError: jobs of several processes each.
    """

    def __init__(self, root: Path, machine: Machine, count: int, *, work: Work | None = None):
        self.slots = count
        self._root, self._work = root, work
        self._machine = alone(machine, "several runs at once")
        self._cores = max(1, usable_cores() // count)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Job, float]] = {}

    def start(self, job: Job) -> None:
        """Give a job to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._hire()
        # One that was killed while it had nothing to do is not the job's loss.
        while not (worker.process.is_alive() and worker.takes(job)):
            worker.end()
            worker = self._idle.pop() if self._idle else self._hire()
        self._busy[worker.pipe] = (worker, job, time.monotonic())

    def wait(self) -> list[Outcome]:
        """What came back; a worker that is gone is one whose pipe is closed."""
        outcomes = []
        for pipe in wait(list(self._busy), timeout=PATIENCE):
            assert isinstance(pipe, Connection)
            worker, job, began = self._busy.pop(pipe)
            try:
                outcome = pipe.recv()
            except (EOFError, OSError):
                outcome = Outcome(job.name, lost=True, seconds=time.monotonic() - began)
            if outcome.lost or outcome.saved:
                worker.end()
            else:
                self._idle.append(worker)
            outcomes.append(outcome)
        return outcomes

    def close(self) -> None:
        """End all; those at work save first."""
        workers = [*self._idle, *(worker for worker, _, _ in self._busy.values())]
        self._idle, self._busy = [], {}
        for worker in workers:
            worker.ask()
        until = time.monotonic() + GRACE
        for worker in workers:
            worker.end(max(until - time.monotonic(), 0))

    def _hire(self) -> "_Worker":
        return _Worker(share(self._root), self._machine, self._work, self._cores)


class _Worker:
    """The parent's end of a worker."""

    def __init__(self, place: Place, machine: Machine, work: Work | None, cores: int):
        self.pipe, theirs = CONTEXT.Pipe()
        arguments = (theirs, place, machine, work, cores, os.getpid())
        self.process: BaseProcess = CONTEXT.Process(target=_serve, args=arguments)
        self.process.start()
        theirs.close()

    def takes(self, job: Job) -> bool:
        """Give it a job, if it is still there."""
        try:
            self.pipe.send(job)
        except OSError:
            return False
        return True

    def ask(self) -> None:
        """Ask it to stop; at work it saves first."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()

    def end(self, patience: float = GRACE) -> None:
        """Wait for its end, for a while."""
        self.pipe.close()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _serve(pipe: Connection, place: Place, machine: Machine, work: Work | None, cores: int, parent: int) -> None:
    """Do jobs until the other end closes."""
    # Ctrl-C reaches every process of a terminal's session, and a second one stops at once, without saving. Here the
    # parent decides what becomes of a worker.
    os.setsid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        try:
            job: Job = pipe.recv()
            outcome = run_job(job, place, machine, work, cores)
            pipe.send(outcome)
        except (EOFError, OSError):
            return
        if outcome.saved:
            return


def _end_with(parent: int) -> None:
    """Ask this process to save and stop once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
