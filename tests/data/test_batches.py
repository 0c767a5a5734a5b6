from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data import batches as module
from crossmod.data.batches import (
    HOST,
    NEAR,
    LabelledBatches,
    UnpairedBatches,
    data_device,
    drawn_near,
    heights,
    order,
)
from crossmod.data.slices import SliceKey, SliceSet, to_pixels
from crossmod.settings import SegmentSettings, TranslateSettings

CPU = torch.device("cpu")
CROP: dict[str, Any] = {"size": 16, "load_size": 20, "discriminator_layers": 1}
NAMES = ("ct", "mr", "mask")


def made(pixels: np.ndarray, masks: np.ndarray | None) -> SliceSet:
    keys = tuple(SliceKey("c", "p", i) for i in range(len(pixels)))
    return SliceSet(pixels, masks, np.ones(len(keys), bool), np.ones(len(keys), bool), keys, {})


def numbered(count: int, start: int, size: int = 20) -> SliceSet:
    """Slices whose pixels all hold the slice's number, and whose mask is 1 where that is odd."""
    numbers = np.arange(start, start + count)[:, None, None]
    shape = (count, size, size)
    pixels, masks = (
        np.broadcast_to(n, shape).copy() for n in (numbers.astype(np.int16), (numbers % 2).astype(np.uint8))
    )
    return made(pixels, masks)


def random_slices(count: int, seed: int, size: int = 20) -> SliceSet:
    generator = np.random.default_rng(seed)
    images = generator.uniform(-1, 1, (count, size, size)).astype(np.float32)
    return made(to_pixels(images), (images > 0).astype(np.uint8))


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0] * 32767).round().int().tolist()


def unpaired(**more: Any) -> UnpairedBatches:
    return UnpairedBatches(numbered(7, 100), numbered(3, 500), TranslateSettings(**CROP, **more), CPU)


def seen(batches: UnpairedBatches, epoch: int, side: str) -> list[int]:
    return [v for step in range(batches.steps) for v in numbers(batches.batch(epoch, step)[side])]


def test_an_epoch_passes_once_over_the_larger_set_and_never_mixes_the_two() -> None:
    batches = unpaired()
    assert batches.steps == 7
    assert sorted(seen(batches, 0, "ct")) == list(range(100, 107))
    mr = seen(batches, 0, "mr")
    assert sorted(mr[:3]) == sorted(mr[3:6]) == [500, 501, 502]
    assert set(mr) == {500, 501, 502}


def test_each_epoch_has_its_own_order_and_each_modality_too() -> None:
    batches = unpaired()
    assert seen(batches, 0, "ct") != seen(batches, 1, "ct")
    pairs = {tuple(zip(seen(batches, e, "ct"), seen(batches, e, "mr"), strict=True)) for e in range(3)}
    assert len(pairs) == 3


def test_each_epoch_and_modality_has_its_own_crops() -> None:
    """Of one and the same slice, which every position of every epoch holds."""
    one = random_slices(1, 0)
    batches = UnpairedBatches(one, one, TranslateSettings(**CROP, batch_size=8), CPU)
    parts = torch.stack([batches.batch(epoch, 0)[side] for epoch in range(2) for side in ("ct", "mr")])
    assert len(torch.unique(parts, dim=0)) == 4


def test_the_same_step_is_the_same_batch_whatever_was_asked_before() -> None:
    first, other = unpaired(flip=True).batch(2, 3), unpaired(flip=True)
    for epoch in range(9, 0, -1):
        other.batch(epoch, 6)
    again = other.batch(2, 3)
    assert all(torch.equal(first[name], again[name]) for name in NAMES)


def test_the_last_batch_is_filled_up() -> None:
    batches = unpaired(batch_size=4)
    assert batches.steps == 2
    assert batches.batch(0, 1)["ct"].shape == (4, 1, 16, 16)


