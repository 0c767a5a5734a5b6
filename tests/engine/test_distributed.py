"""Two processes on this machine, talking through gloo; each test starts real ones."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmod.engine.checkpoint import newest
from crossmod.engine.distributed import Distributed
from tests.support.paths import SUPPORT
from tests.support.train_script import weights

SCRIPT = str(SUPPORT / "train_script.py")
# A hang is the failure that these tests look for.
PATIENCE = 300


def run(*words: object, launcher: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, SCRIPT, *map(str, words)]
    # Nothing of pytest-xdist's or a scheduler's own environment.
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "PYTEST_"))}
    environment = {**plain, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together")
    done = run(out / "run", 2, 1)
    assert done.returncode == 0, done.stderr
    return out / "run"


def test_two_processes_learn_what_one_with_twice_the_batch_learns(together: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "one", 1, 2)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(weights(together), weights(tmp_path / "one"), rtol=1e-12)
    state = newest(together / "checkpoints")
    assert state is not None
    assert [int(own["memory"]["own"]["rank"]) for own in state["ranks"]] == [0, 1]


@pytest.mark.slow
def test_under_torchrun(together: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run(tmp_path / "run", 2, 1, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(weights(tmp_path / "run"), weights(together))


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def two_machines(out: Path, port: str) -> tuple[list[int], list[str]]:
    """Exit codes, and what was written on standard error."""
    slurm = {
        "SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2",
        "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1", "SLURM_LOCALID": "0", "NODES": "2",
        "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, SCRIPT, str(out), "2", "1"]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **slurm, "SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = []
    for process in started:
        said.append(process.communicate(timeout=PATIENCE)[1])
        if process.returncode:
            # The others would wait for it.
            for other in started:
                other.kill()
    return [process.returncode for process in started], said


@pytest.mark.slow
def test_two_machines_under_slurm(together: Path, tmp_path: Path) -> None:
    """Two processes with the environment that srun gives each, as if each were on a machine of its own."""
    codes, said = [1, 1], ["EADDRINUSE"]
    # Between finding a free port and using it, another program may take it.
    for _ in range(3):
        if not any("EADDRINUSE" in text for text in said):
            break
        codes, said = two_machines(tmp_path / "run", free_port())
    assert codes == [0, 0], said
    np.testing.assert_array_equal(weights(tmp_path / "run"), weights(together))


@pytest.mark.slow
def test_one_told_to_stop_stops_both_and_the_same_command_continues(together: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(out, 2, 1, "stop-1-8")
    assert done.returncode in (143, -9), done.stderr
    assert "process 0: stopped at step 8 of 18" in done.stdout
    assert "process 1: stopped at step 8 of 18" in done.stdout
    assert run(out, 2, 1).returncode == 0
    np.testing.assert_array_equal(weights(out), weights(together))


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_ends_both(tmp_path: Path) -> None:
    done = run(tmp_path / "run", 2, 1, "nan-1-4")
    assert done.returncode != 0
    for rank in (0, 1):
        assert f"process {rank}: {tmp_path / 'run'}: a square loss that is not finite at step 6" in done.stdout


@pytest.mark.slow
def test_when_one_breaks_the_other_does_not_wait_for_ever(tmp_path: Path) -> None:
    done = run(tmp_path / "run", 2, 1, "break-1-4")
    assert done.returncode != 0
    assert "broken as asked for" in done.stderr


@pytest.mark.slow
def test_another_number_of_processes_does_not_continue_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, 2, 1, "stop-0-8")
    done = run(out, 1, 2)
    assert done.returncode == 2
    assert "a run of 2 processes, continued with 1" in done.stdout


def test_alone_everything_is_its_own() -> None:
    world = Distributed(torch.device("cpu"))
    assert world.first
    assert world.all_agree(3, 0) == [3, 0]
    assert world.mean([1.5]) == [1.5]
    assert world.gather("x") == ["x"]
    assert world.once(lambda: 4) == 4
