import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.pixel_size import Scale, model_scale
from crossmod.data.resample import to_size
from crossmod.data.slices import SliceKey, SliceSet, class_map, draw_evenly, load_slices, to_images, to_pixels
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.settings import TranslateSettings
from tests.support.stores import Stores, made_volume

WHOLE = Scale("stretch", 32, 0.0)


def test_what_is_loaded_is_what_is_stored(stores: Stores) -> None:
    store = Store(stores.ct)
    settings = TranslateSettings(size=32, frame="stretch")
    slices = load_slices(store, store.cases[:2], settings, scale=model_scale(settings), labelled=True)
    assert len(slices) == 12
    assert slices.keys[7] == SliceKey("ct-1", "ct-1", 1)
    volume = store.read("ct-1")
    np.testing.assert_allclose(slices.images[7], np.clip((volume.voxels[1] + 160) / 200 - 1, -1, 1), atol=1.6e-5)
    assert slices.size == 32
    np.testing.assert_array_equal(slices.image(7), slices.images[7])
    assert slices.masks is not None
    assert volume.labels is not None
    np.testing.assert_array_equal(slices.masks[7], volume.labels[1])
    assert slices.showing_organ() == [1, 2, 3, 4, 7, 8, 9, 10]
    assert slices.patients == ("ct-0", "ct-1")


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20))
def test_pixels_are_off_by_half_a_step_at_most(values: list[float]) -> None:
    images = np.array(values, dtype=np.float32)
    back = to_images(to_pixels(images))
    assert back.dtype == np.float32
    # Half of 1/32767, and what float32 itself rounds.
    assert np.abs(back.astype(float) - images).max() <= 0.5 / 32767 + 1e-7


def test_every_pixel_comes_back_and_the_ends_are_exact() -> None:
    every = np.arange(-32767, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_pixels(to_images(every)), every)
    assert to_images(np.array([-32767, 0, 32767], dtype=np.int16)).tolist() == [-1, 0, 1]


@pytest.mark.parametrize(("shape", "mm"), [((48, 64), (1.0, 1.0)), ((64, 64), (2.0, 2.0)), ((100, 259), (1.0, 0.4))])
@pytest.mark.parametrize("only_showing", [False, True])
def test_a_long_case_is_loaded_like_the_whole_of_it(
    tmp_path: Path, shape: tuple[int, int], mm: tuple[float, float], only_showing: bool
) -> None:
    """37 slices, of which each has another lowest value: what pads them must be that of all."""
    generator = np.random.default_rng(0)
    voxels = generator.integers(-100, 200, (37, *shape)) + 3 * np.arange(37)[:, None, None]
    labels = (generator.random(voxels.shape) > 0.5).astype(np.uint8)
    labels[[3, 5, 20]] = 0
    affine = np.array([[0, 0, -mm[1], 0], [0, -mm[0], 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    volume = replace(
        made_volume(generator, "ct"),
        voxels=voxels.astype(np.int16),
        affine=affine,
        labels=labels,
        orientation=("S", "A", "R"),
    )
    with writing_store(tmp_path / "store") as writer:
        writer.add("c", volume, patient="p")
    store = Store(tmp_path / "store")
    slices = load_slices(store, store.cases, TranslateSettings(), scale=WHOLE, labelled=True, only_showing=only_showing)
    rows = [i for i in range(37) if not only_showing or i not in (3, 5, 20)]
    assert [key.slice for key in slices.keys] == rows
    whole = to_size(store.read("c"), 32)
    wanted = np.clip((whole.voxels[rows] + 160.0) / 200 - 1, -1, 1)
    assert slices.pixels.shape == (len(rows), 32, 32)
    np.testing.assert_allclose(slices.images, wanted, atol=1.7e-5)
    assert whole.labels is not None
    assert slices.masks is not None
    np.testing.assert_array_equal(slices.masks, whole.labels[rows])


def test_loading_takes_little_more_memory_than_what_is_loaded(tmp_path: Path) -> None:
    """Counted are NumPy's arrays; torch's are those of a few slices."""
    with writing_store(tmp_path / "store") as writer:
        for number in range(10):
            volume = made_volume(np.random.default_rng(number), "ct", slices=20, size=64)
            writer.add(f"c{number}", volume, patient=f"p{number}")
    store = Store(tmp_path / "store")

    def load() -> SliceSet:
        slices = load_slices(store, store.cases, TranslateSettings(), scale=Scale("body", 96, 3.0), labelled=True)
        return slices.take(draw_evenly(slices, range(len(slices)), len(slices), seed=0))

    load()
    tracemalloc.start()
    slices = load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert slices.masks is not None
    assert slices.pixels.nbytes + slices.masks.nbytes == 200 * 96 * 96 * 3
    assert peak < 1.5 * 200 * 96 * 96 * 3


def test_classes_follow_the_order_of_the_organs(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "ct")
    labels = np.zeros_like(volume.voxels, dtype=np.uint8)
    labels[0, 0, 0], labels[0, 0, 1], labels[0, 0, 2] = 6, 1, 3
    volume = volume.with_labels(labels, {6: "liver", 1: "spleen", 3: "left_kidney"})
    assert class_map(volume, ("liver", "left_kidney"), "x")[0, 0, :3].tolist() == [1, 0, 2]
    with pytest.raises(InputError, match=r"labels of liver, spleen, left_kidney\. Expected: labels of aorta"):
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
        slices = load_slices(store, store.cases, TranslateSettings(), scale=Scale("stretch", size, 0.0), labelled=True)
        assert slices.showing_organ() == [2, 3]
    assert slices.masks is not None
    assert not slices.masks[3].any()


def made_slices(counts: list[int]) -> SliceSet:
    keys = tuple(SliceKey(f"c{p}", f"p{p}", i) for p, count in enumerate(counts) for i in range(count))
    return SliceSet(
        np.zeros((len(keys), 2, 2), dtype=np.int16),
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


def test_all_of_them_come_in_order() -> None:
    for count in (0, 3):
        assert draw_evenly(made_slices([4, 1]), [0, 2, 3], count, seed=0) == [0, 2, 3]


def test_taking_slices_keeps_image_mask_and_key_together(stores: Stores) -> None:
    store = Store(stores.mr)
    slices = load_slices(store, store.cases, TranslateSettings(size=32), scale=WHOLE, labelled=True)
    part = slices.take([13, 2])
    assert part.keys == (slices.keys[13], slices.keys[2])
    np.testing.assert_array_equal(part.images[0], slices.images[13])
    assert part.masks is not None
    assert slices.masks is not None
    np.testing.assert_array_equal(part.masks[1], slices.masks[2])
    assert set(part.intensities) == {"mr-0", "mr-2"}


def test_taking_all_in_order_copies_nothing(stores: Stores) -> None:
    store = Store(stores.mr)
    slices = load_slices(store, store.cases, TranslateSettings(size=32), scale=WHOLE, labelled=True)
    assert slices.take(range(len(slices))) is slices
    part = slices.take([0, 1])
    assert not np.shares_memory(part.pixels, slices.pixels)
    assert slices.take([*reversed(range(len(slices)))]).keys == slices.keys[::-1]
