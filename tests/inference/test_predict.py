"""Many patients at once, and networks over volumes."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from crossmod.inference.batch.run import overlapped
from crossmod.inference.ensemble import about_all, ct_windows, merged
from crossmod.inference.predict import Prediction, pooled, prepare
from crossmod.inference.types import Network, Options
from tests.support.small_models import Made, about, body


def answer(mean: float, variance: float = 0.0) -> Prediction:
    return Prediction(np.full((1, 1, 1), mean, np.float32), np.full((1, 1, 1), variance, np.float32), None, 1.0)


def test_the_spread_of_several_networks_is_that_within_and_between() -> None:
    both = pooled([answer(10, 4), answer(20, 6)])
    assert (both.mean.item(), both.variance.item(), both.seconds) == (15, 5 + 25, 2)


def test_the_moments_are_those_of_all_variants() -> None:
    volume = body((3, 32, 32), (5.0, 10.0, 10.0))
    network = Made(about(flip=True), lambda images: np.tanh(images[:, 0] * 3 + np.arange(32) / 40))
    sweep = prepare(network, [volume], Options(variants=("flip", "shift", "neighbours")))
    given = sweep._inputs(0, 3)
    each = np.stack([move.back(network.translate(move.there(given)[0][:, None])[0]) * 1000 for move in sweep.moves])
    found = sweep.answer(0, 3)
    np.testing.assert_allclose(found.mean, each.mean(axis=0), atol=1e-2)
    np.testing.assert_allclose(found.variance, each.var(axis=0), rtol=1e-3, atol=1)


@pytest.mark.parametrize(("stack", "batch"), [(3, 1), (3, 4), (5, 7), (5, 2)])
def test_a_stack_is_the_slice_and_those_at_its_distance(stack: int, batch: int) -> None:
    """Slices 2 mm apart, a stack of 4 mm: every other slice, the first and last of the volume beyond its ends."""
    volume = body((7, 32, 32), (2.0, 10.0, 10.0))
    volume.voxels[:] = np.arange(7)[:, None, None] * 10.0
    seen: list[np.ndarray] = []

    def keep(images: np.ndarray) -> np.ndarray:
        seen.append(images[:, :, 0, 0])
        return images[:, 0]

    sweep = prepare(Made(about(stack=stack, stack_mm=4.0), keep), [volume], Options())
    for start in range(0, 7, batch):
        found = sweep.answer(start, min(start + batch, 7))
        np.testing.assert_allclose(found.mean[:, 0, 0], np.arange(start, min(start + batch, 7)) * 10, atol=1e-2)
    steps = (0, -2, 2, -4, 4)[:stack]
    wanted = [[min(max(index + step, 0), 6) * 10 for step in steps] for index in range(7)]
    np.testing.assert_allclose(np.concatenate(seen) * 1000, wanted, atol=1e-2)


def test_stacks_of_two_inputs_follow_each_other_and_half_way_slices_are_of_all() -> None:
    first, second = (body((4, 32, 32), (5.0, 10.0, 10.0)) for _ in range(2))
    first.voxels[:], second.voxels[:] = (np.arange(4)[:, None, None] * step for step in (10.0, -100.0))
    seen: list[np.ndarray] = []

    def keep(images: np.ndarray) -> np.ndarray:
        seen.append(images[:, :, 0, 0])
        return images[:, 0]

    network = Made(about(stack=3, stack_mm=5.0, inputs=("ct", "ct")), keep)
    prepare(network, [first, second], Options(variants=("neighbours",))).answer(1, 3)
    own, up, down = np.split(seen[0] * 1000, 3)
    np.testing.assert_allclose(own, [[10, 0, 20, -100, 0, -200], [20, 10, 30, -200, -100, -300]], atol=1e-2)
    np.testing.assert_allclose(up, [[15, 5, 25, -150, -50, -250], [25, 15, 30, -250, -150, -300]], atol=1e-2)
    np.testing.assert_allclose(down, [[5, 0, 15, -50, 0, -150], [15, 5, 25, -150, -50, -250]], atol=1e-2)


@pytest.mark.parametrize(
    ("soft", "bone", "lung", "expected"),
    [
        (50, 700, -900, 50),
        (238, 700, -900, 700),
        (238, 100, -900, 238),
        (-159, 700, -900, -900),
        (-159, 700, 0, -159),
        (240, 799, -900, 799),
    ],
)
def test_which_window_has_the_word(soft: float, bone: float, lung: float, expected: float) -> None:
    windows = [((-160.0, 240.0), soft), ((-1000.0, -100.0), lung), ((-200.0, 800.0), bone)]
    assert merged([(window, answer(value)) for window, value in windows]).mean.item() == expected


def test_the_narrowest_window_comes_first_and_equal_ones_go_together() -> None:
    soft, wide = (Made(about(source="mr", inputs=("mr",), low=low, high=high, name=name, weights=name))
                  for name, low, high in (("soft", -160.0, 240.0), ("wide", -1000.0, 1500.0)))  # fmt: skip
    networks: Sequence[Network] = [wide, soft, soft]
    assert [(window, len(group)) for window, group in ct_windows(networks).items()] == [
        ((-160.0, 240.0), 2),
        ((-1000.0, 1500.0), 1),
    ]
    together = about_all(networks)
    assert (together.name, together.low, together.high) == ("wide + soft + soft", -1000.0, 1500.0)
    assert len(together.weights) == 64
    assert about_all([soft]) is soft.about


def test_reading_and_writing_overlap_with_computing() -> None:
    """Reading a patient, computing the one before and writing the one before that meet: each waits for the others."""
    threads: dict[str, set[str]] = {"read": set(), "work": set(), "write": set()}
    meetings = {item: threading.Barrier(3, timeout=120) for item in range(1, 5)}
    ahead = {"read": 1, "work": 0, "write": -1}

    def step(name: str, value: int) -> int:
        threads[name].add(threading.current_thread().name)
        # The patient that is computed meanwhile.
        computed = value // 10 - ahead[name]
        if computed in meetings:
            meetings[computed].wait()
        return value + 1

    written: list[int] = []
    ends = list(
        overlapped(
            range(6),
            lambda item: step("read", item * 10),
            lambda item, given: step("work", given),
            lambda item, made: written.append(step("write", made)) or written[-1],
        )
    )
    assert ends == [(item, item * 10 + 3) for item in range(6)]
    assert written == [item * 10 + 3 for item in range(6)]
    assert len(set.union(*threads.values())) == 3
    assert threads["work"] == {threading.current_thread().name}


@pytest.mark.parametrize("where", ["read", "work", "write"])
def test_one_bad_patient_does_not_stop_the_rest(where: str) -> None:
    def step(name: str, item: int) -> int:
        if (name, item) == (where, 1):
            raise ValueError("bad")
        return item

    ends = overlapped(
        range(3),
        lambda item: step("read", item),
        lambda item, given: step("work", item),
        lambda item, made: step("write", item),
    )
    assert [(item, str(end)) for item, end in ends] == [(0, "0"), (1, "bad"), (2, "2")]


def test_whoever_stops_in_the_middle_leaves_no_thread_behind() -> None:
    read: list[int] = []
    several = overlapped(range(100), read.append, lambda item, given: item, lambda item, made: None)
    before = threading.active_count()
    for item, _ in several:
        if item == 2:
            break
    several.close()  # pyright: ignore[reportAttributeAccessIssue] - what comes is a generator
    end = time.monotonic() + 60
    while threading.active_count() > before:
        assert time.monotonic() < end, [thread.name for thread in threading.enumerate()]
        time.sleep(0.01)
    assert len(read) < 10


def test_memory_beside_the_volumes_does_not_grow_with_their_length(tmp_path: Path) -> None:
    """By what NumPy holds at its peak: three times the slices, the same beside the result."""
    import tracemalloc

    from crossmod.inference.translate_volume import translate_volume

    def beside(slices: int) -> float:
        volume = body((slices, 96, 96), (1.0, 4.0, 4.0))
        tracemalloc.start()
        made = translate_volume([Made(about())], [volume], Options(batch=4))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak - made.image.voxels.nbytes - made.body.nbytes

    short, long = beside(24), beside(72)
    # The smallest array of the volume's length would be a byte a voxel; body masks that are made meanwhile come and go.
    assert long < short + 0.6 * 48 * 96 * 96
