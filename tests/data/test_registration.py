"""Registered inputs: the other one's voxels are read where the first one's are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.registration import group_cases, read_input, resample_to
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from tests.support.registered import two_sequences


def ramp(affine: np.ndarray, shape: tuple[int, int, int], sequence: str = "t2_spir") -> Volume:
    """Each voxel holds x + 2 y + 3 z of its place in millimetres."""
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return Volume((at @ [1.0, 2.0, 3.0]).astype(np.float32), affine, "mr", sequence=sequence)


FINE = np.array([[0, 0, -1.0, 20], [0, -1.0, 0, 20], [4.0, 0, 0, -30], [0, 0, 0, 1]])
COARSE = np.array([[0, 0, -2.5, 30], [0, -2.5, 0, 30], [7.0, 0, 0, -40], [0, 0, 0, 1]])


def test_values_are_those_of_the_place() -> None:
    """A straight ramp in millimetres, linearly resampled, is the same ramp."""
    grid, other = ramp(FINE, (6, 32, 30), "t1_in"), ramp(COARSE, (8, 20, 22))
    brought = resample_to(other, grid, subject="p")
    np.testing.assert_allclose(brought.voxels, grid.voxels, atol=1e-3)
    np.testing.assert_array_equal(brought.affine, grid.affine)
    assert brought.sequence == "t2_spir"


def test_outside_is_the_lowest_value() -> None:
    grid = ramp(FINE, (6, 32, 30), "t1_in")
    moved = COARSE.copy()
    moved[0, 3] -= 18.0
    brought = resample_to(ramp(moved, (8, 20, 22)), grid, subject="p")
    lowest = ramp(moved, (8, 20, 22)).voxels.min()
    assert (brought.voxels[:, :, 0] == lowest).all()
    assert not (brought.voxels == lowest).all()


def test_the_same_grid_is_not_resampled() -> None:
    grid = ramp(FINE, (6, 32, 30), "t1_in")
    other = replace(grid, voxels=np.random.default_rng(0).normal(size=grid.voxels.shape).astype(np.float32))
    np.testing.assert_array_equal(resample_to(other, grid, subject="p").voxels, other.voxels)


def test_what_lies_elsewhere_is_refused_by_the_patients_name() -> None:
    elsewhere = COARSE.copy()
    elsewhere[2, 3] += 500
    with pytest.raises(InputError, match=r"store, patient p7: t2_spir that holds 0% of what t1_in shows"):
        resample_to(ramp(elsewhere, (8, 20, 22)), ramp(FINE, (6, 32, 30), "t1_in"), subject="store, patient p7")


def test_groups_hold_one_case_an_input(tmp_path: Path) -> None:
    store = two_sequences(tmp_path / "store")
    groups = group_cases(store, store.cases, [("t1_out",), ("t1_in",)])
    assert [[case.id for case in group.records] for group in groups] == [
        [f"{number}-t1_out", f"{number}-t1_in"] for number in range(4)
    ]
    first, second = (read_input(store, groups[2], index) for index in range(2))
    np.testing.assert_array_equal(first.voxels, store.read("2-t1_out").voxels)
    np.testing.assert_array_equal(second.voxels, store.read("2-t1_in").voxels)
    assert second.label_names == first.label_names
    single = group_cases(store, store.cases, [("t1_in", "t1_out")])
    assert [len(group.records) for group in single] == [1] * 8


def test_a_missing_input_is_named_with_its_patient(tmp_path: Path) -> None:
    store = two_sequences(tmp_path / "store", missing="2-t1_out")
    with pytest.raises(InputError, match=r"patient p2: no cases of t1_out"):
        group_cases(store, store.cases, [("t1_in",), ("t1_out",)])
