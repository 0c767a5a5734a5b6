from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.metrics.axial_layers import place, place_real, place_synthetic, positions, slice_positions, sources_of
from tests.support.evaluated_people import LIVER, MM, SLICES, look_alike, person, real_store, synthetic_store


def layers_of_person() -> np.ndarray:
    volume = person(0, "ct")
    return place(volume).numbers(positions(volume))


def test_a_synthetic_case_has_the_layers_of_its_source(tmp_path: Path) -> None:
    """Also where the image shows nothing of it: here, brightness is turned round, and slices are left out."""
    ct = real_store(tmp_path / "ct", "ct", [0])
    kept = [2, 3, 7, 8, 15]
    made = synthetic_store(tmp_path / "made", ct, lambda v, _: -v.voxels.astype(np.float32), slices=kept)
    store = Store(made)
    placed = place_synthetic(store, store.cases, sources_of([Store(ct)]))[0]
    np.testing.assert_array_equal(placed.layers, layers_of_person()[kept])
    np.testing.assert_array_equal(placed.origins, kept)
    assert placed.rule == "liver"


def test_without_its_source_the_organ_by_which_slices_were_chosen_ends_where_they_end(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", [0])
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike, slices=range(*LIVER)))
    placed = place_synthetic(made, made.cases, {})[0]
    assert placed.rule == "liver, own labels"
    np.testing.assert_array_equal(placed.layers, layers_of_person()[LIVER[0] : LIVER[1]])


def test_another_organ_does_not_end_where_slices_end(tmp_path: Path) -> None:
    """The kidneys reach below the liver: where its slices begin says nothing of theirs."""
    volume = person(0, "ct")
    assert volume.labels is not None
    kidneys = np.zeros_like(volume.labels)
    kidneys[0:10, 4:8, 4:8] = 2
    with writing_store(tmp_path / "ct") as writer:
        both = np.where(volume.labels > 0, volume.labels, kidneys)
        writer.add("ct-0", volume.with_labels(both, {1: "liver", 2: "left_kidney"}), patient="ct-0")
    made = Store(synthetic_store(tmp_path / "made", tmp_path / "ct", look_alike, slices=range(*LIVER)))
    assert place_synthetic(made, made.cases, {})[0].rule == "liver, own labels"


def test_positions_where_slices_were_left_out(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", [0])
    for name, kept in (("even", [2, 4, 6]), ("uneven", [2, 3, 7])):
        made = Store(synthetic_store(tmp_path / name, ct, look_alike, slices=kept))
        np.testing.assert_allclose(slice_positions(made.cases[0]), np.array(kept) * MM)


def test_a_single_slice_is_not_placed(tmp_path: Path) -> None:
    volume = person(0, "mr")
    one = replace(volume, voxels=volume.voxels[5:6], labels=None, label_names={})
    with writing_store(tmp_path / "mr") as writer:
        writer.add("mr-0", one, patient="mr-0")
    store = Store(tmp_path / "mr")
    placed = place_real(store, store.cases)[0]
    assert placed.rule == "not placed"
    assert placed.layers.tolist() == [0]


def test_ct_that_is_no_hu(tmp_path: Path) -> None:
    volume = person(0, "ct")
    grey = np.clip((volume.voxels + 160) / 400 * 255, 0, 255).astype(np.int16)
    with writing_store(tmp_path / "ct") as writer:
        writer.add("eight-bit", replace(volume, voxels=grey), patient="a")
    store = Store(tmp_path / "ct")
    with pytest.raises(
        InputError, match=r"eight-bit: values from 0 to \d+, none below 0, which is water. Expected: CT in HU"
    ):
        place_real(store, store.cases)


def test_a_source_that_is_not_the_one(tmp_path: Path) -> None:
    ct = Store(real_store(tmp_path / "ct", "ct", [0]))
    made = Store(synthetic_store(tmp_path / "made", tmp_path / "ct", look_alike))
    record = made.cases[0]
    assert record.synthetic is not None
    origins = (record.synthetic.slices[0].model_copy(update={"source_slice": SLICES}), *record.synthetic.slices[1:])
    wrong = record.model_copy(update={"synthetic": record.synthetic.model_copy(update={"slices": origins})})
    with pytest.raises(InputError, match=r"18 slices\. Expected: 19 or more"):
        place_synthetic(made, [wrong], sources_of([ct]))
