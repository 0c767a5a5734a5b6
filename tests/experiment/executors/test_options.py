"""How many runs go on at once, on machines that are made up."""

from dataclasses import dataclass

import pytest

from crossmod.config import with_changes
from crossmod.experiment.executors import options as room
from crossmod.experiment.executors.options import side_by_side
from crossmod.machine import visible_gpus
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.settings import Machine

SMALL = (TRANSLATE["tiny"], SEGMENT["tiny"])
LARGE = (*SMALL, TRANSLATE["rafiq2025"])
CPU = Machine(device="cpu")


@dataclass
class Has:
    cores: int = 8
    memory: int | None = 64_000_000_000


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Has:
    made = Has()
    monkeypatch.setattr(room, "usable_cores", lambda: made.cores)
    monkeypatch.setattr(room, "free_memory", lambda: made.memory)
    return made


def test_small_runs_take_a_core_each(has: Has) -> None:
    found = side_by_side(CPU, SMALL)
    assert found.jobs == 8
    assert found.why == "8 runs at once with one thread each: they are small, and there are 8 usable cores."
    has.cores = 1
    assert side_by_side(CPU, SMALL).why.startswith("One run after another with one thread each")


def test_no_more_than_memory_carries(has: Has) -> None:
    has.memory = 5_000_000_000
    found = side_by_side(CPU, SMALL)
    assert found.jobs == 3
    assert "5.0 GB of free memory where each may take 1.5 GB" in found.why
    has.memory = 100
    assert side_by_side(CPU, SMALL).jobs == 1
    has.memory = None
    assert side_by_side(CPU, SMALL).jobs == 8


@pytest.mark.usefixtures("has")
def test_what_was_asked_for_wins() -> None:
    found = side_by_side(CPU, LARGE, jobs=5)
    assert (found.jobs, found.why) == (5, "5 runs at once, as requested.")
    assert side_by_side(CPU, SMALL, jobs=1).why == "One run after another, as requested."
    found = side_by_side(with_changes(CPU, threads=3), SMALL)
    assert (found.jobs, "with 3 threads each" in found.why) == (2, True)


@pytest.mark.usefixtures("has")
def test_large_runs_several_processes_and_gpus_are_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert side_by_side(CPU, LARGE).jobs == 1
    assert "large enough to use every core" in side_by_side(CPU, LARGE).why
    assert side_by_side(Machine(device="cpu", devices=2), SMALL).jobs == 1
    assert "on the GPU" in side_by_side(Machine(device="cuda"), SMALL).why
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert side_by_side(Machine(), SMALL).jobs == 1
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    found = side_by_side(Machine(), LARGE)
    assert (found.jobs, found.why) == (4, "4 runs at once on 4 GPUs, one on each.")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert visible_gpus() == ["2", "GPU-5"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert side_by_side(Machine(), SMALL).jobs == 8
