"""Which slices a derived slice says that it was made from, where a model has several inputs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from crossmod.data.dicom.series import read_dicom_series
from crossmod.inference.dicom.attributes import slices_through
from crossmod.inference.dicom.source import Source, source_of
from crossmod.inference.dicom.write import write_translated
from tests.support.dicom_output import a_series, headers, made


def series(path: Path, **more) -> Source:
    found = source_of(path, read_dicom_series(path))
    assert found is not None
    return found


def a_plane(z: float, rows: int = 8, columns: int = 12, tilt: float = 0.0) -> Dataset:
    """An axial slice of 0.75 x 1.5 mm pixels, turned about the left-right axis by degrees."""
    one = Dataset()
    angle = np.deg2rad(tilt)
    one.ImagePositionPatient = [-10.5, -20.25, z]
    one.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]
    one.PixelSpacing, one.Rows, one.Columns = [0.75, 1.5], rows, columns
    return one


@pytest.mark.parametrize(
    ("z", "tilt", "expected"),
    [
        (100.0, 0.0, [0]),
        (106.0, 0.0, [2]),
        (106.0004, 0.0, [2]),
        (107.0, 0.0, [2, 3]),
        (115.0, 0.0, [5]),
        (116.0, 0.0, [5]),  # above the last: it is the only one at hand
        (200.0, 0.0, []),
        (90.0, 0.0, []),
        (103.0, 45.0, [1, 2, 3]),  # 7 x 0.75 mm x sin 45 = 3.7 mm higher at the last row
        (100.0, 90.0, [0, 1, 2]),  # 5.25 mm
    ],
)
def test_every_slice_between_which_a_pixel_lies_is_named(
    tmp_path: Path, z: float, tilt: float, expected: list[int]
) -> None:
    """Slices at 100, 103, ... 115 mm."""
    assert list(slices_through(a_plane(z, tilt=tilt), series(a_series(tmp_path / "in")))) == expected


def test_of_two_inputs_both_are_named(tmp_path: Path) -> None:
    """The second lies half a slice higher; what is made lies on the first."""
    first = a_series(tmp_path / "first")
    second = a_series(tmp_path / "second", SeriesInstanceUID="1.2.840.99.5")
    for path in second.iterdir():
        move(path, 1.5)
    volumes = read_dicom_series(first), read_dicom_series(second)
    translation = replace(made(volumes[0]), sources=volumes)
    write_translated(translation, tmp_path / "out", source=first, others=[second], keep_identity=True)
    uids = [[one.SOPInstanceUID for one in headers(folder)] for folder in (first, second)]
    for index, one in enumerate(headers(tmp_path / "out")):
        named = [(item.ReferencedSOPInstanceUID, item.SpatialLocationsPreserved) for item in one.SourceImageSequence]
        # The second's lie at 101.5, 104.5, ...: below the first of them there is none.
        wanted = [uids[1][at] for at in (index - 1, index) if at >= 0]
        assert named == [(uids[0][index], "YES"), *((uid, "NO") for uid in wanted)]
        assert [item.SeriesInstanceUID for item in one.ReferencedSeriesSequence] == [
            "1.2.840.99.3.19641212",
            "1.2.840.99.5",
        ]
        instances = [
            item.ReferencedSOPInstanceUID for item in one.ReferencedSeriesSequence[1].ReferencedInstanceSequence
        ]
        assert instances == wanted


def move(path: Path, up: float) -> None:
    from tests.support.dicom import edit

    def change(dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, z + up]

    edit(path, change)


def test_an_input_that_is_no_dicom_is_not_named(tmp_path: Path) -> None:
    first = a_series(tmp_path / "first")
    (tmp_path / "second.nii").write_bytes(b"not looked into")
    volume = read_dicom_series(first)
    translation = replace(made(volume), sources=(volume, volume))
    write_translated(translation, tmp_path / "out", source=first, others=[tmp_path / "second.nii"])
    assert all(len(one.SourceImageSequence) == 1 for one in headers(tmp_path / "out"))
