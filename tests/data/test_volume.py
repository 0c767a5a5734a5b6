import itertools

import nibabel.nifti1
import nibabel.orientations
import numpy as np
import pytest

from crossmod.data.volume import CANONICAL, Volume, axis_codes, label_value, reorient

ALL_CODES = [tuple(codes) for axes in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*axes)]


@pytest.mark.parametrize("codes", ALL_CODES)
def test_reorienting_agrees_with_nibabel_and_keeps_every_voxel_in_its_place(codes, rng):
    array = rng.integers(0, 100, (3, 4, 5))
    affine = np.diag([2.0, 0.7, 1.3, 1.0])
    affine[:3, 3] = 5, -7, 11
    moved, moved_affine = reorient(array, affine, codes)
    assert axis_codes(moved_affine) == codes
    have, want = nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    oracle = nibabel.nifti1.Nifti1Image(array.astype(np.int16), affine)
    oracle = oracle.as_reoriented(nibabel.orientations.ornt_transform(have, want).tolist())
    np.testing.assert_array_equal(moved, np.asarray(oracle.dataobj))
    np.testing.assert_allclose(moved_affine, np.asarray(oracle.affine))


def test_spacing_unit_and_organ_volume():
    labels = np.zeros((2, 3, 4), dtype=np.uint8)
    labels[0, :2, :2] = 3
    voxels = np.zeros((2, 3, 4), dtype=np.int16)
    affine = np.diag([5.0, 2.0, 1.0, 1.0])
    volume = Volume(voxels=voxels, affine=affine, modality="ct", labels=labels, label_names={3: "liver"})
    assert volume.spacing == (5.0, 2.0, 1.0)
    assert volume.unit == "HU"
    assert volume.label_ml("liver") == pytest.approx(4 * 10 / 1000)
    assert volume.label_ml("spleen") == 0.0
    assert label_value(volume.label_names, "liver") == 3
    assert volume.with_labels(None, {}).label_ml("liver") == 0.0
    assert volume.orientation == CANONICAL
