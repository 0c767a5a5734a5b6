import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmod.engine import memory
from crossmod.engine.memory import fitting, peak_bytes, resident_bytes
from crossmod.errors import InputError

# Where there is no /proc, nothing falls and there is no second count to hold the first against.
with_proc = pytest.mark.skipif(not memory.STATM.exists(), reason="no /proc")

MIB = 2**20
CPU = torch.device("cpu")


@with_proc
def test_what_is_held_now_rises_and_falls_with_an_array_of_known_size() -> None:
    before = resident_bytes()
    block = np.ones(96 * MIB, np.uint8)
    during = resident_bytes()
    del block
    after = resident_bytes()
    assert during - before == pytest.approx(96 * MIB, abs=8 * MIB)
    assert during - after == pytest.approx(96 * MIB, abs=8 * MIB)


@with_proc
def test_the_peak_rises_by_what_lies_over_it_and_stays() -> None:
    before = peak_bytes(CPU)
    # Earlier tests may have held more than is held now: only what comes on top of that moves the peak.
    block = np.ones(before - resident_bytes() + 64 * MIB, np.uint8)
    during = peak_bytes(CPU)
    del block
    assert during - before == pytest.approx(64 * MIB, abs=8 * MIB)
    assert peak_bytes(CPU) == during
    assert resident_bytes() < during - 48 * MIB


@with_proc
def test_now_and_peak_count_in_the_same_unit() -> None:
    assert resident_bytes() <= peak_bytes(CPU) + MIB
    # The kernel's own words, in kB.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert resident_bytes() == pytest.approx(int(status["VmRSS"].split()[0]) * 1024, abs=4 * MIB)
    assert peak_bytes(CPU) == pytest.approx(int(status["VmHWM"].split()[0]) * 1024, abs=4 * MIB)


def test_without_proc_the_peak_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATM", tmp_path / "none")
    assert resident_bytes() == peak_bytes(CPU)


@with_proc
def test_macos_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux = peak_bytes(CPU)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_bytes(CPU) == pytest.approx(on_linux / 1024, rel=0.05)


def too_much() -> None:
    """More than any machine has: torch itself says what is wrong."""
    torch.empty(2**62, dtype=torch.uint8)


@pytest.mark.parametrize(
    "fails", [too_much, lambda: np.ones(2**50), lambda: bytearray(2**60)], ids=["torch", "numpy", "python"]
)
def test_too_little_memory_is_named_with_what_to_lower(fails: Callable[[], object], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error, fitting(tmp_path, batch_size=16, size=1024):
        fails()
    assert error.value.found == "too little main memory for --batch-size 16 with --size 1024"
    assert error.value.do.startswith("Lower --batch-size, --size or the width")
    assert error.value.do.endswith("; the same folder will do.")


def test_a_gpu_without_room_and_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000009.safetensors").touch()
    with pytest.raises(InputError) as error, fitting(tmp_path, batch_size=1, size=512):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert error.value.found.startswith("too little GPU memory")
    assert error.value.do.startswith("Lower --size or the width")
    assert error.value.do.endswith("with another folder for the run.")


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), fitting(tmp_path, batch_size=1, size=512):
        raise RuntimeError("shapes do not fit")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_of_a_gpu_is_that_of_its_tensors() -> None:
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_bytes(device)
    block = torch.ones(64 * MIB, dtype=torch.uint8, device=device)
    del block
    assert peak_bytes(device) - before == pytest.approx(64 * MIB, abs=2 * MIB)
