import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Adam

from crossmod.benchmark import compare as room
from crossmod.benchmark import hardware as rate
from crossmod.benchmark.compare import TOLERANCE, BenchmarkPlan, Outcome, Way, Work, compare, largest_difference, plain
from crossmod.benchmark.hardware import convolution_rate, matmul_rate, operations, race, turns
from crossmod.engine.optimizers import adam
from crossmod.engine.state import TrainingTask

CPU = torch.device("cpu")
PLAN = BenchmarkPlan(
    work="a test", device=CPU, steps=6, warm=3, checked=2, outcome="numbers", slices=4, unit="slice", networks=True
)


def multiplying(scale: float) -> Callable[[], Work]:
    """Work whose outcome is known: a product of two 8 x 8 matrices, times `scale`."""

    def build() -> Work:
        left, right = torch.eye(8), torch.arange(64.0).reshape(8, 8) + 1

        def work(step: int) -> Callable[[], Outcome]:
            made = left @ right
            return lambda: {"product": made * scale, "step": torch.tensor(float(step + 1))}

        return work

    return build


def ways(scale: float) -> tuple[Way, Way]:
    return Way("plain", "fp32", multiplying(1.0)), Way("quick", "bf16", multiplying(scale))


def test_all_numbers_follow_from_the_raw_ones() -> None:
    found = compare(PLAN, *ways(1.0), {"fp32": 2.0, "bf16": 0.5})
    assert (found.difference, found.same) == (0.0, True)
    assert found.ratio == pytest.approx(np.median(found.reference.seconds) / np.median(found.shipped.seconds))
    assert found.operations == 2 * 8**3 / 4
    for reading, best in ((found.reference, 2.0), (found.shipped, 0.5)):
        assert len(reading.seconds) == 6
        step = float(np.median(reading.seconds))
        assert step > 0
        assert reading.milliseconds == pytest.approx(step * 1000 / 4)
        assert reading.slices_per_second == pytest.approx(4 / step)
        assert reading.tflops == pytest.approx(2 * 8**3 / step / 1e12)
        assert reading.share == pytest.approx(2 * 8**3 / step / 1e12 / best)
    assert (found.reference.path, found.shipped.path) == ("plain", "quick")


@pytest.mark.parametrize(("scale", "difference"), [(1.04, 0.04), (1.06, 0.06), (-1.0, 2.0)])
def test_what_gives_something_else_is_told(scale: float, difference: float, caplog: pytest.LogCaptureFixture) -> None:
    found = compare(PLAN, *ways(scale), {"fp32": 1.0, "bf16": 1.0})
    assert found.difference == pytest.approx(difference, rel=1e-5)
    assert found.same == (difference <= TOLERANCE)
    assert bool(caplog.records) == (difference > TOLERANCE)


def test_what_is_no_number_is_no_match() -> None:
    found = compare(PLAN, *ways(float("nan")), {"fp32": 1.0, "bf16": 1.0})
    assert (found.difference, found.same) == (None, False)


def test_the_largest_difference_is_over_steps_and_names() -> None:
    zero, one, three = (np.array([value]) for value in (0.0, 1.0, 3.0))
    assert largest_difference([{"a": three, "b": one}, {"a": one, "b": one}], [{"a": three, "b": one}] * 2) == 2.0
    assert largest_difference([{"a": np.array([3.0, 4.0])}], [{"a": np.array([3.0, 3.0])}]) == 0.2
    # Nothing can be small against nothing.
    assert largest_difference([{"a": zero}], [{"a": zero}]) == 0.0
    assert largest_difference([{"a": zero}], [{"a": np.array([1e-9])}]) == 1.0
    assert largest_difference([{"a": np.array([np.inf])}], [{"a": one}]) is None


@pytest.mark.parametrize(
    ("steps", "wanted"), [(1, [1]), (4, [1, 1, 1, 1]), (10, [2] * 5), (20, [5] * 4), (22, [5, 5, 4, 4, 4])]
)
def test_turns_are_many_and_about_as_long(steps: int, wanted: list[int]) -> None:
    assert turns(steps, CPU) == wanted


