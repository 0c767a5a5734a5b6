from typing import Any

import numpy as np
import pytest
import torch

from crossmod.data.augment import Crop, cut, draw_affine, draw_crop, warp
from crossmod.data.batches import LabelledBatches, UnpairedBatches, order
from crossmod.data.slices import SliceKey, SliceSet
from crossmod.settings import SegmentSettings, TranslateSettings

CPU = torch.device("cpu")


def numbered(count: int, start: int, size: int = 20) -> SliceSet:
    """Slices whose pixels all hold the slice's number, and whose mask marks where the image is."""
    images = np.broadcast_to(
        np.arange(start, start + count, dtype=np.float32)[:, None, None], (count, size, size)
    ).copy()
    masks = np.broadcast_to((np.arange(count, dtype=np.uint8) % 2)[:, None, None], (count, size, size)).copy()
    keys = tuple(SliceKey("c", "p", i) for i in range(count))
    return SliceSet(images, masks, np.ones(len(keys), bool), np.ones(len(keys), bool), keys, {})


def unpaired(**more: Any) -> UnpairedBatches:
    settings = TranslateSettings(size=16, load_size=20, discriminator_layers=1, **more)
    return UnpairedBatches(numbered(7, 100), numbered(3, 500), settings, CPU)


def seen(batches: UnpairedBatches, epoch: int, side: str) -> list[int]:
    return [int(v) for step in range(batches.steps) for v in batches.batch(epoch, step)[side][:, 0, 0, 0].tolist()]


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


def test_the_same_step_is_the_same_batch() -> None:
    first, again = unpaired(flip=True).batch(2, 3), unpaired(flip=True).batch(2, 3)
    assert all(torch.equal(first[name], again[name]) for name in ("ct", "mr", "mask"))


def test_the_last_batch_is_filled_up() -> None:
    batches = unpaired(batch_size=4)
    assert batches.steps == 2
    assert batches.batch(0, 1)["ct"].shape == (4, 1, 16, 16)


@pytest.mark.parametrize("source", ["ct", "mr"])
def test_the_mask_is_that_of_the_source_cut_like_its_image(source: str, rng: np.random.Generator) -> None:
    ramp = rng.random((5, 20, 20)).astype(np.float32)
    masks = (ramp > 0.5).astype(np.uint8)
    keys = tuple(SliceKey("c", "p", i) for i in range(5))
    both = SliceSet(ramp, masks, np.ones(len(keys), bool), np.ones(len(keys), bool), keys, {})
    settings = TranslateSettings(
        size=16, load_size=20, flip=True, discriminator_layers=1, source="ct" if source == "ct" else "mr"
    )
    batches = UnpairedBatches(both, both, settings, CPU)
    for step in range(5):
        batch = batches.batch(0, step)
        assert torch.equal(batch["mask"], (batch[source][:, 0] > 0.5).long())


def test_crops_reach_every_corner_and_half_are_mirrored() -> None:
    generator = np.random.default_rng(0)
    crops = [draw_crop(generator, 20, 16, flip=True) for _ in range(2000)]
    assert {crop.top for crop in crops} == {crop.left for crop in crops} == set(range(5))
    assert abs(np.mean([crop.mirrored for crop in crops]) - 0.5) < 0.06
    assert not any(draw_crop(generator, 20, 16, flip=False).mirrored for _ in range(50))


def test_cut_by_hand() -> None:
    image = torch.arange(16).reshape(4, 4)
    assert cut(image, Crop(1, 2, False), 2).tolist() == [[6, 7], [10, 11]]
    assert cut(image, Crop(1, 2, True), 2).tolist() == [[7, 6], [11, 10]]


def test_an_order_is_whole_shuffles() -> None:
    indexes = order(5, 13, 0, "a")
    assert sorted(indexes[:5]) == sorted(indexes[5:10]) == list(range(5))
    assert len(indexes) == 13


def test_real_and_synthetic_slices_are_mixed_and_each_is_seen_once() -> None:
    settings = SegmentSettings(batch_size=4, size=20)
    batches = LabelledBatches((numbered(5, 100), numbered(6, 500)), settings, CPU)
    assert batches.steps == 3
    values = [int(v) for step in range(3) for v in batches.batch(0, step)["image"][:, 0, 0, 0].tolist()]
    assert sorted(values) == [*range(100, 105), *range(500, 506)]
    batch = batches.batch(0, 0)
    assert torch.equal(batch["mask"][:, 0, 0], batch["image"][:, 0, 0, 0].long() % 2)


def test_warp_moves_image_and_mask_together(rng: np.random.Generator) -> None:
    y, x = np.mgrid[0:64, 0:64]
    disc = ((y - 30) ** 2 + (x - 26) ** 2 < 14**2).astype(np.float32)
    image = torch.from_numpy(np.stack([disc * 2 - 1] * 8))[:, None]
    mask = torch.from_numpy(np.stack([disc] * 8)).long()
    moved, classes = warp(image, mask, draw_affine(rng, 8))
    assert not torch.equal(classes, mask)
    agree = ((moved[:, 0] > 0).long() == classes).float().mean()
    assert agree > 0.99
    # Nothing, turned by nothing, is nothing: the unit affine changes no pixel.
    unit = np.broadcast_to(np.array([[1.0, 0, 0], [0, 1, 0]]), (8, 2, 3)).copy()
    same, kept = warp(image, mask, unit)
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    assert torch.equal(kept, mask)
