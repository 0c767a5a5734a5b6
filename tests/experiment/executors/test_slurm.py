"""Jobs as SLURM arrays, on a SLURM of four shell scripts that keep its promises: states, signals, array numbers."""

import importlib.util
import itertools
import os
import re
from pathlib import Path
from typing import Any

import pytest

from crossmod.errors import InputError
from crossmod.experiment.executors import slurm as on_slurm
from crossmod.experiment.executors.options import ExecutorOptions
from crossmod.experiment.executors.slurm import SlurmExecutor
from crossmod.experiment.jobs import Job, Scheduler
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute
from crossmod.settings import Machine
from tests.support.paths import PYTHONPATH
from tests.support.stand_ins import job, pretend

ONE_THREAD = Machine(threads=1, device="cpu")

NUMBERS = itertools.count(100, 100)

with_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit is not installed: pip install 'crossmod[slurm]'"
)

# A job that was killed died with its machine here; real SLURM tells the two apart.
SCRIPTS = {
    "sbatch": r"""
id=$(( $(cat "$FAKE/last") + 1 )); echo $id > "$FAKE/last"; cp "$1" "$FAKE/$id.sh"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")
run() {
    echo RUNNING > "$FAKE/state/$2"
    bash "$1" > /dev/null 2>&1; code=$?
    case $code in 0) state=COMPLETED;; 137) state=${FAKE_LOST:-NODE_FAIL};; *) state=FAILED;; esac
    echo $state > "$FAKE/state/$2"
}
export SLURM_JOB_ID=$id FAKE_ID=$id
if [ -z "$last" ]; then run "$1" $id > /dev/null 2>&1 &
else
    cp "$1" "$FAKE/array-$id.sh"
    for task in $(seq 0 $last); do
        export SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$task FAKE_ID=${id}_$task
        run "$FAKE/array-$id.sh" $FAKE_ID > /dev/null 2>&1 &
    done
fi
echo Submitted batch job $id
""",
    "srun": r"""
while [[ $1 == --* ]]; do case $1 in --output|--error) shift 2;; *) shift;; esac; done
echo $$ > "$FAKE/pid-$FAKE_ID"
exec "$@"
""",
    "sacct": r"""
echo 'JobID|State|NodeList'; cd "$FAKE/state"; for id in *; do echo "$id|$(cat $id)|here"; done
""",
    "scancel": r"""
for id in "$@"; do echo "CANCELLED by 0" > "$FAKE/state/$id"; kill -TERM $(cat "$FAKE/pid-$id"); done
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake = tmp_path / "slurm"
    (fake / "bin").mkdir(parents=True)
    (fake / "state").mkdir()
    # submitit remembers, as long as this process lives, which numbers have ended.
    (fake / "last").write_text(str(next(NUMBERS)))
    for name, text in SCRIPTS.items():
        script = fake / "bin" / name
        script.write_text(f"#!/bin/bash{text}")
        script.chmod(0o755)
    monkeypatch.setenv("FAKE", str(fake))
    monkeypatch.setenv("PATH", f"{fake / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setattr(on_slurm, "POLL", 0.1)
    monkeypatch.setattr(on_slurm, "ARRIVES", 0.5)
    return fake


def run(root: Path, *jobs: Job, options: ExecutorOptions | None = None, **more: Any) -> Scheduler:
    named = {one.name: one for one in jobs}
    executor = SlurmExecutor(root, ONE_THREAD, options or ExecutorOptions(), work=pretend, **more)
    return execute(named, root, executor, LiveTable(named, executor.slots))


@with_submitit
def test_what_is_ready_together_is_one_array_and_what_is_lost_or_stopped_goes_on(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = run(
        tmp_path / "out",
        job("killed", die=True),
        job("timed-out", sleep=5, at_first=True, signal="USR2"),
        job("refused", fail=True),
        job("next", {"synthetic": "killed"}),
        options=ExecutorOptions(partition="gpu", hours=1.5, cpus=3, gpus=2, memory_gb=8.0, jobs=2),
        extra={"account": "radiology"},
    )
    assert ledger.counts == {"waiting": 0, "ready": 0, "running": 0, "done": 3, "failed": 1, "blocked": 0}
    # The one that saved did not spend a try; the one whose machine died did.
    assert ledger.tries == {"killed": 2, "timed-out": 1, "refused": 1, "next": 1}
    assert ledger.failures["refused"].startswith("refused: bad luck.")
    assert re.search(r"Lost \(SLURM says NODE_FAIL; see .*\): segment: title of killed", capsys.readouterr().err)
    text = min(slurm.glob("[0-9]*.sh")).read_text()
    for flag in ("array=0-2%2", "partition=gpu", "time=90", "cpus-per-task=3", "gpus-per-node=2", "mem=8GB",
                 "signal=USR2@120", "account=radiology", "job-name=crossmod"):  # fmt: skip
        assert f"#SBATCH --{flag}\n" in text
    assert "#SBATCH --no-requeue\n" in text


@with_submitit
def test_what_is_out_of_memory_is_not_tried_again(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOST", "OUT_OF_MEMORY")
    ledger = run(tmp_path / "out", job("large", die=True))
    assert ledger.failures["large"].startswith("SLURM says OUT_OF_MEMORY: it needs more memory than it was given; see")
    assert ledger.tries == {"large": 1}


@with_submitit
def test_what_runs_is_cancelled_and_saves(slurm: Path, tmp_path: Path) -> None:
    from tests.support.workers import until

    executor = SlurmExecutor(tmp_path / "out", ONE_THREAD, ExecutorOptions(), work=pretend)
    executor.start(job("long", sleep=60))
    executor._submit()
    until(tmp_path / "out" / "runs" / "long" / "asleep")
    executor.close()
    until(tmp_path / "out" / "runs" / "long" / "saved")


@with_submitit
def test_plain_processes_of_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setattr(on_slurm, "POLL", 0.1)
    ledger = run(tmp_path, job("a"), job("broken", crash=True), cluster="local")
    assert ledger.states == {"a": "done", "broken": "failed"}
    assert ledger.failures["broken"].startswith("RuntimeError: broke (details: ")
    assert (tmp_path / "logs" / "a.log").read_text() == "doing a\n"


def test_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(on_slurm, "package", lambda name, extra: None)
    with pytest.raises(InputError, match=r"--executor slurm: no srun\. Expected: a SLURM cluster"):
        SlurmExecutor(tmp_path, ONE_THREAD, ExecutorOptions())


def test_no_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(InputError, match=r"no package submitit. .* pip install 'crossmod\[slurm\]'"):
        SlurmExecutor(tmp_path, ONE_THREAD, ExecutorOptions())
