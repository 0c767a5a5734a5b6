"""Two pieces of work timed in turns, so that whatever else the machine does meets both alike."""

import time
from collections.abc import Callable

import torch

from crossmod.engine.device import wait_for
from crossmod.progress import progress

Repeated = Callable[[int], object]

# Steps of one path before it is the other's turn. A GPU wants more: at each turn it must first be filled with work.
MOST_IN_TURN = {"cpu": 5, "cuda": 20}


def turns(steps: int, device: torch.device) -> list[int]:
    """How many steps each turn takes: four turns or more where there are steps enough, all of them about as long."""
    most = min(MOST_IN_TURN[device.type], max(1, steps // 4))
    count = -(-steps // most)
    return [steps // count + (place < steps % count) for place in range(count)]


def race(first: Repeated, second: Repeated, *, begin: int, steps: int, device: torch.device) -> tuple[list[float], ...]:
    """Time two pieces of work in turns.

    Args:
        first: work that takes the number of its step.
        second: likewise.
        begin: the number of the first step.
        steps: how many steps of each.
        device: where they work; nothing but the end of a turn waits for it, as in a training.

    Returns:
        Seconds of each step, of `first` and of `second`; on a GPU the mean of each turn, once for each turn.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    at = begin
    with progress("Timing", steps * 2) as advance:
        for count in turns(steps, device):
            for work, taken in zip((first, second), seconds, strict=True):
                taken += _turn(work, range(at, at + count), device)
                advance(count)
            at += count
    return seconds


def _turn(work: Repeated, steps: range, device: torch.device) -> list[float]:
    if device.type == "cpu":
        return [timed(work, step, device) for step in steps]

    def whole(_: int) -> None:
        for step in steps:
            work(step)

    return [timed(whole, 0, device) / len(steps)]


def timed(work: Repeated, step: int, device: torch.device) -> float:
    """Seconds that one call takes, to the end of what it ordered from the device."""
    wait_for(device)
    began = time.perf_counter()
    work(step)
    wait_for(device)
    return time.perf_counter() - began
