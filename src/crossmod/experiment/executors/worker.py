"""One sitting at a job, in a process apart, maybe on another machine: what workers of every kind have in common.

Notable:
- A worker first looks whether it sees the folder that the experiment is driven from, before it computes for hours.
- A job whose worker was lost may be given to another while the first, cut off, still writes: its locks are waited for.
"""

import fcntl
import importlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from platform import node
from typing import Any

from crossmod.data.store_writer import WRITING
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.experiment.executors.base import Work, attempt
from crossmod.experiment.jobs import Job
from crossmod.experiment.scheduler import Outcome
from crossmod.files import write_text
from crossmod.progress import disable_progress
from crossmod.settings import Machine

TOKEN = ".shared"
LOCKS = (".lock", WRITING)
# Seconds: a network file system lets go of a dead machine's locks after about 90, and may show a new file late.
LOCKED, LATE = 120.0, 5.0


@dataclass(frozen=True)
class Place:
    """An experiment's folder, and what stands in it, so that another machine can tell whether it sees the same one."""

    root: Path
    token: str


def share(root: Path) -> Place:
    """Mark a folder, or read its mark."""
    root = root.resolve()
    mark = root / TOKEN
    if not mark.is_file():
        root.mkdir(parents=True, exist_ok=True)
        write_text(mark, secrets.token_hex(8))
    return Place(root, mark.read_text(encoding="utf-8"))


def run_job(job: Job, place: Place, machine: Machine, work: Work | None, cores: int = 0) -> Outcome:
    """Do a job, its words in the experiment's `logs`; asked to stop, it says that it has saved.

    Args:
        job: what to do.
        place: the experiment's folder.
        machine: where and how to compute.
        work: does the job, in place of `perform`.
        cores: that it may use; 0: all that this process may.
    """
    if cores:
        _keep_to(cores)
    # In a context of its own, so that whoever calls is not hushed for good.
    return copy_context().run(_sit, job, place, machine, work)


def _sit(job: Job, place: Place, machine: Machine, work: Work | None) -> Outcome:
    if not _sees(place):
        return Outcome(job.name, error=f"{node()} does not see {place.root}: {_SHARED}")
    _wait_for_locks(job.folder(place.root))
    disable_progress()
    began = time.monotonic()
    with _words_to(place.root / "logs" / f"{job.name}.log"):
        try:
            return attempt(job, place.root, machine, work)
        except TrainingInterrupted:
            return Outcome(job.name, saved=True, seconds=time.monotonic() - began)


def _keep_to(cores: int) -> None:
    """Let large runs of this process take so many threads; small ones take one in any case."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(cores, int(asked)) if asked.isdecimal() and int(asked) else cores
    # Libraries look at it when they are loaded; a script of the user's may have loaded torch already.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def looked_for(outcome: Outcome, job: Job, place: Place) -> Outcome:
    """An outcome as it came, or an error where what the job made, done well elsewhere, is not seen from here."""
    if outcome.error is not None or outcome.lost or outcome.saved:
        return outcome
    until = time.monotonic() + LATE
    while not job.finished(place.root):
        if time.monotonic() > until:
            return replace(outcome, error=f"it was done, but {job.folder(place.root)} is not seen here: {_SHARED}")
        time.sleep(0.2)
        # A network file system remembers what was not there until the folder is read anew.
        for _ in job.folder(place.root).parent.iterdir():
            break
    return outcome


def alone(machine: Machine, executor: str) -> Machine:
    """The same machine, where each job is one process.

    Raises:
        InputError: one job is to be several processes, which would start the whole experiment anew.
    """
    if machine.devices * machine.nodes > 1:
        found = f"--devices {machine.devices} --nodes {machine.nodes} with {executor}"
        do = "Leave both out: an experiment has runs enough for all GPUs."
        raise InputError("experiment", found=found, expected="one process for each run", do=do)
    return machine


def package(name: str, extra: str) -> Any:
    """An optional package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        do = f"Install it: pip install 'crossmod[{extra}]'."
        raise InputError(f"--executor {extra}", found=f"no package {name}", expected=name, do=do) from None


_SHARED = "the experiment's folder and the stores must lie on a disk that all machines share, under the same path."


def _sees(place: Place) -> bool:
    try:
        return (place.root / TOKEN).read_text(encoding="utf-8") == place.token
    except OSError:
        return False


def _wait_for_locks(folder: Path) -> None:
    """Until nobody writes there, for a while; whoever still does then is told of by the job itself."""
    until = time.monotonic() + LOCKED
    while any(_held(folder / name) for name in LOCKS) and time.monotonic() < until:
        time.sleep(0.2)


def _held(path: Path) -> bool:
    try:
        with path.open("rb+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a disk without locks
        return False
    return False


@contextmanager
def _words_to(path: Path) -> Iterator[None]:
    """Send all that is said, also by libraries that know nothing of Python, to the end of a file."""
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
