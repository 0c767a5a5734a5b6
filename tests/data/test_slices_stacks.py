"""Stacks of slices: which slices they hold, and that each image of them is the right one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import load_beside, load_slices, offsets, places, stack_of
from crossmod.data.store import CaseRecord, Store
from crossmod.data.store_writer import writing_store
from crossmod.settings import TranslateSettings
from tests.support.stores import Stores, made_volume

SETTINGS = TranslateSettings(size=32, load_size=32, pixel_mm=10.0)


@pytest.mark.parametrize(
    ("height", "apart", "spacing", "expected"),
    [
        (1, 8.0, 2.0, (0,)),
        (3, 8.0, 2.0, (0, -4, 4)),
        (5, 8.0, 2.0, (0, -4, 4, -8, 8)),
        (3, 8.0, 3.0, (0, -3, 3)),  # 9 mm is nearer to 8 than 6 is
        (3, 8.0, 9.0, (0, -1, 1)),
        (3, 1.0, 9.0, (0, -1, 1)),
        (7, 0.0, 2.5, (0, -1, 1, -2, 2, -3, 3)),
    ],
)
def test_the_slice_comes_first_then_its_neighbours(
    height: int, apart: float, spacing: float, expected: tuple[int, ...]
) -> None:
    assert offsets(height, apart, spacing) == expected


@given(st.integers(0, 3), st.floats(0.1, 20), st.floats(0.1, 20))
def test_no_other_slice_is_nearer_to_the_wanted_distance(arm: int, apart: float, spacing: float) -> None:
    found = offsets(2 * arm + 1, apart, spacing)
    assert len(set(found)) == len(found) == 2 * arm + 1
    assert sum(found) == 0
    if arm:
        step = found[2]
        others = [abs(other * spacing - apart) for other in range(1, step + 3)]
        assert abs(step * spacing - apart) <= min(others) + 1e-9


def test_beyond_an_end_the_last_slice_is_taken() -> None:
    assert places([0, 2, 4], -2, 5) == [0, 0, 2]
    assert places([0, 2, 4], 3, 5) == [3, 4, 4]
    voxels = np.arange(5)[:, None, None] * np.ones((1, 2, 2), int)
    assert stack_of(voxels, [0, 3, 4], (0, -1, 1))[..., 0, 0].tolist() == [[0, 0, 1], [3, 2, 4], [4, 3, 4]]
    # A volume of one slice is its own neighbour.
    assert stack_of(voxels[:1], [0], (0, -3, 3))[..., 0, 0].tolist() == [[0, 0, 0]]


def test_neighbours_are_loaded_for_the_slices_that_are_there(stores: Stores) -> None:
    """Against all slices of the store, loaded one by one; in a shuffled order, with some left out."""
    store = Store(stores.ct)
    every = load_slices(store, store.cases, SETTINGS, scale=model_scale(SETTINGS), labelled=True)
    at = {(key.case, key.slice): row for row, key in enumerate(every.keys)}
    chosen = np.random.default_rng(0).permutation(len(every))[:20].tolist()
    slices = every.take(chosen)
    spread = (0, -1, 1, -3, 3)
    found = load_beside(slices, store.cases, lambda _: spread, lambda record: store.read(record.id))
    assert len(found) == 4
    for one, offset in zip(found, spread[1:], strict=True):
        assert one.masks is None
        assert (one.shows == slices.shows).all()
        for row, key in enumerate(slices.keys):
            place = min(max(key.slice + offset, 0), 5)
            assert (one.keys[row].case, one.keys[row].slice) == (key.case, place)
            np.testing.assert_array_equal(one.pixels[row], every.pixels[at[key.case, place]])


def test_every_case_has_its_own_distance_between_slices(tmp_path: Path, rng: np.random.Generator) -> None:
    """Thin slices and thick ones: the neighbours lie as far away in millimetres."""
    thick, thin = made_volume(rng, "mr"), made_volume(rng, "mr", slices=12)
    thin.affine[2, 0] = 2.5
    with writing_store(tmp_path / "store") as writer:
        writer.add("thick", thick, patient="a")
        writer.add("thin", thin, patient="b")
    store = Store(tmp_path / "store")
    slices = load_slices(store, store.cases, SETTINGS, scale=model_scale(SETTINGS), labelled=False)

    def of_stack(record: CaseRecord) -> tuple[int, ...]:
        return offsets(3, 5.0, record.spacing[0])

    _, above = load_beside(slices, store.cases, of_stack, lambda record: store.read(record.id))
    steps = {(key.case, after.slice - key.slice) for key, after in zip(slices.keys, above.keys, strict=True)}
    assert steps == {("thick", 1), ("thick", 0), ("thin", 2), ("thin", 1), ("thin", 0)}


def test_stacks_that_reach_beyond_their_volumes_are_warned_of(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """Of six slices 5 mm apart, two slices away is beyond an end for a third of them, four for two thirds."""
    store = Store(stores.ct)
    slices = load_slices(store, store.cases, SETTINGS, scale=model_scale(SETTINGS), labelled=False)
    for far, warned in ((2, False), (4, True)):
        load_beside(slices, store.cases, lambda _, far=far: (0, -far, far), lambda record: store.read(record.id))
        assert ("beyond the ends" in caplog.text) == warned
