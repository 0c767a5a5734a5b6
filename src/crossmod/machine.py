"""Available cores and memory of this machine, and which runs are too small for many cores.

Measured on two cores, training steps per second with two threads relative to one (docs/concepts/training.md): 1.1 to
1.2 times as many up to about 220,000 values in the first layer of a step, 1.4 to 1.5 from a million. Threads that wait
for each other lose far more than that if another program keeps one of the cores busy.

Notable:
- More threads than cores are slower than fewer, and the number of cores does not include a container's quota.
- Control groups of both versions are read: `cpu.max` and `memory.max` (2), `cpu.cfs_*` and `memory.limit_in_bytes` (1).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from crossmod.settings import CONTROLS, SegmentSettings, TranslateSettings

ROOT = Path("/")
MEMINFO = Path("proc/meminfo")


def usable_cores(root: Path = ROOT) -> int:
    """CPU cores that this process may use, at least 1; `root`: where the system's files lie."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _groups(root, "cpu")]
    # Round down: a thread more than whole cores would spin while it waits, and use up the quota.
    return max(1, min([cores, *(int(quota) for quota in quotas if quota is not None)]))


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes of free main memory; None if the system does not report it (macOS)."""
    found = _free_of_machine(root)
    lefts = [_left(folder) for folder in _groups(root, "memory")]
    known = [left for left in (found, *lefts) if left is not None]
    return min(known) if known else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups of this process, from its own up to the outermost visible one."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if names else "")
        # Inside a container the path may be that of the host; the mounted group is then the container's own.
        group = top / path.strip("/")
        yield from (folder for folder in (group, *group.parents) if folder == top or top in folder.parents)


def _quota(group: Path) -> float | None:
    """Cores that a group may use; None without a limit."""
    words = _words(group / "cpu.max") or [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
    if len(words) < 2 or not words[0].isdecimal():
        return None
    return int(words[0]) / int(words[1])


def _left(group: Path) -> int | None:
    """Bytes that a group may still take; None without a limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        most, have = _words(group / limit), _words(group / used)
        if most and have and most[0].isdecimal():
            # Cached files count as free, since the system releases them when memory is needed.
            return max(0, int(most[0]) - int(have[0]) + _cached(group))
    return None


def _cached(group: Path) -> int:
    words = _words(group / "memory.stat")
    values = dict(zip(words[::2], words[1::2], strict=False))
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _free_of_machine(root: Path) -> int | None:
    try:
        lines = (root / MEMINFO).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


# The GPUs that a process may use, by number or identifier; CUDA reads it when it starts.
VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; none without CUDA."""
    # Slow to import, and only needed here.
    import torch

    # Counts without starting CUDA, which would take memory of the first GPU.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


# Values in the output of the first layer of a step, the largest layer; up to this number, a run is small.
SMALL = 400_000
# Channels of the first layer of each segmentation network.
CHANNELS = {
    "unet": 64,
    "tiny": 12,
    "tiny_instance": 12,
    "dynunet": 32,
    "attention_unet": 64,
    "swin_unetr": 48,
    "segresnet": 32,
}

AnySettings = TranslateSettings | SegmentSettings


def first_layer(settings: AnySettings) -> int:
    """Values in the output of the first layer: pixels x channels x slices per step."""
    if isinstance(settings, TranslateSettings):
        # A control has no networks.
        channels = max(settings.generator_filters, settings.discriminator_filters) * (settings.family not in CONTROLS)
    else:
        # A network of another package is assumed to be wide.
        channels = CHANNELS.get(settings.network, 64)
    return settings.size**2 * channels * settings.batch_size


def is_small(settings: AnySettings) -> bool:
    """Whether more than one CPU thread would gain little."""
    return first_layer(settings) <= SMALL
