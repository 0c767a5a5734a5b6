"""Jobs under Ray: on two nodes of which one is killed, and on one machine; the results are those of one process.

Each test that starts Ray does so in a process of its own: Ray decides once in a process whom it trusts.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crossmod.errors import InputError
from crossmod.experiment.executors import ray as on_ray
from crossmod.experiment.executors.base import Executor, InProcess
from crossmod.experiment.executors.options import ExecutorOptions
from crossmod.experiment.executors.ray import OBJECTS, RayExecutor, fit
from crossmod.experiment.jobs import Job, Outcome, Scheduler
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute
from crossmod.runs import Run
from crossmod.settings import Machine, SegmentSettings
from tests.support.segmenting import TINY
from tests.support.stand_ins import job, pretend
from tests.support.stores import Stores
from tests.support.workers import until

ONE_THREAD = Machine(threads=1, device="cpu")

without_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'crossmod[ray]'"
)


def apart(what: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, what, *map(str, paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def run(root: Path, jobs: list[Job], executor: Executor) -> Scheduler:
    named = {one.name: one for one in jobs}
    return execute(named, root, executor, LiveTable(named))


@pytest.mark.ray
@without_ray
def test_a_node_is_lost_and_the_results_are_those_of_one_process(stores: Stores, tmp_path: Path) -> None:
    jobs = segmenters(stores.mr)
    run(tmp_path / "alone", jobs, InProcess(tmp_path / "alone", ONE_THREAD))
    done = apart("two_nodes", tmp_path / "ray", stores.mr)
    assert "started again from its checkpoint" in done.stderr
    for one in jobs:
        ours, theirs = (Run(one.folder(tmp_path / root)).card for root in ("alone", "ray"))
        assert ours["weights_sha256"] == theirs["weights_sha256"]
        assert ours["scores"] == theirs["scores"]


def segmenters(store: Path) -> list[Job]:
    jobs = []
    for seed in (0, 1):
        settings = SegmentSettings(**{**TINY, "seed": seed, "epochs": 60}).model_dump(mode="json")
        jobs.append(Job(f"segment-{seed}", "segment", f"seed {seed}", settings, {"real": (str(store),)}, {}))
    return jobs


class Interrupted(RayExecutor):
    """Once all jobs have saved some steps, one of the cluster's nodes is killed, in the middle of one of them."""

    cluster: Any
    node: Any

    def wait(self) -> list[Outcome]:
        saved = [list((self._root / "runs" / name).glob("checkpoints/step-*")) for name in ("segment-0", "segment-1")]
        if self.node is not None and all(saved):
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = None
        return super().wait()


def two_nodes(root: Path, store: Path) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    on_ray.PATIENCE = 0.2
    start: Any = importlib.import_module("ray.cluster_utils").Cluster
    small = {"num_cpus": 1, "object_store_memory": OBJECTS}
    cluster = start(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    node = cluster.add_node(**small)
    # Every step is a checkpoint.
    machine = ONE_THREAD.model_copy(update={"checkpoint_minutes": 0})
    executor = Interrupted(root, machine, ExecutorOptions(address=cluster.address))
    executor.cluster, executor.node = cluster, node
    assert executor.slots == 2
    ledger = run(root, segmenters(store), executor)
    cluster.shutdown()
    assert executor.node is None
    assert sorted(ledger.tries.values()) == [1, 2]


@pytest.mark.ray
@without_ray
def test_on_one_machine(tmp_path: Path) -> None:
    done = apart("one_machine", tmp_path)
    # Nothing is printed but the lines of LiveTable.
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if not line.startswith(("[", "Lost", "FAILED"))] == []


class Left(RayExecutor):
    """Is not closed when all is done."""

    def close(self) -> None:
        pass


def one_machine(root: Path) -> None:
    options = ExecutorOptions().model_copy(update={"cpus": 0.5})
    executor = Left(root, ONE_THREAD, options, work=pretend)
    assert executor.slots >= 2
    jobs = [job("a"), job("killed", die=True), job("refused", fail=True), job("never", {"synthetic": "refused"})]
    ledger = run(root, jobs, executor)
    assert ledger.states == {"a": "done", "killed": "done", "refused": "failed", "never": "blocked"}
    assert ledger.tries == {"a": 1, "killed": 2, "refused": 1}
    assert (root / "logs" / "a.log").read_text() == "doing a\n"
    # What runs when all is closed saves.
    executor.start(job("long", sleep=600))
    until(root / "runs" / "long" / "asleep")
    began = time.monotonic()
    super(Left, executor).close()
    assert time.monotonic() - began < 300
    assert (root / "runs" / "long" / "saved").exists()


@pytest.mark.parametrize(
    ("cpus", "gpus", "each", "fits"),
    [(8.0, 2.0, (1.0, 0.0), 8), (8.0, 2.0, (1.0, 0.25), 8), (16.0, 2.0, (1.0, 0.3), 6), (8.0, 2.0, (4.0, 1.0), 2),
     (2.0, 8.0, (1.0, 2.0), 2), (1.0, 0.0, (2.0, 0.0), 0)],
)  # fmt: skip
def test_how_many_fit(cpus: float, gpus: float, each: tuple[float, float], fits: int) -> None:
    assert fit(cpus, gpus, *each) == fits


def test_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"no package ray. .* pip install 'crossmod\[ray\]'"):
        RayExecutor(tmp_path, ONE_THREAD, ExecutorOptions())


if __name__ == "__main__":
    {"two_nodes": two_nodes, "one_machine": one_machine}[sys.argv[1]](*map(Path, sys.argv[2:]))
