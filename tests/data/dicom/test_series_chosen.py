import numpy as np
import pytest
from pydicom.uid import SegmentationStorage

from crossmod.data.dicom.series import read_dicom_series
from tests.support.dicom import body, edit, put, write_series
from tests.support.dicom_series import raises


@pytest.fixture
def stored():
    return body()[0]


def scout(dataset, _):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def numbered(number):
    return lambda dataset, _: setattr(dataset, "SeriesNumber", number)


def test_scout_views_are_left_out_named_and_noted(tmp_path, stored, caplog):
    write_series(tmp_path, stored)
    write_series(tmp_path, stored[:2, :8], change=scout, names=["scout0.dcm", "scout1.dcm"])
    volume = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.voxels, stored.astype(np.int32) - 1000)
    assert volume.notes == ("2 scout views left out",)
    assert "scout0.dcm, scout1.dcm" in caplog.text


def test_scout_views_alone_are_what_was_asked_for(tmp_path, stored):
    write_series(tmp_path, stored[:1], change=scout)
    assert read_dicom_series(tmp_path).notes == ()


def test_a_segmentation_beside_the_slices_is_left_out(tmp_path, stored):
    write_series(tmp_path, stored)
    path = write_series(tmp_path, stored[:1], names=["organs.dcm"])[0]
    edit(path, lambda d: put(d, SOPClassUID=SegmentationStorage, Modality="SEG", NumberOfFrames=7))
    assert len(read_dicom_series(tmp_path).voxels) == len(stored)


def test_series_at_the_same_positions_are_chosen_by_number(tmp_path, stored):
    write_series(tmp_path, stored, change=numbered(3))
    write_series(tmp_path, stored + 1, change=numbered(12), names=[f"b{index}.dcm" for index in range(6)])
    with raises(tmp_path, "series numbers 3, 12 with slices at the same positions", "Name one by its series number"):
        read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read_dicom_series(tmp_path, series_number=12).voxels, stored.astype(np.int32) - 999)
    with raises(tmp_path, "series numbers 3, 12. Expected: 4", "Name one of them"):
        read_dicom_series(tmp_path, series_number=4)


def test_a_scan_in_several_numbers_is_one_series(tmp_path, stored):
    write_series(tmp_path, stored, change=lambda d, i: setattr(d, "SeriesNumber", 3 + i // 3))
    assert len(read_dicom_series(tmp_path).voxels) == len(stored)


def test_series_of_other_sizes_are_chosen_by_number_too(tmp_path, stored):
    write_series(tmp_path, stored, change=numbered(3))
    write_series(tmp_path, stored[:, :8], change=numbered(4), names=[f"b{index}.dcm" for index in range(6)])
    with raises(tmp_path, "2 series", "Name one by its series number (3, 4)"):
        read_dicom_series(tmp_path)
    assert read_dicom_series(tmp_path, series_number=4).voxels.shape == (6, 8, 16)
