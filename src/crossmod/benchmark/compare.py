"""The shipped path compared with plain PyTorch: first whether they do the same, then how long each takes."""

import logging
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from crossmod.benchmark.hardware import added, begin, operations, race, timed
from crossmod.benchmark.result import TOLERANCE, Comparison, Reading
from crossmod.engine.state import TrainingTask
from crossmod.progress import disable_progress, progress

Result = TypeVar("Result")


def silently(work: Callable[[], Result]) -> Result:
    """The result of `work`, without its progress display, since the benchmark shows its own."""

    def without_progress() -> Result:
        disable_progress()
        return work()

    # In a copy of the context, so that nothing else is without_progress.
    return copy_context().run(without_progress)


def plain(task: TrainingTask) -> TrainingTask:
    """A new training task with the Adam of `torch.optim.Adam(weights, rate, betas)` in place of the engine's.

    Nothing else needs to be undone: without acceleration it is eager, in fp32, with rows of pixels last.
    """
    for optimizer in task.optimizers.values():
        assert isinstance(optimizer, Adam)
        assert not optimizer.state, "steps were taken already"
        for group in optimizer.param_groups:
            group.update(lr=float(group["lr"]), fused=None, foreach=None, capturable=False)
    return task


log = logging.getLogger(__name__)


Outcome = Mapping[str, Tensor | np.ndarray]
# A step: takes its number, returns a function for its outcome, which is called in first steps only, and not timed.
Work = Callable[[int], Callable[[], Outcome]]


@dataclass(frozen=True, eq=False)
class Way:
    """One of two ways to do the same work."""

    path: str  # how it computes, in words
    precision: str  # of its convolutions, whose rate it is compared with
    build: Callable[[], Work]


@dataclass(frozen=True)
class BenchmarkPlan:
    """How two ways are compared."""

    work: str  # what they do, in words
    device: torch.device  # where
    steps: int  # number of timed steps
    warm: int  # first steps, not timed; the work is at its full speed after them
    checked: int  # of the first steps, how many are compared
    outcome: str  # what is compared, in words
    slices: int  # slices per step
    unit: str = "step"  # `step`, or `slice`, if a step is only a number of slices
    networks: bool = True  # whether there are operations to count


@dataclass(frozen=True, eq=False)
class _Started:
    work: Work
    outcomes: list[dict[str, np.ndarray]]
    seconds: list[float]
    peak_bytes: int
    operations: int


def compare(plan: BenchmarkPlan, reference: Way, shipped: Way, rates: Mapping[str, float]) -> Comparison:
    """Start both paths, compare the outcomes of their first steps, and time them in turns. Operations are counted in
    the first step of `reference`; `rates` are the machine's TFLOP/s by precision."""
    old = _start(plan, reference, count=plan.networks)
    new = _start(plan, shipped, count=False)
    difference = largest_difference(old.outcomes, new.outcomes)
    if difference is None or difference > TOLERANCE:
        log.warning("%s: what the shipped path gives is not what the reference gives.", plan.work)
    taken = race(old.work, new.work, begin=plan.warm, steps=plan.steps, device=plan.device)
    counted = old.operations if plan.networks else None

    def reading(way: Way, started: _Started, seconds: list[float]) -> Reading:
        step = median(seconds)
        tflops = None if counted is None else counted / step / 1e12
        return Reading(
            path=way.path,
            seconds=tuple(seconds),
            milliseconds=step * 1e3 / (1 if plan.unit == "step" else plan.slices),
            slices_per_second=plan.slices / step,
            start_seconds=max(sum(started.seconds) - len(started.seconds) * step, 0.0),
            peak_bytes=started.peak_bytes,
            tflops=tflops,
            share=None if tflops is None else tflops / rates[way.precision],
        )

    first, second = reading(reference, old, taken[0]), reading(shipped, new, taken[1])
    return Comparison(
        work=plan.work,
        unit=plan.unit,
        reference=first,
        shipped=second,
        ratio=first.milliseconds / second.milliseconds,
        operations=counted if counted is None or plan.unit == "step" else round(counted / plan.slices),
        checked=plan.outcome,
        difference=difference,
        same=difference is not None and difference <= TOLERANCE,
    )


def _start(plan: BenchmarkPlan, way: Way, *, count: bool) -> _Started:
    outcomes: list[dict[str, np.ndarray]] = []
    seconds: list[float] = []
    counted, peak, before = 0, 0, begin(plan.device)
    work = way.build()
    with progress(f"First steps, {way.path}", plan.warm) as advance:
        for step in range(plan.warm):
            if plan.device.type == "cpu":
                before = begin(plan.device)
            outcome_of: list[Callable[[], Outcome]] = []
            keep = partial(_keep, work, outcome_of)
            if count and step == 0:
                counted = operations(partial(keep, step))
            else:
                seconds.append(timed(keep, step, plan.device))
            # Before the outcome is computed, which takes memory of its own.
            peak = added(before, plan.device)
            if step < plan.checked:
                outcomes.append({name: _host(value) for name, value in outcome_of[0]().items()})
            advance()
    return _Started(work, outcomes, seconds, peak, counted)


def _keep(work: Work, outcome_of: list[Callable[[], Outcome]], step: int) -> None:
    outcome_of.append(work(step))


def _host(value: Tensor | np.ndarray) -> np.ndarray:
    return value.detach().double().cpu().numpy() if isinstance(value, Tensor) else value.astype(np.float64)


def largest_difference(reference: list[dict[str, np.ndarray]], shipped: list[dict[str, np.ndarray]]) -> float | None:
    """The largest `|shipped - reference| / |reference|` (L2) over steps and names; None if any value is not finite."""
    found = 0.0
    for old, new in zip(reference, shipped, strict=True):
        assert old.keys() == new.keys()
        for name in old:
            size = float(np.linalg.norm(old[name]))
            off = float(np.linalg.norm(new[name] - old[name]))
            if not np.isfinite([size, off]).all():
                return None
            found = max(found, off / size if size else float(off > 0))
    return found
