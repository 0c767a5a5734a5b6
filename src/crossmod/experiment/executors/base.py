"""What an executor is, how it runs a job in this process, and what worker processes have in common.

Notable:
- A worker first checks that it sees the folder of the experiment, before it computes for hours.
- A job whose worker was lost may go to another while the first, disconnected, still writes: its locks are waited for.
"""

import fcntl
import importlib
import logging
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from platform import node
from typing import Any, Protocol, runtime_checkable

from crossmod.data.store_writer import WRITING
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.experiment.jobs import Job, Outcome, execute_job
from crossmod.files import write_text
from crossmod.progress import disable_progress
from crossmod.settings import Machine

# Does a job in place of `execute_job`, in tests. Importable, since it is sent to other processes.
Work = Callable[[Job, Path, Machine], None]

TOKEN = ".shared"
LOCKS = (".lock", WRITING)
# Seconds: a network file system releases the locks of a dead machine after about 90, and may show a new file late.
LOCKED, LATE = 120.0, 5.0


@runtime_checkable
class Executor(Protocol):
    """Runs jobs somewhere; it knows no plan, and not what a job needs."""

    @property
    def slots(self) -> int:
        """How many jobs it can hold at once."""
        ...

    def start(self, job: Job) -> None:
        """Take a job whose needs are finished, and return at once; the job may wait for a free worker."""
        ...

    def wait(self) -> list[Outcome]:
        """Wait until one or more of its jobs have ended; gives none after some seconds without."""
        ...

    def close(self) -> None:
        """Release everything. Running jobs are asked to stop and save, so that they can resume later."""
        ...


class InProcess:
    """One job after another in this process: nothing is started, copied or loaded twice."""

    slots = 1

    def __init__(self, root: Path, machine: Machine, *, work: Work | None = None):
        self._root, self._machine, self._work = root, machine, work
        self._jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Take a job."""
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        """Do it."""
        return [attempt(self._jobs.pop(0), self._root, self._machine, self._work)]

    def close(self) -> None:
        """Nothing to release."""


def attempt(job: Job, root: Path, machine: Machine, work: Work | None = None) -> Outcome:
    """Do a job and say how it ended; a failure's details go to `failures/<name>.txt`. Only interruptions are raised."""
    began = time.monotonic()
    note = root / "failures" / f"{job.name}.txt"
    try:
        (work or execute_job)(job, root, machine)
    except (TrainingInterrupted, KeyboardInterrupt):
        raise
    except Exception as error:  # one failed run must not stop the others
        details = message = str(error)
        if not isinstance(error, InputError):
            first, *_ = message.strip().splitlines() or ["no message"]
            message, details = f"{type(error).__name__}: {first} (details: {note})", traceback.format_exc()
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, f"{job.title}\n\n{details}\n")
        return Outcome(job.name, error=message, seconds=time.monotonic() - began)
    note.unlink(missing_ok=True)
    return Outcome(job.name, seconds=time.monotonic() - began)


@dataclass(frozen=True)
class SharedFolder:
    """An experiment's folder and the token in it, by which another machine recognises the same folder."""

    root: Path
    token: str

    @property
    def seen(self) -> bool:
        """Whether this machine sees it."""
        try:
            return (self.root / TOKEN).read_text(encoding="utf-8") == self.token
        except OSError:
            return False


def share(root: Path) -> SharedFolder:
    """Write a token into a folder, unless it has one."""
    root = root.resolve()
    mark = root / TOKEN
    if not mark.is_file():
        root.mkdir(parents=True, exist_ok=True)
        write_text(mark, secrets.token_hex(8))
    return SharedFolder(root, mark.read_text(encoding="utf-8"))


def run_job(job: Job, place: SharedFolder, machine: Machine, work: Work | None, cores: int = 0) -> Outcome:
    """Do a job in a worker with this many cores (0: all), its output in the experiment's `logs`."""
    if cores:
        _limit_threads(cores)
    # In a context of its own, so that progress is not disabled for the caller.
    return copy_context().run(_run_job, job, place, machine, work)


def _run_job(job: Job, place: SharedFolder, machine: Machine, work: Work | None) -> Outcome:
    if not place.seen:
        return Outcome(job.name, error=f"{node()} does not see {place.root}: {_SHARED}")
    # A process that still holds a lock after that is reported by the job itself.
    until = time.monotonic() + LOCKED
    while any(_is_locked(job.folder(place.root) / name) for name in LOCKS) and time.monotonic() < until:
        time.sleep(0.2)
    disable_progress()
    began = time.monotonic()
    with _output_to(place.root / "logs" / f"{job.name}.log"):
        try:
            return attempt(job, place.root, machine, work)
        except TrainingInterrupted:
            return Outcome(job.name, saved=True, seconds=time.monotonic() - began)


def _limit_threads(cores: int) -> None:
    """Let large runs of this process use this many threads; small runs always use one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(cores, int(asked)) if asked.isdecimal() and int(asked) else cores
    # Libraries read it when they are loaded; a user's script may have loaded torch before.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def check_visible(outcome: Outcome, job: Job, place: SharedFolder) -> Outcome:
    """The outcome, or an error if the result of a job that succeeded elsewhere cannot be seen here."""
    if outcome.error is not None or outcome.lost or outcome.saved:
        return outcome
    until = time.monotonic() + LATE
    while not job.finished(place.root):
        if time.monotonic() > until:
            return replace(outcome, error=f"it was done, but {job.folder(place.root)} is not seen here: {_SHARED}")
        time.sleep(0.2)
        # A network file system caches missing files until the folder is listed again.
        for _ in job.folder(place.root).parent.iterdir():
            break
    return outcome


def single_process(machine: Machine, executor: str) -> Machine:
    """The same machine; refused if a job is several processes, each of which would start the whole experiment."""
    if machine.devices * machine.nodes > 1:
        found = f"--devices {machine.devices} --nodes {machine.nodes} with {executor}"
        do = "Leave both out: an experiment has enough runs for all GPUs."
        raise InputError("experiment", found=found, expected="one process for each run", do=do)
    return machine


def package(name: str, extra: str) -> Any:
    """An optional package."""
    try:
        return importlib.import_module(name)
    except ImportError:
        do = f"Install it: pip install 'crossmod[{extra}]'."
        raise InputError(f"--executor {extra}", found=f"no package {name}", expected=name, do=do) from None


_SHARED = "the experiment's folder and the stores must lie on a disk that all machines share, under the same path."


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a disk without locks
        return False
    return False


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append all output to a file, also that of libraries that write without Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = root.level
    before = [os.dup(number) for number in (1, 2)]
    _flush()
    with path.open("ab") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        _flush()
        root.removeHandler(handler)
        root.setLevel(level)
        for number, saved in zip((1, 2), before, strict=True):
            os.dup2(saved, number)
            os.close(saved)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
