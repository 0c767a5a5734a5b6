"""What does a job in tests, in place of training: importable, since it is sent to other processes."""

import os
import signal
import time
from pathlib import Path

from crossmod.engine.interrupt import TrainingInterrupted, asked_to_stop
from crossmod.errors import InputError
from crossmod.experiment.jobs import Job
from crossmod.machine import VISIBLE
from crossmod.runs import CARD
from crossmod.settings import Machine


def job(name: str, needs: dict[str, str] | None = None, **settings: object) -> Job:
    """A job that `pretend` does as its settings say."""
    return Job(name, "segment", f"title of {name}", settings, {}, needs or {}, work=1)


def pretend(job: Job, root: Path, machine: Machine) -> None:
    """Leave a card; before that, as the job's settings say: `sleep`, maybe `at_first` alone; `die`; `fail`; `crash`."""
    folder, how = job.folder(root), job.settings
    if job.finished(root):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tries").open("a") as tries:
        tries.write(f"{os.getpid()} {time.time()}\n")
    first = len((folder / "tries").read_text().splitlines()) == 1
    print(f"doing {job.name}")
    if how.get("fail"):
        raise InputError(job.name, found="bad luck", expected="good luck", do="Try again.")
    if how.get("crash"):
        raise RuntimeError("broke\nat once")
    if first and how.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if first or not how.get("at_first"):
        _sleep(float(how.get("sleep", 0)), folder, how.get("signal"))
    (folder / CARD).write_text('{"made": true}')


def name_gpu(job: Job, root: Path, machine: Machine) -> None:
    """Leave a card, and the GPUs that the process sees."""
    folder = job.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpus").write_text(os.environ.get(VISIBLE, "all"))
    (folder / CARD).write_text('{"made": true}')


def _sleep(seconds: float, folder: Path, number: object) -> None:
    """In steps between which it may be asked to stop, as a training may; with a signal, it asks itself."""
    with asked_to_stop() as asked:
        if number:
            os.kill(os.getpid(), getattr(signal, f"SIG{number}"))
        until = time.monotonic() + seconds
        (folder / "asleep").touch()
        while time.monotonic() < until:
            time.sleep(0.02)
            if by := asked():
                (folder / "saved").touch()
                raise TrainingInterrupted(by, 1, 2)