@pytest.mark.parametrize("source", ["ct", "mr"])
def test_the_mask_is_that_of_the_source_cut_like_its_image(source: str) -> None:
    both = random_slices(5, 0)
    settings = TranslateSettings(**CROP, flip=True, source="ct" if source == "ct" else "mr")
    batches = UnpairedBatches(both, both, settings, CPU)
    for step in range(5):
        batch = batches.batch(0, step)
        assert torch.equal(batch["mask"], (batch[source][:, 0] > 0).long())


def test_without_masks_of_the_source_there_is_none() -> None:
    plain = made(numbered(3, 0).pixels, None)
    assert set(UnpairedBatches(plain, numbered(3, 0), TranslateSettings(**CROP), CPU).batch(0, 0)) == {"ct", "mr"}


def test_a_batch_holds_the_loaded_pixels_in_minus_one_to_one() -> None:
    """Found by brute force among all parts of all slices, mirrored or not."""
    ct = random_slices(4, 1)
    parts = {
        (pixels[top : top + 16, left : left + 16][:, ::turn] / 32767).astype(np.float32).round(6).tobytes(): i
        for i, pixels in enumerate(ct.pixels)
        for top in range(5)
        for left in range(5)
        for turn in (1, -1)
    }
    batches = UnpairedBatches(ct, ct, TranslateSettings(**CROP, flip=True, batch_size=2), CPU)
    found = [
        parts[image.numpy().round(6).tobytes()] for step in range(2) for image in batches.batch(0, step)["ct"][:, 0]
    ]
    assert sorted(found) == [0, 1, 2, 3]


def test_an_order_is_whole_shuffles() -> None:
    indexes = order(5, 13, 0, "a")
    assert sorted(indexes[:5]) == sorted(indexes[5:10]) == list(range(5))
    assert len(indexes) == 13


@given(st.integers(1, 13), st.integers(1, 9), st.integers(1, 3), st.integers(2, 4), st.booleans(), st.integers(0, 2))
def test_unpaired_shards_are_the_batch_of_one_rank(
    ct: int, mr: int, count: int, ranks: int, flip: bool, epoch: int
) -> None:
    sides = (random_slices(ct, 0), random_slices(mr, 1))
    alone = UnpairedBatches(*sides, TranslateSettings(**CROP, flip=flip, batch_size=count * ranks), CPU)
    settings = TranslateSettings(**CROP, flip=flip, batch_size=count)
    shards = [UnpairedBatches(*sides, settings, CPU, rank, ranks) for rank in range(ranks)]
    assert {shard.steps for shard in shards} == {alone.steps}
    for step in range(alone.steps):
        whole, parts = alone.batch(epoch, step), [shard.batch(epoch, step) for shard in shards]
        for name in NAMES:
            assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])


@given(st.integers(1, 13), st.integers(0, 9), st.integers(1, 3), st.integers(2, 4), st.booleans(), st.integers(0, 2))
def test_labelled_shards_are_the_batch_of_one_rank_and_equally_long(
    real: int, made_up: int, count: int, ranks: int, augment: bool, epoch: int
) -> None:
    sides = (random_slices(real, 0, 16), random_slices(made_up, 1, 16))
    alone = LabelledBatches(sides, SegmentSettings(size=16, augment=augment, batch_size=count * ranks), CPU)
    settings = SegmentSettings(size=16, augment=augment, batch_size=count)
    shards = [LabelledBatches(sides, settings, CPU, rank, ranks) for rank in range(ranks)]
    assert {shard.steps for shard in shards} == {alone.steps}
    for step in range(alone.steps):
        whole, parts = alone.batch(epoch, step), [shard.batch(epoch, step) for shard in shards]
        for name in ("image", "mask"):
            assert {len(part[name]) for part in parts} == {count}
            together = torch.cat([part[name] for part in parts])
            # The last step of one rank may be smaller: several fill it up.
            assert torch.equal(together[: len(whole[name])], whole[name])
            assert step + 1 == alone.steps or len(together) == len(whole[name])


