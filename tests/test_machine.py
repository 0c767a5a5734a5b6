"""Cores and memory of made-up machines and containers."""

import os
from pathlib import Path

import pytest

from crossmod.machine import free_memory, usable_cores


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMORY = "MemTotal: 32000000 kB\nMemFree: 1 kB\nMemAvailable: 20000000 kB\n"


def test_without_control_groups_the_affinity_and_the_machine_decide(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 16
    assert free_memory(tmp_path) is None
    assert free_memory(system(tmp_path, {"proc/meminfo": MEMORY})) == 20_000_000 * 1024


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 16), ("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("3200000 100000", 16)],
)
def test_a_quota_of_version_2_counts_in_whole_cores(quota: str, cores: int, tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota + "\n"}
    assert usable_cores(system(tmp_path, files)) == cores


def test_the_tightest_of_nested_groups_decides(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/job.scope\n",
        "proc/meminfo": MEMORY,
        "sys/fs/cgroup/user.slice/job.scope/cpu.max": "max 100000\n",
        "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/user.slice/job.scope/memory.max": "8000000000\n",
        "sys/fs/cgroup/user.slice/job.scope/memory.current": "5000000000\n",
        # A file that was read is given back when memory is wanted.
        "sys/fs/cgroup/user.slice/job.scope/memory.stat": "anon 4000000000\ninactive_file 1000000000\n",
        "sys/fs/cgroup/user.slice/memory.max": "max\n",
    }
    root = system(tmp_path, files)
    assert usable_cores(root) == 3
    assert free_memory(root) == 4_000_000_000


def test_version_1_inside_a_container_whose_path_is_the_hosts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        "proc/meminfo": MEMORY,
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000000\n",
    }
    root = system(tmp_path, files)
    assert usable_cores(root) == 2
    assert free_memory(root) == 1_500_000_000


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/\n3:cpu,cpuacct:/\n",
        "proc/meminfo": MEMORY,
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000000\n",
    }
    root = system(tmp_path, files)
    assert usable_cores(root) == 16
    assert free_memory(root) == 20_000_000 * 1024


def test_of_this_machine() -> None:
    assert 1 <= usable_cores() <= 16
    free = free_memory()
    assert free is None or free > 0
