"""Threads that wait for cores: by a clock and a kernel that are made up, and once by this machine's."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from crossmod.engine import crowding
from crossmod.engine.crowding import Crowding, GivingWay, seconds_waited
from crossmod.engine.distributed import Distributed, computing_with
from crossmod.engine.state import TrainerState

CPU = torch.device("cpu")


class Machine:
    """A clock, and threads that wait for so many cores' worth of it."""

    def __init__(self) -> None:
        self.now = self.waited = 0.0

    def passes(self, seconds: float, waiting: float = 0.0) -> None:
        self.now += seconds
        self.waited += seconds * waiting

    def watched(self) -> Crowding:
        return Crowding(lambda: self.waited, lambda: self.now)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def two_threads() -> Iterator[None]:
    with computing_with(2):
        yield


def test_threads_that_wait_for_long_are_too_many(machine: Machine) -> None:
    seen = machine.watched()
    for _ in range(2):
        machine.passes(6, waiting=0.9)
        assert seen.room_for(2) == 2
    machine.passes(6, waiting=0.9)
    assert seen.room_for(2) == 1


def test_a_single_step_may_be_long_enough(machine: Machine) -> None:
    seen = machine.watched()
    machine.passes(100, waiting=0.6)
    # Of 16, one shares its core: half of its time and a little of others'.
    assert seen.room_for(16) == 14


def test_a_short_while_and_a_little_waiting_are_nothing(machine: Machine) -> None:
    seen = machine.watched()
    for _ in range(20):
        machine.passes(6, waiting=0.9)
        assert seen.room_for(2) == 2
        machine.passes(6, waiting=0.2)
        assert seen.room_for(2) == 2
    machine.passes(4, waiting=2.0)
    assert seen.room_for(2) == 2


def test_what_was_no_training_is_forgotten(machine: Machine) -> None:
    seen = machine.watched()
    machine.passes(12, waiting=1)
    assert seen.room_for(2) == 2
    machine.passes(60, waiting=1)
    seen.restart()
    machine.passes(12, waiting=1)
    assert seen.room_for(2) == 2


def test_one_thread_is_never_too_many_and_a_silent_kernel_says_nothing(machine: Machine) -> None:
    seen = machine.watched()
    machine.passes(100, waiting=1)
    assert seen.room_for(1) == 1
    silent = Crowding(lambda: None, lambda: machine.now)
    machine.passes(100)
    assert silent.room_for(4) == 4


def train(machine: Machine, world: Distributed, at: TrainerState) -> None:
    """Steps that take 20 s, half of it waiting for a core."""
    cores = GivingWay(world, at, machine.watched())
    for _ in range(10):
        machine.passes(20, waiting=0.5)
        at.step += 1
        cores.after_step()


@pytest.mark.usefixtures("two_threads")
def test_a_training_goes_on_with_fewer_and_says_so_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    at = TrainerState(step=7, threads=[{"step": 0, "threads": 2}])
    with caplog.at_level(logging.WARNING):
        train(machine, Distributed(CPU), at)
    assert torch.get_num_threads() == 1
    # The first three steps may have compiled.
    assert at.threads == [{"step": 0, "threads": 2}, {"step": 11, "threads": 1}]
    assert len(caplog.records) == 1
    assert "training continues with 1 of 2 threads" in caplog.text


@pytest.mark.usefixtures("two_threads")
def test_threads_that_were_asked_for_are_kept_and_the_way_out_is_named(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    at = TrainerState()
    with caplog.at_level(logging.WARNING):
        train(machine, Distributed(CPU, threads=2), at)
    assert torch.get_num_threads() == 2
    assert at.threads == [{"step": 0, "threads": 2}]
    assert len(caplog.records) == 1
    assert "press Ctrl-C and rerun the command with --threads 1." in caplog.text


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("world", [Distributed(torch.device("cuda")), Distributed(CPU, ranks=2)])
def test_gpus_and_several_processes_are_left_alone(world: Distributed, machine: Machine) -> None:
    train(machine, world, TrainerState())
    assert torch.get_num_threads() == 2


def test_a_checkpoint_of_before_knows_no_threads_and_a_change_on_resuming_is_kept() -> None:
    at = TrainerState(**{key: value for key, value in TrainerState(step=5).state_dict().items() if key != "threads"})
    at.computes_with(2)
    again = TrainerState(**at.state_dict())
    again.computes_with(2)
    again.step = 9
    again.computes_with(1)
    assert again.threads == [{"step": 5, "threads": 2}, {"step": 9, "threads": 1}]


def test_outside_of_linux_nobody_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crowding, "TASKS", tmp_path / "gone")
    assert seconds_waited() is None
    (tmp_path / "12").mkdir()
    (tmp_path / "13").mkdir()
    (tmp_path / "12" / "schedstat").write_text("7000000000 2500000000 12\n")
    monkeypatch.setattr(crowding, "TASKS", tmp_path)
    assert seconds_waited() == 2.5


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count waiting")
def test_the_kernel_counts_what_a_shared_core_costs() -> None:
    """Two busy processes on one core: each waits while the other runs."""
    program = "while True: pass"
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        before_all = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(other.pid, {core})
            os.sched_setaffinity(0, {core})
            before, end = seconds_waited(), time.monotonic() + 30
            while (waited := seconds_waited()) is not None and before is not None and waited - before < 0.2:
                assert time.monotonic() < end
        finally:
            os.sched_setaffinity(0, before_all)
            other.kill()