def test_real_and_synthetic_slices_are_mixed_and_each_is_seen_once() -> None:
    settings = SegmentSettings(batch_size=4, size=20)
    batches = LabelledBatches((numbered(5, 100), numbered(6, 500)), settings, CPU)
    assert batches.steps == 3
    given_batches = [batches.batch(0, step) for step in range(3)]
    # The paper's images / batch, with what is left over in the last step.
    assert [len(batch["image"]) for batch in given_batches] == [4, 4, 3]
    values = [v for batch in given_batches for v in numbers(batch["image"])]
    assert sorted(values) == [*range(100, 105), *range(500, 506)]
    for batch in given_batches:
        assert batch["mask"][:, 0, 0].tolist() == [v % 2 for v in numbers(batch["image"])]


def test_with_several_ranks_each_slice_is_seen_and_the_rest_is_filled_from_all() -> None:
    settings = SegmentSettings(batch_size=2, size=20)
    shards = [LabelledBatches((numbered(5, 100), numbered(6, 500)), settings, CPU, rank, 3) for rank in range(3)]
    assert [shard.steps for shard in shards] == [2, 2, 2]
    values = [v for step in range(2) for shard in shards for v in numbers(shard.batch(1, step)["image"])]
    assert sorted(values[:11]) == [*range(100, 105), *range(500, 506)]
    assert values[11] in values[:11]


def test_augmented_images_and_masks_move_together() -> None:
    y, x = np.mgrid[0:64, 0:64]
    disc = (y - 30) ** 2 + (x - 26) ** 2 < 14**2
    slices = made(np.stack([np.where(disc, 32767, -32767)] * 4).astype(np.int16), np.stack([disc] * 4).astype(np.uint8))
    plain, moved = (
        LabelledBatches((slices,), SegmentSettings(size=64, batch_size=4, augment=on), CPU).batch(0, 0)
        for on in (False, True)
    )
    assert not torch.equal(plain["mask"], moved["mask"])
    assert ((moved["image"][:, 0] > 0).long() == moved["mask"]).float().mean() > 0.99
    assert len(torch.unique(moved["mask"], dim=0)) == 4


def both_kinds(device: torch.device) -> tuple[UnpairedBatches, LabelledBatches]:
    ct, mr = random_slices(7, 0), random_slices(3, 1)
    return (
        UnpairedBatches(ct, mr, TranslateSettings(**CROP, flip=True, batch_size=2), device),
        LabelledBatches((ct, mr), SegmentSettings(size=20, augment=True, batch_size=2), device),
    )


def test_on_the_cpu_slices_are_not_copied() -> None:
    """What is changed in the slices afterwards is found in the batch."""
    for batches in both_kinds(CPU):
        before = batches.batch(0, 0)
        sides = (batches.ct, batches.mr) if isinstance(batches, UnpairedBatches) else batches.parts
        for slices in sides:
            assert isinstance(slices, SliceSet)
            slices.pixels[:] = -slices.pixels
        after = batches.batch(0, 0)
        assert not any(torch.equal(before[name], after[name]) for name in before if name != "mask")


