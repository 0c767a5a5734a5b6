"""Label maps from elsewhere on the grid of an image."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.nifti1 import Nifti1Image
from scipy.spatial.transform import Rotation

from crossmod.data.nifti import read_label_map
from crossmod.data.registration import labels_on_grid
from crossmod.errors import InputError
from tests.support.label_maps import GRID, SHAPE, random_labels, save_map

CODES = [codes for axes in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*axes)]


def brought(path: Path) -> tuple[np.ndarray, bool]:
    return labels_on_grid(*read_label_map(path), SHAPE, GRID, subject=path)


@pytest.mark.parametrize("codes", [("R", "A", "S"), ("L", "P", "S"), ("L", "A", "I"), ("S", "R", "A"), ("A", "I", "L")])
def test_every_order_of_axes_is_the_same_map(codes: Sequence[str], tmp_path: Path, rng: np.random.Generator) -> None:
    labels = random_labels(rng)
    found, moved = brought(save_map(tmp_path / "a.nii.gz", labels, codes=codes))
    np.testing.assert_array_equal(found, labels)
    assert not moved


def test_every_order_of_axes_of_a_part_is_that_part(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = random_labels(rng)
    cut = GRID.copy()
    cut[:3, 3] += GRID[:3, :3] @ [1, 2, 3]
    expected = np.zeros_like(labels)
    expected[1:5, 2:9, 3:11] = labels[1:5, 2:9, 3:11]
    for codes in CODES:
        path = save_map(tmp_path / "a.nii.gz", labels[1:5, 2:9, 3:11], cut, codes=codes)
        found, moved = brought(path)
        np.testing.assert_array_equal(found, expected, err_msg="".join(codes))
        assert moved


def test_a_map_with_more_around_it_is_cut(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = random_labels(rng)
    moved = GRID.copy()
    moved[:3, 3] -= GRID[:3, :3] @ [2, 5, 1]
    padded = np.pad(labels, ((2, 0), (5, 3), (1, 4)), constant_values=3)
    found, elsewhere = brought(save_map(tmp_path / "a.nii.gz", padded, moved))
    np.testing.assert_array_equal(found, labels)
    assert elsewhere


def test_other_voxels_against_simpleitk(tmp_path: Path, rng: np.random.Generator) -> None:
    """Turned by ten degrees, with other voxels, nearest neighbour."""
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zx", [10, 4], degrees=True).as_matrix() * [0.9, 1.4, 2.2]
    turned[:3, 3] = GRID[:3, 3] + GRID[:3, :3] @ (np.array(SHAPE) - 1) / 2 - turned[:3, :3] @ [19.5, 14.5, 11.5]
    coarse = rng.integers(0, 5, (40, 30, 24)).astype(np.uint8)
    nibabel.save(Nifti1Image(coarse, turned), tmp_path / "found.nii.gz")
    save_map(tmp_path / "grid.nii.gz", np.zeros(SHAPE, np.uint8), codes=("L", "P", "S"))
    image, grid = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("found.nii.gz", "grid.nii.gz"))
    one = SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    found, moved = brought(tmp_path / "found.nii.gz")
    assert moved
    assert len(np.unique(found)) == 5
    # Headers hold float32: a few positions between two voxels are rounded to either.
    assert np.mean(found == SimpleITK.GetArrayFromImage(one)) > 0.995


def test_a_rounded_affine_is_the_same_grid(tmp_path: Path, rng: np.random.Generator) -> None:
    labels, rounded = random_labels(rng), GRID.copy()
    rounded[0, 3] += 0.4
    found, moved = brought(save_map(tmp_path / "a.nii.gz", labels, rounded))
    np.testing.assert_array_equal(found, labels)
    assert not moved
    rounded[0, 3] += 0.2
    with pytest.raises(InputError, match=r"of the image's size, 0\.6 mm away"):
        brought(save_map(tmp_path / "a.nii.gz", labels, rounded))


def test_what_lies_elsewhere_is_refused_with_numbers(tmp_path: Path, rng: np.random.Generator) -> None:
    labels, away = random_labels(rng), GRID.copy()
    away[2, 3] += 120
    with pytest.raises(InputError, match=r"of the image's size, 120\.0 mm away.*to 0\.5 mm"):
        brought(save_map(tmp_path / "a.nii.gz", labels, away))
    with pytest.raises(InputError, match=r"0% lies inside .* holds 0% of it; their middles are 115 mm apart"):
        brought(save_map(tmp_path / "a.nii.gz", labels[:4], away))
    # Half of a part beside the image: of 4 slices of 5 mm, 2 lie above its end.
    half = GRID.copy()
    half[2, 3] += 4 * 5
    with pytest.raises(InputError, match=r"50% lies inside the image and which holds 33% of it"):
        brought(save_map(tmp_path / "a.nii.gz", labels[:4], half))


NO_LABELS = {
    1.5: "the label value 1.5",
    np.nan: "the label value nan",
    300: "label values from 0 to 300",
    -1: "label values from -1 to 4",
}


@pytest.mark.parametrize(("value", "words"), NO_LABELS.items(), ids=str)
def test_what_is_no_label_map_is_refused(value: float, words: str, tmp_path: Path, rng: np.random.Generator) -> None:
    labels = random_labels(rng).astype(np.float32)
    found, _ = brought(save_map(tmp_path / "a.nii.gz", labels))
    np.testing.assert_array_equal(found, labels)
    labels[2, 3, 4] = value
    with pytest.raises(InputError, match=words):
        brought(save_map(tmp_path / "a.nii.gz", labels))
