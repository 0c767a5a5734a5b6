"""How many runs go on at once on this machine, where the user did not say.

Notable:
- Small runs take one thread each, whatever else runs, so that their results do not depend on how many go on at once.
- A large run has all cores to itself; a GPU is one, and what fits on it is for the user to say.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from crossmod.machine import AnySettings, free_memory, is_small, usable_cores
from crossmod.settings import Machine

# Main memory of a small run, bytes. Measured: 0.6 GB, of which libraries take 0.4; the rest is for larger stores.
RUN = 1_500_000_000


@dataclass(frozen=True)
class SideBySide:
    """A number of runs at once.

    Args:
        jobs: how many.
        why: the reason, a sentence.
    """

    jobs: int
    why: str


def side_by_side(machine: Machine, runs: Iterable[AnySettings], jobs: int = 0) -> SideBySide:
    """How many runs go on at once.

    Args:
        machine: where they compute.
        runs: settings of all that will be trained.
        jobs: what the user asked for; 0: choose.
    """
    if jobs:
        return SideBySide(jobs, f"{_several(jobs)}, as asked for.")
    if machine.devices * machine.nodes > 1:
        return SideBySide(1, f"{_several(1)}: each takes several processes.")
    if _on_gpu(machine):
        return SideBySide(1, f"{_several(1)} on the GPU (--jobs N lets several share it).")
    if not all(is_small(one) for one in runs):
        return SideBySide(1, f"{_several(1)}: some of them are large enough to use every core (--jobs N runs several).")
    cores, memory, threads = usable_cores(), free_memory(), machine.threads or 1
    fit = max(1, cores // threads)
    least = fit if memory is None else max(1, min(fit, memory // RUN))
    each = "one thread" if threads == 1 else f"{threads} threads"
    has = f"{cores} usable core{'s' if cores > 1 else ''}"
    if memory is not None and least < fit:
        has += f", and {memory / 1e9:.1f} GB of free memory where each may take {RUN / 1e9:.1f} GB"
    return SideBySide(least, f"{_several(least)} with {each} each: they are small, and there are {has}.")


def _several(jobs: int) -> str:
    return "One run after another" if jobs == 1 else f"{jobs} runs at once"


def _on_gpu(machine: Machine) -> bool:
    if machine.device != "auto":
        return machine.device == "cuda"
    # Slow to import, and only asked where it decides.
    from crossmod.engine.device import pick_device

    return pick_device().type == "cuda"
