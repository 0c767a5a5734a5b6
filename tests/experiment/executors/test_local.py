"""Jobs in processes of one machine: side by side, lost, failing, stopped; and left behind by a killed parent."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from crossmod.errors import InputError
from crossmod.experiment.executors import base
from crossmod.experiment.executors.base import SharedFolder, check_visible, run_job, share
from crossmod.experiment.executors.local import LocalExecutor
from crossmod.experiment.jobs import Job, Outcome, Scheduler
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute
from crossmod.files import lock
from crossmod.settings import Machine
from tests.support.paths import PYTHONPATH
from tests.support.stand_ins import job, name_gpu, pretend
from tests.support.workers import until

ONE_THREAD = Machine(threads=1, device="cpu")


def run(root: Path, *jobs: Job) -> Scheduler:
    named = {one.name: one for one in jobs}
    return execute(named, root, LocalExecutor(root, ONE_THREAD, 2, work=pretend), LiveTable(named, 2))


def tries(root: Path, name: str) -> list[list[str]]:
    return [line.split() for line in (root / "runs" / name / "tries").read_text().splitlines()]


def test_jobs_run_side_by_side_and_what_happens_to_one_is_no_matter_to_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ledger = run(
        tmp_path,
        job("a", sleep=0.5),
        job("b", sleep=0.5),
        job("killed", die=True),
        job("refused", fail=True),
        job("broken", crash=True),
        job("after", {"synthetic": "killed"}),
        job("never", {"synthetic": "refused"}),
    )
    assert {name: state for name, state in ledger.states.items() if state != "done"} == {
        "refused": "failed",
        "broken": "failed",
        "never": "blocked",
    }
    ((first, began),), ((second, also),) = tries(tmp_path, "a"), tries(tmp_path, "b")
    assert first != second
    assert abs(float(began) - float(also)) < 10
    # The killed one was done again, in another process, and what follows from it too.
    (lost, _), (again, _) = tries(tmp_path, "killed")
    assert lost != again
    assert ledger.tries == {"a": 1, "b": 1, "killed": 2, "refused": 1, "broken": 1, "after": 1}
    assert ledger.failures["refused"].startswith("refused: bad luck. Expected: good luck.")
    note = tmp_path / "failures" / "broken.txt"
    assert ledger.failures["broken"] == f"RuntimeError: broke (details: {note})"
    assert "in pretend" in note.read_text()
    # What it says goes to its log, and to nobody else's.
    assert (tmp_path / "logs" / "a.log").read_text() == "doing a\n"
    told = capfd.readouterr().err
    assert "Lost: segment: title of killed; started again from its checkpoint." in told
    assert "doing" not in told
    gone(int(first), int(second), int(again))


def test_each_worker_sees_one_of_several_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(root: Path, names: str, device: Literal["auto", "cpu"]) -> list[str]:
        named = {name: job(name) for name in names}
        executor = LocalExecutor(root, Machine(threads=1, device=device), len(names), work=name_gpu)
        execute(named, root, executor, LiveTable(named, len(names)))
        return sorted((root / "runs" / name / "gpus").read_text() for name in names)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("crossmod.experiment.executors.local.visible_gpus", lambda: ["3", "GPU-b"])
    assert seen(tmp_path / "on_gpus", "abc", "auto") == ["3", "3", "GPU-b"]
    assert seen(tmp_path / "on_cpu", "a", "cpu") == ["all"]
    monkeypatch.setattr("crossmod.experiment.executors.local.visible_gpus", lambda: ["0"])
    assert seen(tmp_path / "on_one", "a", "auto") == ["all"]


def gone(*processes: int) -> None:
    """They have ended by now, or do soon."""
    end = time.monotonic() + 120
    while any(alive(process) for process in processes):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_what_runs_saves_when_all_is_closed_and_one_that_is_asked_goes_on(tmp_path: Path) -> None:
    workers = LocalExecutor(tmp_path, ONE_THREAD, 2, work=pretend)
    workers.start(job("asked", sleep=60, at_first=True))
    workers.start(job("closed", sleep=60))
    folders = {name: tmp_path / "runs" / name for name in ("asked", "closed")}
    for folder in folders.values():
        until(folder / "asleep")
    asked, closed = (int(tries(tmp_path, name)[0][0]) for name in folders)
    os.kill(asked, signal.SIGTERM)
    (outcome,) = workers.wait()
    assert (outcome.name, outcome.saved, outcome.lost, outcome.error) == ("asked", True, False, None)
    assert (folders["asked"] / "saved").exists()
    gone(asked)
    assert not (folders["closed"] / "saved").exists()
    workers.close()
    assert (folders["closed"] / "saved").exists()
    assert not alive(closed)


def test_a_worker_that_is_killed_while_idle_costs_nothing(tmp_path: Path) -> None:
    workers = LocalExecutor(tmp_path, ONE_THREAD, 1, work=pretend)
    workers.start(job("a"))
    assert [one.error for one in workers.wait()] == [None]
    os.kill(int(tries(tmp_path, "a")[0][0]), signal.SIGKILL)
    # A process is a zombie before the last of its threads, and with it the pipe, is gone.
    workers._idle[0].process.join(20)
    workers.start(job("b"))
    (outcome,) = workers.wait()
    workers.close()
    assert (outcome.lost, outcome.error) == (False, None)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom tests.support.stand_ins import job, name_gpu, pretend\n"
        "from crossmod.experiment.executors.local import LocalExecutor\nfrom crossmod.settings import Machine\n"
        "if __name__ == '__main__':\n"
        f"    workers = LocalExecutor(Path({str(tmp_path)!r}), Machine(threads=1, device='cpu'), 1, work=pretend)\n"
        "    workers.start(job('a', sleep=60))\n"
        "    while True: workers.wait()\n"
    )
    main = tmp_path / "main.py"
    main.write_text(script)
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    with subprocess.Popen([sys.executable, main], env=environment) as parent:
        until(tmp_path / "runs" / "a" / "asleep")
        parent.kill()
    gone(int(tries(tmp_path, "a")[0][0]))
    assert (tmp_path / "runs" / "a" / "saved").exists()


def test_one_process_for_each_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--devices 2 --nodes 1 .* Expected: one process for each run"):
        LocalExecutor(tmp_path, Machine(devices=2), 2)


def test_a_disk_that_is_not_shared_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a job where the worker can tell, and after it where only the other side can."""
    place = share(tmp_path)
    assert share(tmp_path) == place
    elsewhere = SharedFolder(tmp_path, "another mark")
    outcome = run_job(job("a"), elsewhere, ONE_THREAD, pretend)
    assert outcome.error is not None
    assert re.search(r"does not see .*: the experiment's folder and the stores must lie on a disk", outcome.error)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(base, "LATE", 0.3)
    outcome = check_visible(Outcome("a"), job("a"), place)
    assert outcome.error is not None
    assert outcome.error.startswith(f"it was done, but {tmp_path / 'runs' / 'a'} is not seen here")
    pretend(job("a"), tmp_path, ONE_THREAD)
    assert check_visible(Outcome("a"), job("a"), place) == Outcome("a")


def test_who_still_writes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = job("a").folder(tmp_path)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.enter_context(lock(folder / ".lock"))
        # It lets go while it is waited for.
        monkeypatch.setattr("time.sleep", lambda seconds: stack.close())
        outcome = run_job(job("a"), share(tmp_path), ONE_THREAD, pretend)
    assert outcome.error is None
    assert job("a").finished(tmp_path)
