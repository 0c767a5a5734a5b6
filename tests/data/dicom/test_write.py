import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from crossmod.data.dicom.series import read_dicom_series
from crossmod.data.dicom.write import as_16_bit
from crossmod.data.volume import CANONICAL, Volume, axis_codes, reorient
from crossmod.errors import InputError
from tests.support.dicom import SECRETS, body, write_series
from tests.support.write_dicom import write_dicom_series

spacings = st.tuples(*[st.floats(0.3, 9.0)] * 3)
shapes = st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(2, 5))


def a_volume(shape, spacing, angles, modality, low, high, seed=0, orientation=CANONICAL) -> Volume:
    rng = np.random.default_rng(seed)
    values = rng.integers(low, high, shape, endpoint=True).astype(np.int16)
    values.flat[:2] = low, high
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    values, affine = reorient(values, affine, CANONICAL)
    return Volume(voxels=values, affine=affine, modality=modality, orientation=orientation)


@settings(max_examples=60, deadline=None)
@given(
    shapes,
    spacings,
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.sampled_from([("ct", -1024, 3071), ("ct", -2000, 20000), ("mr", 0, 4095), ("mr", -500, 500)]),
    st.sampled_from([CANONICAL, ("L", "P", "S"), ("R", "A", "I"), ("P", "I", "R"), ("L", "I", "P")]),
)
def test_there_and_back_keeps_place_and_integers(shape, spacing, angles, values, orientation):
    volume = a_volume(shape, spacing, angles, *values, orientation=orientation)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "series"
        write_dicom_series(volume, folder)
        back = read_dicom_series(folder, modality=volume.modality)
    # Near 45 degrees rounding may turn the nearest axes: voxels are then compared where they lie.
    voxels, affine = reorient(back.voxels, back.affine, axis_codes(volume.affine))
    np.testing.assert_array_equal(voxels, volume.voxels)
    np.testing.assert_allclose(affine, volume.affine, atol=1e-3)


def test_dicom_to_volume_to_dicom_to_volume(tmp_path):
    write_series(tmp_path / "a", body()[0])
    first = read_dicom_series(tmp_path / "a")
    write_dicom_series(first, tmp_path / "b")
    second = read_dicom_series(tmp_path / "b")
    np.testing.assert_array_equal(first.voxels, second.voxels)
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-3)
    assert first.orientation == second.orientation == ("L", "P", "S")
    # Synthetic or not, what crossmod writes has no burnt-in text and says so.
    assert second.notes == ()


def test_ct_is_stored_as_hounsfield_units_with_new_uids_and_no_identity(tmp_path):
    paths = write_series(tmp_path / "a", body()[0])
    old = pydicom.dcmread(paths[0])
    write_dicom_series(read_dicom_series(tmp_path / "a"), tmp_path / "b")
    written = sorted((tmp_path / "b").iterdir())
    assert len(written) == len(paths)
    headers = [pydicom.dcmread(path) for path in written]
    first = headers[0]
    assert (first.Modality, first.RescaleIntercept, first.RescaleSlope, first.BitsAllocated) == ("CT", -1024, 1, 16)
    assert len({header.SOPInstanceUID for header in headers}) == len(headers)
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert first.SeriesInstanceUID != old.SeriesInstanceUID
    assert first.PatientName == ""
    everything = b"".join(path.read_bytes() for path in written)
    assert not [secret for secret in SECRETS if secret.encode() in everything]


@pytest.mark.parametrize(
    ("orientation", "slices"),
    [
        (("P", "I", "R"), 4),  # sagittal: along the third axis of (slices, rows, columns) = (2, 3, 4)
        (("L", "I", "P"), 3),  # coronal
        (("L", "P", "S"), 2),
        (("R", "A", "I"), 2),
        (CANONICAL, 2),  # from no file: axial
    ],
)
def test_the_plane_of_the_file_it_came_from_is_kept(tmp_path, orientation, slices):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = Volume(voxels=voxels, affine=affine, modality="mr", orientation=orientation)
    write_dicom_series(volume, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == slices
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "out").voxels, voxels)


@pytest.mark.parametrize("hounsfield", [True, False])
def test_fractions_are_spread_over_sixteen_bits(rng, hounsfield):
    values = rng.uniform(-1000, 2000, (2, 5, 5)).astype(np.float32)
    stored = as_16_bit(values, hounsfield=hounsfield)
    back = stored.pixels * stored.slope + stored.intercept
    assert np.abs(back - values).max() <= stored.slope * 0.51
    assert stored.slope < 3000 / 65000


def test_integers_beyond_sixteen_bits_are_spread_too():
    values = np.array([[[0.0, 1.0e6, 5.0]]], dtype=np.float32)
    stored = as_16_bit(values, hounsfield=False)
    assert np.abs(stored.pixels * stored.slope + stored.intercept - values).max() <= stored.slope * 0.51


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    volume = a_volume((2, 3, 4), (1, 1, 1), (0, 0, 0), "ct", -1000, 1000)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match=r"full: a folder with something in it"):
        write_dicom_series(volume, tmp_path / "full")
    sheared = volume.affine @ np.array([[1, 0, 0, 0], [0.3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    with pytest.raises(InputError, match=r"out: axes 16\.7 degrees off a right angle"):
        write_dicom_series(Volume(volume.voxels, sheared, "ct"), tmp_path / "out")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pydicom.dataset.Dataset.save_as", full)
    with pytest.raises(InputError, match="the disk is full"):
        write_dicom_series(volume, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
