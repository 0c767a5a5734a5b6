"""Jobs side by side on one machine, in worker processes that are each loaded once.

Notable:
- A worker that is lost (killed, out of memory) costs its job a try and no other job anything; another replaces it.
- Workers end with the process that started them, however that ends: no process is left that writes to a run.
- With several GPUs each worker sees one of them, the one that fewest other workers use.
"""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from crossmod.experiment.executors.base import SharedFolder, Work, run_job, share, single_process
from crossmod.experiment.jobs import Job, Outcome
from crossmod.machine import VISIBLE, usable_cores, visible_gpus
from crossmod.settings import Machine

# Threads and a CUDA context do not survive a fork.
CONTEXT = multiprocessing.get_context("spawn")
# Seconds between looks, and for a worker to save when it is asked to stop.
PATIENCE, GRACE = 5.0, 60.0


class LocalExecutor:
    """A fixed number of worker processes; large runs share the cores if no number of threads is given."""

    def __init__(self, root: Path, machine: Machine, count: int, *, work: Work | None = None):
        self.slots = count
        self._root, self._work = root, work
        self._machine = single_process(machine, "several runs at once")
        self._cores = max(1, usable_cores() // count)
        self._gpus = visible_gpus() if machine.device != "cpu" else []
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Job, float]] = {}

    def start(self, job: Job) -> None:
        """Give a job to an idle worker, or to a new one."""
        worker = self._free_worker()
        # A worker that was killed while idle does not cost the job a try.
        while not (worker.process.is_alive() and worker.takes(job)):
            worker.end()
            worker = self._free_worker()
        self._busy[worker.pipe] = (worker, job, time.monotonic())

    def wait(self) -> list[Outcome]:
        """The outcomes since the last call; the pipe of a lost worker is closed."""
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
        """End all workers; busy ones save first."""
        workers = [*self._idle, *(worker for worker, _, _ in self._busy.values())]
        self._idle, self._busy = [], {}
        for worker in workers:
            worker.stop()
        until = time.monotonic() + GRACE
        for worker in workers:
            worker.end(max(until - time.monotonic(), 0))

    def _free_worker(self) -> "_Worker":
        if self._idle:
            return self._idle.pop()
        used = [worker.gpu for worker, _, _ in self._busy.values()]
        gpu = min(self._gpus, key=used.count) if len(self._gpus) > 1 else None
        return _Worker(share(self._root), self._machine, self._work, self._cores, gpu)


class _Worker:
    """The parent's end of a worker."""

    def __init__(self, place: SharedFolder, machine: Machine, work: Work | None, cores: int, gpu: str | None):
        self.gpu = gpu  # the only one that it sees; None: all
        self.pipe, theirs = CONTEXT.Pipe()
        arguments = (theirs, place, machine, work, cores, gpu, os.getpid())
        self.process: BaseProcess = CONTEXT.Process(target=_serve, args=arguments)
        self.process.start()
        theirs.close()

    def takes(self, job: Job) -> bool:
        """Give it a job; False if it has ended."""
        try:
            self.pipe.send(job)
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Ask it to stop; a busy one saves first."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()

    def end(self, patience: float = GRACE) -> None:
        """Wait for its end, and kill it after `patience` seconds."""
        self.pipe.close()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _serve(
    pipe: Connection,
    place: SharedFolder,
    machine: Machine,
    work: Work | None,
    cores: int,
    gpu: str | None,
    parent: int,
) -> None:
    """Do jobs until the other end closes."""
    if gpu is not None:
        # Read when CUDA starts, which no worker has done yet.
        os.environ[VISIBLE] = gpu
    # Ctrl-C reaches every process of a terminal's session, and a second one stops at once, without saving. In a session
    # of its own, only the parent stops a worker.
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
    """Ask this process to save and stop when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
