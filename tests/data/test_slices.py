from pathlib import Path

import numpy as np
import pytest
from conftest import Stores, made_volume

from crossmod.data.slices import SliceKey, SliceSet, class_map, draw_evenly, load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.settings import TranslateSettings


def test_what_is_loaded_is_what_is_stored(stores: Stores) -> None:
    store = Store(stores.ct)
    settings = TranslateSettings(size=32)
    slices = load_slices(store, store.cases[:2], settings, size=32, labelled=True)
    assert len(slices) == 12
    assert slices.keys[7] == SliceKey("ct-1", "ct-1", 1)
    volume = store.read("ct-1")
    np.testing.assert_allclose(slices.images[7], np.clip((volume.voxels[1] + 160) / 200 - 1, -1, 1), atol=1e-6)
    assert slices.masks is not None
    assert volume.labels is not None
    np.testing.assert_array_equal(slices.masks[7], volume.labels[1])
    assert slices.showing_organ() == [1, 2, 3, 4, 7, 8, 9, 10]
    assert slices.patients == ("ct-0", "ct-1")


def test_classes_follow_the_order_of_the_organs(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "ct")
    labels = np.zeros_like(volume.voxels, dtype=np.uint8)
    labels[0, 0, 0], labels[0, 0, 1], labels[0, 0, 2] = 6, 1, 3
    volume = volume.with_labels(labels, {6: "liver", 1: "spleen", 3: "left_kidney"})
    assert class_map(volume, ("liver", "left_kidney"), "x")[0, 0, :3].tolist() == [1, 0, 2]
    with pytest.raises(InputError, match=r"labels of liver, spleen, left_kidney\. Wanted: labels of aorta"):
        class_map(volume, ("aorta",), "x")


def test_what_a_slice_shows_does_not_depend_on_the_size_it_is_loaded_at(tmp_path: Path) -> None:
    """A liver of one pixel is lost at a quarter of the size; the slice still counts as one that shows it."""
    volume = made_volume(np.random.default_rng(0), "ct", size=64)
    labels = np.zeros(volume.voxels.shape, dtype=np.uint8)
    labels[2, 20:40, 20:40], labels[3, 33, 33] = 1, 1
    with writing_store(tmp_path / "store") as writer:
        writer.add("c", volume.with_labels(labels, {1: "liver"}), patient="p")
    store = Store(tmp_path / "store")
    for size in (64, 16):
        slices = load_slices(store, store.cases, TranslateSettings(), size=size, labelled=True)
        assert slices.showing_organ() == [2, 3]
    assert slices.masks is not None
    assert not slices.masks[3].any()


def made_slices(counts: list[int]) -> SliceSet:
    keys = tuple(SliceKey(f"c{p}", f"p{p}", i) for p, count in enumerate(counts) for i in range(count))
    return SliceSet(
        np.zeros((len(keys), 2, 2), dtype=np.float32),
        None,
        np.ones(len(keys), bool),
        np.zeros(len(keys), bool),
        keys,
        {},
    )


def test_drawing_takes_turns_between_patients() -> None:
    slices = made_slices([30, 3, 10])
    drawn = draw_evenly(slices, range(43), 12, seed=0)
    owners = [slices.keys[i].patient for i in drawn]
    assert len(set(drawn)) == 12
    assert owners.count("p1") == 3
    assert {owners.count("p0"), owners.count("p2")} <= {4, 5}


def test_a_smaller_draw_is_the_beginning_of_a_larger_one() -> None:
    slices = made_slices([30, 3, 10])
    assert draw_evenly(slices, range(43), 20, seed=1)[:7] == draw_evenly(slices, range(43), 7, seed=1)
    assert draw_evenly(slices, range(43), 7, seed=1) != draw_evenly(slices, range(43), 7, seed=2)


def test_more_than_there_is() -> None:
    with pytest.raises(InputError, match="44, with 43 there"):
        draw_evenly(made_slices([30, 3, 10]), range(43), 44, seed=0)
    assert draw_evenly(made_slices([2, 1]), [0, 2], 0, seed=0) == [0, 2]


def test_taking_slices_keeps_image_mask_and_key_together(stores: Stores) -> None:
    store = Store(stores.mr)
    slices = load_slices(store, store.cases, TranslateSettings(size=32), size=32, labelled=True)
    part = slices.take([13, 2])
    assert part.keys == (slices.keys[13], slices.keys[2])
    np.testing.assert_array_equal(part.images[0], slices.images[13])
    assert part.masks is not None
    assert slices.masks is not None
    np.testing.assert_array_equal(part.masks[1], slices.masks[2])
    assert set(part.intensities) == {"mr-0", "mr-2"}