@pytest.mark.parametrize("at", ["device", "host"])
def test_nothing_is_read_back_from_the_device(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A meta device has no numbers: asking it for one is an error. Shapes and types are those of the CPU."""
    meta = torch.device("meta")
    if at == "host":
        monkeypatch.setattr(module, "data_device", lambda arrays, device: HOST)
    for batches, wanted in zip(both_kinds(meta), both_kinds(CPU), strict=True):
        found, want = batches.batch(1, 1), wanted.batch(1, 1)
        assert {name: (t.shape, t.dtype) for name, t in found.items()} == {
            n: (t.shape, t.dtype) for n, t in want.items()
        }
        assert all(tensor.device == meta for tensor in found.values())
        assert want["image" if "image" in want else "ct"].dtype == torch.float32
        assert want["mask"].dtype == torch.int64


def test_slices_stay_on_the_host_where_the_device_is_too_full(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
    cuda = torch.device("cuda")
    assert data_device([np.zeros(200, np.int16), np.zeros(100, np.uint8)], cuda) == cuda
    assert data_device([np.zeros(200, np.int16), np.zeros(101, np.uint8)], cuda) == HOST
    assert data_device([np.zeros(9999)], torch.device("cpu", 0)) == HOST


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("at", ["device", "host"])
def test_a_gpu_makes_the_same_batches_and_is_not_waited_for(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if at == "host":
        monkeypatch.setattr(module, "data_device", lambda arrays, device: HOST)
    for batches, wanted in zip(both_kinds(torch.device("cuda", 0)), both_kinds(CPU), strict=True):
        batches.batch(0, 0)  # slices are put on the device
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = batches.batch(1, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        want = wanted.batch(1, 1)
        if isinstance(batches, UnpairedBatches):
            assert all(torch.equal(found[name].cpu(), want[name]) for name in want)
        else:  # where it is warped, sines and sums are rounded as each device does
            torch.testing.assert_close(found["image"].cpu(), want["image"], atol=1e-4, rtol=0)
            assert (found["mask"].cpu() == want["mask"]).float().mean() > 0.99


def test_several_inputs_are_cut_alike() -> None:
    """A second input that is the negative of the first stays so, whatever is cut out and mirrored."""
    batches = both_kinds(CPU)[0]
    assert isinstance(batches, UnpairedBatches)
    assert isinstance(batches.mr, SliceSet)
    negative = replace(batches.mr, pixels=-batches.mr.pixels)
    several = replace(batches, mr=(batches.mr, negative))
    for step in range(several.steps):
        one, two = batches.batch(3, step), several.batch(3, step)
        assert torch.equal(two["mr"], torch.cat([one["mr"], -one["mr"]], dim=1))
        assert torch.equal(two["ct"], one["ct"])


def _at(numbers: list[tuple[str, int]]) -> SliceSet:
    """Slices of these cases and numbers, whose pixels hold their place in the list."""
    pixels = np.broadcast_to(np.arange(len(numbers), dtype=np.int16)[:, None, None], (len(numbers), 20, 20)).copy()
    keys = tuple(SliceKey(case, case, number) for case, number in numbers)
    every = np.ones(len(keys), bool)
    return SliceSet(pixels, None, every, every, keys, {})


def test_heights_are_between_the_ends_of_each_case() -> None:
    slices = _at([("a", 4), ("b", 10), ("a", 5), ("a", 8), ("b", 30), ("one", 7)])
    np.testing.assert_allclose(heights(slices), [0, 0, 0.25, 1, 1, 0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 99))
def test_what_is_drawn_is_among_the_tenth_that_is_nearest(there: list[float], seed: int) -> None:
    wanted, ends = np.linspace(0, 1, 7), np.array(there)
    chosen = drawn_near(wanted, ends, np.random.default_rng(seed))
    most = max(1, round(NEAR * len(ends)))
    for height, index in zip(wanted, chosen, strict=True):
        away = np.abs(ends - height)
        assert away[index] <= np.sort(away)[most - 1] + 1e-12


def test_matched_batches_pair_slices_of_one_height_and_leave_other_batches_alone() -> None:
    ct, mr = _at([("a", i) for i in range(30)]), _at([("b", 2 * i) for i in range(50)])
    settings = TranslateSettings(**CROP, batch_size=4)
    plain = seen(UnpairedBatches(ct, mr, settings, CPU), 1, "mr")
    batches = UnpairedBatches(ct, mr, settings, CPU, matched=True)
    gaps = []
    for epoch in range(3):
        pairs = list(zip(seen(batches, epoch, "ct"), seen(batches, epoch, "mr"), strict=True))
        assert len(pairs) == 52  # an epoch's last step is filled
        gaps += [abs(x / 29 - y / 49) for x, y in pairs]
    assert max(gaps) < 0.12
    assert seen(batches, 0, "mr") != seen(batches, 1, "mr")
    assert seen(UnpairedBatches(ct, mr, settings, CPU), 1, "mr") == plain
    # The parts of two ranks together are those of one.
    alone = [numbers(batches.batch(0, step)["mr"]) for step in range(3)]
    halves = [
        UnpairedBatches(ct, mr, TranslateSettings(**CROP, batch_size=2), CPU, rank, 2, matched=True) for rank in (0, 1)
    ]
    for step, whole in enumerate(alone):
        assert [v for half in halves for v in numbers(half.batch(0, step)["mr"])] == whole
