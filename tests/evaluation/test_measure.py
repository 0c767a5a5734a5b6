from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.pixel_size import Scale
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.evaluation.measure import MeasurementSetup, edges_for, layer_counts, measure, read_images, stack_of
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.axial_layers import Placed, place_real, place_synthetic, sources_of
from crossmod.metrics.features import detector
from crossmod.metrics.organs import slice_jump
from tests.support.evaluated_people import LIVER, MM, look_alike, make_people, person, real_store, synthetic_store

SETTINGS = EvaluationSettings(percentiles=(0, 100))
EVERY = frozenset(range(1, 11))


def placed_as(layers: list[int], voxels: np.ndarray, folder: Path, modality: str = "mr") -> Placed:
    """One case whose slices are said to lie in given layers."""
    volume = person(0, "mr" if modality == "mr" else "ct")
    with writing_store(folder) as writer:
        writer.add("a", replace(volume, voxels=voxels, labels=None, label_names={}), patient="a")
    store = Store(folder)
    return Placed(store, store.cases[0], np.arange(len(layers)), np.array(layers), "liver")


def test_mr_is_stretched_by_the_slices_of_layers_that_all_sets_show(tmp_path: Path) -> None:
    """A slice beside them is twice as bright: it is cut, and changes no other slice."""
    voxels = np.stack([np.full((16, 16), value) for value in (0, 500, 1000, 2000)]).astype(np.int16)
    case = read_images(placed_as([1, 1, 2, 3], voxels, tmp_path / "a"), Scale("stretch", 16, 0.0), SETTINGS, {1, 2})
    assert case is not None
    np.testing.assert_allclose(case.images[:, 0, 0], [-1, 0, 1, 1])
    assert (case.intensity.low, case.intensity.high) == (0, 1000)


def test_slices_outside_of_all_layers_are_left_out(tmp_path: Path) -> None:
    voxels = 1000 * np.arange(4, dtype=np.int16)[:, None, None] * np.ones((1, 16, 16), np.int16)
    case = read_images(placed_as([0, 4, 4, 0], voxels, tmp_path / "a"), Scale("stretch", 16, 0.0), SETTINGS, {4})
    assert case is not None
    assert case.places.tolist() == [1, 2]
    np.testing.assert_allclose(case.images[:, 0, 0], [-1, 1])
    assert (
        read_images(placed_as([0, 0, 0, 0], voxels, tmp_path / "b"), Scale("stretch", 16, 0.0), SETTINGS, {4}) is None
    )


def test_ct_is_windowed(tmp_path: Path) -> None:
    voxels = np.stack([np.full((16, 16), value) for value in (-1000, -160, 40, 240, 900)]).astype(np.int16)
    case = read_images(
        placed_as([1] * 5, voxels, tmp_path / "a", "ct"), Scale("stretch", 16, 0.0), EvaluationSettings(), {1}
    )
    assert case is not None
    np.testing.assert_allclose(case.images[:, 0, 0], [-1, -1, 0, 1, 1])


@pytest.mark.parametrize(
    ("kept", "run", "mm"),
    [([2, 3, 4, 7, 8], 3, MM), ([2, 4, 6, 8], 4, 2 * MM), ([2, 5, 6, 8], 2, MM)],
    ids=["neighbours", "every second", "a gap"],
)
def test_the_longest_run_of_neighbours(tmp_path: Path, kept: list[int], run: int, mm: float) -> None:
    ct = real_store(tmp_path / "ct", "ct", [0])
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike, slices=kept))
    placed = place_synthetic(made, made.cases, sources_of([Store(ct)]))[0]
    placed = replace(placed, layers=np.full(len(kept), 5))
    case = read_images(placed, Scale("stretch", 32, 0.0), SETTINGS, {5})
    assert case is not None
    stack = stack_of(case, {5})
    assert stack is not None
    assert stack.values.shape == (run, 32, 32)
    assert stack.spacing == pytest.approx(mm)
    assert stack_of(case, {6}) is None


def test_a_set_is_its_cases_one_after_the_other(tmp_path: Path) -> None:
    people = make_people(tmp_path)
    store = Store(people.mr)
    cases = place_real(store, store.cases[:3])
    ruler = MeasurementSetup(detector("random"), None, Scale("stretch", 32, 0.0), EvaluationSettings(), EVERY)
    measured = measure("real", cases, ruler, keep=True)
    assert len(measured.rows) == len(measured.statistics) == sum(layer_counts(cases))
    assert [row.case for row in measured.rows] == [f"mr-{n}" for n in (100, 101, 102) for _ in range(16)]
    assert list(measured.statistics.patients) == [row.case for row in measured.rows]
    one = read_images(cases[1], Scale("stretch", 32, 0.0), EvaluationSettings(), EVERY)
    assert one is not None
    np.testing.assert_array_equal(measured.statistics.features[16:32], detector("random").features(one.images))
    other = measure("other", cases[:1], ruler, measured.stacks)
    jumps = [slice_jump(stack) for stack in measured.stacks]
    assert other.jumps["mr-100"] == pytest.approx(np.mean([jumps[0] / jump for jump in jumps]))


def test_three_bins_need_a_window_that_holds_them() -> None:
    assert edges_for(EvaluationSettings()) is not None
    assert edges_for(EvaluationSettings(window=(-1000, 100))) is None


def test_liver_slices_lie_in_the_upper_layers(tmp_path: Path) -> None:
    people = make_people(tmp_path)
    made = Store(people.good)
    counts = layer_counts(place_synthetic(made, made.cases, sources_of([Store(people.ct)])))
    assert counts[0] == 0
    assert sum(counts) == 4 * (LIVER[1] - LIVER[0])