def test_both_take_the_same_steps_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only the work moves: 2 s a step of the one, 5 s of the other."""
    now, done = [0.0], []
    monkeypatch.setattr("crossmod.benchmark.hardware.time.perf_counter", lambda: now[0])

    def worker(name: str, seconds: float) -> Callable[[int], None]:
        def work(step: int) -> None:
            now[0] += seconds
            done.append((name, step))

        return work

    first, second = race(worker("a", 2.0), worker("b", 5.0), begin=3, steps=8, device=CPU)
    assert (first, second) == ([2.0] * 8, [5.0] * 8)
    groups = [("a", "b")] * 4
    wanted = [
        (name, step)
        for turn, names in enumerate(groups)
        for name, step in itertools.product(names, (3 + 2 * turn, 4 + 2 * turn))
    ]
    assert done == wanted


def test_operations_of_a_convolution() -> None:
    """2 images, 5 outputs of 3 inputs by 3 x 3, 8 x 8 places; the gradients of weights and input take as many each."""
    layer, images = nn.Conv2d(3, 5, 3, bias=False), torch.randn(2, 3, 10, 10, requires_grad=True)
    once = 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)
    assert operations(lambda: layer(images)) == once
    assert operations(lambda: layer(images).sum().backward()) == 3 * once
    with torch.inference_mode():
        assert operations(lambda: layer(torch.randn(2, 3, 10, 10))) == once


def test_the_rate_counts_a_multiply_add_as_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmod.benchmark.hardware.timed", lambda work, step, device: (9.0, 4.0, 2.0, 5.0, 3.0)[step])
    assert matmul_rate(CPU, torch.float32, side=16) == pytest.approx(3 * 2 * 16**3 / 2.0 / 1e12)
    # 64 x 64 places, 5 channels out, 5 in, 3 x 3 each.
    wanted = 3 * 2 * 64 * 64 * 5 * 5 * 9 / 2.0 / 1e12
    assert convolution_rate(CPU, torch.bfloat16, channels=5) == pytest.approx(wanted)


def test_the_best_rate_is_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for product, convolution in ((1.0, 2.0), (3.0, 2.0)):
        monkeypatch.setattr(rate, "matmul_rate", lambda device, dtype, made=product: made)
        monkeypatch.setattr(rate, "convolution_rate", lambda device, dtype, made=convolution: made)
        assert rate.best_rate(CPU, torch.float32) == max(product, convolution)


def test_plain_adam_is_pytorchs() -> None:
    """The engine's optimizer, taken back to what `torch.optim.Adam` is by itself, gives the same weights to the bit."""
    torch.manual_seed(0)
    mine, theirs = nn.Linear(7, 5), nn.Linear(7, 5)
    theirs.load_state_dict(copy.deepcopy(mine.state_dict()))
    trainee = TrainingTask({}, {"all": adam(mine.parameters(), 1e-2, (0.5, 0.999), CPU)}, lambda batch: {})
    ours = plain(trainee).optimizers["all"]
    reference = Adam(theirs.parameters(), 1e-2, (0.5, 0.999))
    assert {**ours.param_groups[0], "params": 0} == {**reference.param_groups[0], "params": 0}
    for _ in range(3):
        images = torch.randn(4, 7)
        for network, optimizer in ((mine, ours), (theirs, reference)):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    assert torch.equal(mine.weight, theirs.weight)
    with pytest.raises(AssertionError, match="steps were taken"):
        plain(trainee)


@pytest.mark.slow
def test_memory_is_that_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step holds and lets go of counts; what it keeps from its first call on, or its outcome takes, does not."""
    megabytes = 64

    def build() -> Work:
        kept: list[np.ndarray] = []

        def work(step: int) -> Callable[[], Outcome]:
            if not kept:
                kept.append(np.ones(4 * megabytes * 2**17))
            passing = np.ones(megabytes * 2**17)
            total = passing.sum()
            return lambda: {"sum": total * np.ones(2 * megabytes * 2**17)}

        return work

    monkeypatch.setattr(room, "race", lambda *both, **more: ([1.0], [1.0]))
    found = compare(replace(PLAN, checked=3), Way("", "fp32", build), Way("", "fp32", build), {"fp32": 1.0})
    for reading in (found.reference, found.shipped):
        assert reading.peak_bytes / 2**20 == pytest.approx(megabytes, rel=0.25)
