import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmod.engine import memory
from crossmod.engine.memory import peak_bytes, resident_bytes

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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_of_a_gpu_is_that_of_its_tensors() -> None:
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_bytes(device)
    block = torch.ones(64 * MIB, dtype=torch.uint8, device=device)
    del block
    assert peak_bytes(device) - before == pytest.approx(64 * MIB, abs=2 * MIB)
