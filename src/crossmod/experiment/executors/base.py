"""Where jobs run: the contract, and the plain way: one after another, in this process."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.experiment.jobs import Job, execute_job
from crossmod.experiment.scheduler import Outcome
from crossmod.files import write_text
from crossmod.settings import Machine

# Does a job in place of `perform`, in tests. Importable, as it is sent to other processes.
Work = Callable[[Job, Path, Machine], None]


@runtime_checkable
class Executor(Protocol):
    """Runs jobs somewhere; it knows nothing of plans, nor of what a job needs."""

    @property
    def slots(self) -> int:
        """How many jobs it may hold at once."""
        ...

    def start(self, job: Job) -> None:
        """Take a job whose needs are there. It may wait in line; it is not waited for."""
        ...

    def wait(self) -> list[Outcome]:
        """How one or more of the jobs that it holds ended; waits until one has, or gives none after some seconds."""
        ...

    def close(self) -> None:
        """Let go of everything. Jobs that still run are asked to stop, and save; they are to be continued."""
        ...


class InProcess:
    """One job after another in this process: nothing is started, copied or loaded twice.

    Args:
        root: folder of the experiment.
        machine: where and how to compute.
        work: does a job, in place of `perform`.
    """

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
        """Nothing is held."""


def attempt(job: Job, root: Path, machine: Machine, work: Work | None = None) -> Outcome:
    """Do a job and say how it ended; a failure's details go to `failures/<name>.txt`.

    Raises:
        Stopped: it was asked to stop, and has saved.
        KeyboardInterrupt: likewise, at once.
    """
    began = time.monotonic()
    note = root / "failures" / f"{job.name}.txt"
    try:
        (work or execute_job)(job, root, machine)
    except (TrainingInterrupted, KeyboardInterrupt):
        raise
    except InputError as error:
        return _failed(job, note, str(error), str(error), began)
    except Exception as error:  # one failed run is no reason to stop the others
        said = str(error).strip().splitlines()
        words = f"{type(error).__name__}: {said[0] if said else 'no words'} (details: {note})"
        return _failed(job, note, words, traceback.format_exc(), began)
    note.unlink(missing_ok=True)
    return Outcome(job.name, seconds=time.monotonic() - began)


def _failed(job: Job, note: Path, words: str, details: str, began: float) -> Outcome:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_text(note, f"{job.title}\n\n{details}\n")
    return Outcome(job.name, error=words, seconds=time.monotonic() - began)
