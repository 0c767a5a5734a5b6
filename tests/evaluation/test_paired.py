from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.resample import to_size
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.evaluation.paired import against_truth, on_grid, truth_of
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.axial_layers import place_synthetic, sources_of
from tests.support.evaluated_people import MM, SLICES, look_alike, person, real_store, synthetic_store

OFF = 12


def ramp(volume: Volume) -> np.ndarray:
    """Values that rise linearly with the place in the world: what linear interpolation must give exactly."""
    index = np.indices(volume.voxels.shape).reshape(3, -1)
    world = volume.affine[:3, :3] @ index + volume.affine[:3, 3:]
    return (0.5 * world[0] - 0.25 * world[1] + 2 * world[2] + 7).reshape(volume.voxels.shape)


def test_a_truth_on_another_grid_is_brought_to_the_synthetic_one(tmp_path: Path) -> None:
    volume = person(0, "mr")
    fine = replace(to_size(volume, 64), labels=None, label_names={})
    affine = fine.affine.copy()
    affine[2, 0], affine[2, 3] = 5.0, 20.0  # thinner slices, from 20 mm on
    fine = replace(fine, voxels=np.zeros((30, 64, 64), np.float32), affine=affine)
    with writing_store(tmp_path / "truth") as writer:
        writer.add("a", replace(fine, voxels=ramp(fine)), patient="ct-0")
    ct = real_store(tmp_path / "ct", "ct", [0])
    kept = [0, 1, 2, 5, 11, 17]
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike, slices=kept))
    truth = Store(tmp_path / "truth")
    image, inside, moved = on_grid(truth.tensors("a")["image"], truth.cases[0], made.cases[0])
    z = np.array(kept) * MM
    np.testing.assert_array_equal(inside, (z >= 20) & (z <= 20 + 29 * 5))
    assert moved
    expected = ramp(volume)[kept]
    middle = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(image[middle][inside], expected[middle][inside], atol=1e-2)


def test_an_offset_in_hu(tmp_path: Path) -> None:
    """12 HU too bright everywhere inside the window; what the window cuts is no error."""
    mr = real_store(tmp_path / "mr", "mr", range(3), name="p")
    truth = real_store(tmp_path / "truth", "ct", range(3), name="p")

    def offset(volume: Volume, number: int) -> np.ndarray:
        return np.clip(person(number, "ct").voxels, -150, 200) + OFF

    made = Store(synthetic_store(tmp_path / "made", mr, offset, target="ct", sequence=None))
    placed = place_synthetic(made, made.cases, sources_of([Store(mr)]))
    records = truth_of(Store(truth), "ct", None, made.cases)
    found = against_truth(placed, Store(truth), records, EvaluationSettings())
    assert found is not None
    assert (found.patients, found.slices, found.moved, found.unit) == (3, 3 * SLICES, 0, "HU")
    assert found.mae[0] == pytest.approx(OFF, abs=0.5)
    assert found.psnr[0] == pytest.approx(20 * np.log10(400 / OFF), abs=0.3)
    assert found.mae[1] <= found.mae[0] <= found.mae[2]


def test_mr_is_held_against_its_truth_in_shares_of_its_range(tmp_path: Path) -> None:
    """MR has no unit: twice as bright is the same image."""
    ct = real_store(tmp_path / "ct", "ct", [0], name="p")
    truth = real_store(tmp_path / "truth", "mr", [0], name="p")
    twice = lambda volume, number: person(0, "mr").voxels * 2.0  # noqa: E731
    made = Store(synthetic_store(tmp_path / "made", ct, twice))
    placed = place_synthetic(made, made.cases, {})
    found = against_truth(placed, Store(truth), truth_of(Store(truth), "mr", None, made.cases), EvaluationSettings())
    assert found is not None
    assert found.mae == pytest.approx((0, -np.inf, np.inf), abs=1e-4)
    assert found.ssim[0] == pytest.approx(1)


def test_a_truth_elsewhere_in_the_body_is_none(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", [0], name="p")
    volume = person(0, "mr")
    affine = volume.affine.copy()
    affine[2, 3] = 1000
    with writing_store(tmp_path / "truth") as writer:
        writer.add("a", replace(volume, affine=affine), patient="p-0")
    truth = Store(tmp_path / "truth")
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike))
    placed = place_synthetic(made, made.cases, {})
    assert against_truth(placed, truth, truth_of(truth, "mr", None, made.cases), EvaluationSettings()) is None


def test_two_truths_of_one_patient(tmp_path: Path) -> None:
    with writing_store(tmp_path / "truth") as writer:
        for case in ("a", "b"):
            writer.add(case, person(0, "mr"), patient="p-0")
    made = Store(synthetic_store(tmp_path / "made", real_store(tmp_path / "ct", "ct", [0], name="p"), look_alike))
    with pytest.raises(InputError, match="two mr cases of p-0"):
        truth_of(Store(tmp_path / "truth"), "mr", None, made.cases)
