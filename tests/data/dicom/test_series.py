import shutil

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import BasicTextSRStorage, HTJ2KLossless, SecondaryCaptureImageStorage

from crossmod.data.deidentify import BURNT_IN
from crossmod.data.dicom.series import check_uniform, list_series, read_dicom_series
from tests.support.dicom import body, compress_with_gdcm, edit, put, write_series
from tests.support.dicom_series import raises


@pytest.fixture
def stored():
    return body()[0]


def set_z(z):
    return lambda dataset: setattr(dataset, "ImagePositionPatient", [-10.5, -20.25, z])


def test_slices_are_ordered_by_position_whatever_their_names_and_uids(tmp_path, stored):
    names = [f"x{number}" for number in (4, 0, 5, 1, 3, 2)]
    write_series(tmp_path, stored, names=names)
    volume = read_dicom_series(tmp_path, modality="ct")
    np.testing.assert_array_equal(volume.voxels, stored.astype(np.int32) - 1000)
    assert volume.voxels.dtype == np.int16
    assert volume.spacing == pytest.approx((3.0, 0.75, 1.5))
    # Row and column 0 of slice 0 lie at DICOM's (LPS) -10.5, -20.25, 100.
    np.testing.assert_allclose(volume.affine @ [0, 0, 0, 1], [10.5, 20.25, 100, 1])
    np.testing.assert_allclose(volume.affine @ [1, 2, 4, 1], [10.5 - 4 * 1.5, 20.25 - 2 * 0.75, 103, 1])
    assert volume.orientation == ("L", "P", "S")
    assert volume.notes == ()


def test_a_series_stored_head_to_feet_and_turned_comes_out_canonical(tmp_path, stored):
    def turn(dataset, index):
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        dataset.ImagePositionPatient = [12, 6, 300 - 3 * index]

    write_series(tmp_path, stored, change=turn)
    volume = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.voxels, stored[::-1, ::-1, ::-1].astype(np.int32) - 1000)
    assert volume.orientation == ("R", "A", "S")


def test_sagittal_slices_become_axial(tmp_path, stored):
    def turn(dataset, index):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [3 * index, 0, 0]

    write_series(tmp_path, stored, change=turn)
    volume = read_dicom_series(tmp_path)
    assert volume.voxels.shape == (stored.shape[1], stored.shape[2], stored.shape[0])
    np.testing.assert_array_equal(volume.voxels[::-1].transpose(2, 0, 1), stored.astype(np.int32) - 1000)


def test_strangers_are_ignored(tmp_path, stored):
    write_series(tmp_path, stored)
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 200)
    (tmp_path / "read me.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_text("hello")
    report = write_series(tmp_path, stored[:1], names=["report"])[0]
    edit(report, as_report)
    assert len(read_dicom_series(tmp_path).voxels) == len(stored)


def as_report(dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)


@pytest.mark.parametrize(
    "syntax",
    ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless", "JPEG2000Lossless"],
)
def test_compressed_slices_are_read(tmp_path, stored, syntax):
    for path in write_series(tmp_path, stored):
        compress_with_gdcm(path, syntax)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_dicom_series(tmp_path).voxels, stored.astype(np.int32) - 1000)


def test_a_compression_that_nothing_here_reads_says_what_to_do(tmp_path, stored):
    def compress(dataset):
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = encapsulate([bytes(100)])
        dataset["PixelData"].is_undefined_length = True

    edit(write_series(tmp_path, stored)[2], compress)
    with raises("i2.dcm", "High-Throughput JPEG 2000", "Decompress the series first"):
        read_dicom_series(tmp_path)


def test_a_precision_that_no_decoder_knows_is_said(tmp_path, stored):
    paths = write_series(tmp_path, stored, change=lambda d, _: put(d, BitsStored=12, HighBit=11))
    compress_with_gdcm(paths[2], "JPEGExtendedProcess2_4")
    with raises("i2.dcm", "does not support 'JPEG Extended' for samples with 12-bit", "Decompress the series first"):
        read_dicom_series(tmp_path)


def test_a_rescale_that_differs_from_slice_to_slice_is_applied(tmp_path, stored):
    def rescale(dataset, index):
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", str(index)

    write_series(tmp_path, stored, modality="MR", change=rescale)
    volume = read_dicom_series(tmp_path)
    expected = stored * 0.5 + np.arange(len(stored))[:, None, None]
    np.testing.assert_array_equal(volume.voxels, expected.astype(np.float32))
    assert (volume.modality, volume.unit) == ("mr", "arbitrary")


def test_one_slice_takes_its_spacing_from_the_header(tmp_path, stored):
    write_series(tmp_path, stored[:1])
    assert read_dicom_series(tmp_path).spacing == pytest.approx((5.0, 0.75, 1.5))
    write_series(tmp_path, stored[:1], change=lambda dataset, _: setattr(dataset, "SpacingBetweenSlices", 7))
    assert read_dicom_series(tmp_path).spacing == pytest.approx((7.0, 0.75, 1.5))
    write_series(tmp_path, stored[:1], change=lambda dataset, _: delattr(dataset, "SliceThickness"))
    with raises("i0.dcm", "neither SpacingBetweenSlices nor SliceThickness"):
        read_dicom_series(tmp_path)


def test_burnt_in_text_is_a_note_and_a_warning(tmp_path, stored, caplog):
    write_series(tmp_path, stored, change=lambda dataset, _: setattr(dataset, "BurnedInAnnotation", "YES"))
    assert read_dicom_series(tmp_path).notes == (BURNT_IN,)
    assert BURNT_IN in caplog.text


def test_a_tree_is_told_apart_by_folder_echo_and_size_but_not_by_uid(tmp_path, stored):
    write_series(tmp_path / "b" / "ct", stored)
    write_series(
        tmp_path / "a", stored, modality="MR", change=lambda d, i: setattr(d, "EchoTime", 2.3 if i % 2 else 4.6)
    )
    write_series(tmp_path / "a", stored[:2, :8], modality="MR", names=["y0", "y1"])
    found = list_series(tmp_path)
    seen = [(series.folder.name, series.modality, series.echo_time, len(series.slices)) for series in found]
    assert seen == [("a", "mr", 4.6, 3), ("a", "mr", 2.3, 3), ("a", "mr", 70.0, 2), ("ct", "ct", None, 6)]


def test_an_echo_can_be_named(tmp_path, stored):
    write_series(tmp_path, stored, modality="MR", change=lambda d, i: setattr(d, "EchoTime", 2.3 if i % 2 else 4.6))
    with raises(tmp_path, "2 series with echo times 4.6, 2.3 ms", "Name one"):
        read_dicom_series(tmp_path)
    volume = read_dicom_series(tmp_path, echo_time=2.3)
    np.testing.assert_array_equal(volume.voxels, stored[1::2])
    with raises(tmp_path, "echo times 2.3, 4.6", "5 ms"):
        read_dicom_series(tmp_path, echo_time=5.0)


# What cannot be read: each error names the file or the folder, and what was found there.


def test_no_folder_a_file_and_an_empty_folder(tmp_path):
    with raises(tmp_path / "none", "no such folder"):
        read_dicom_series(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with raises(tmp_path / "file", "a file"):
        list_series(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    for read in (read_dicom_series, list_series):
        with raises(tmp_path / "empty", "no files"):
            read(tmp_path / "empty")


def test_a_folder_of_other_files_says_what_they_are(tmp_path, stored):
    (tmp_path / "notes.txt").write_text("x")
    with raises(tmp_path, "a file that is not DICOM (notes.txt)"):
        read_dicom_series(tmp_path)
    (tmp_path / "notes.txt").unlink()
    edit(write_series(tmp_path, stored[:1])[0], as_report)
    with raises(tmp_path, "a Basic Text SR Storage without an image (i0.dcm)"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize("keep", [0, 60, 300, 500, -200])
def test_a_cut_file_is_named(tmp_path, stored, keep):
    path = write_series(tmp_path, stored)[2]
    path.write_bytes(path.read_bytes()[:keep])
    with raises("i2.dcm", "not DICOM" if 0 <= keep < 132 else ""):
        read_dicom_series(tmp_path)


def test_a_file_cut_anywhere_is_an_error_and_never_a_crash(tmp_path, stored):
    path = write_series(tmp_path, stored[:3])[2]
    whole = path.read_bytes()
    for keep in [*range(0, 132, 33), *range(132, len(whole), 7)]:
        path.write_bytes(whole[:keep])
        with raises("i2.dcm"):
            read_dicom_series(tmp_path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: d.update({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}), "a colour image (RGB)"),
        (lambda d: setattr(d, "SOPClassUID", SecondaryCaptureImageStorage), "a secondary capture"),
        (lambda d: setattr(d, "NumberOfFrames", 12), "a multi-frame file of 12 frames"),
        (lambda d: setattr(d, "Modality", "US"), "an image of modality US"),
    ],
)
def test_other_images_are_named_alone_and_among_slices(tmp_path, stored, change, found, caplog):
    edit(write_series(tmp_path, stored[:1])[0], change)
    with raises(tmp_path, found, "i0.dcm"):
        read_dicom_series(tmp_path)
    write_series(tmp_path, stored, names=[f"s{index}.dcm" for index in range(6)])
    with raises("i0.dcm", found, "among the slices"):
        read_dicom_series(tmp_path)
    # In a tree of many series, such images are left out, and that is said.
    assert [len(series.slices) for series in list_series(tmp_path)] == [6]
    assert "i0.dcm: left out" in caplog.text


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("PixelSpacing", None, "no PixelSpacing"),
        ("PixelSpacing", [0, 1], "a PixelSpacing of 0 x 1"),
        ("ImagePositionPatient", None, "no ImagePositionPatient"),
        ("ImageOrientationPatient", None, "no ImageOrientationPatient"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "not at right angles"),
        ("ImagePositionPatient", [1, 2], "ImagePositionPatient [1.0, 2.0]"),
    ],
)
def test_missing_geometry_is_named(tmp_path, stored, keyword, value, found):
    def spoil(dataset, _):
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    write_series(tmp_path, stored, change=spoil)
    with raises("i0.dcm", found):
        read_dicom_series(tmp_path)


def test_a_missing_slice_says_where_and_how_many(tmp_path, stored):
    paths = write_series(tmp_path, np.concatenate([stored, stored]))
    paths[4].unlink()
    paths[5].unlink()
    paths[9].unlink()
    with raises(tmp_path, "3 missing slices", "109.00 mm (i3.dcm) and 118.00 mm (i6.dcm)", "3.00 mm"):
        read_dicom_series(tmp_path)


def test_one_missing_slice_is_one(tmp_path, stored):
    write_series(tmp_path, stored)[2].unlink()
    with raises(tmp_path, "1 missing slice, the first gap"):
        read_dicom_series(tmp_path)


def test_an_impossible_spacing_is_refused(tmp_path, stored):
    write_series(tmp_path, stored, change=lambda d, _: setattr(d, "PixelSpacing", [0.0007, 0.0007]))
    with raises(tmp_path, "a spacing of 3 x 0.0007 x 0.0007 mm", "0.01 to 100 mm"):
        read_dicom_series(tmp_path)


def test_uneven_steps_are_refused(tmp_path, stored):
    edit(write_series(tmp_path, stored)[5], set_z(116.3))
    with raises(tmp_path, "uneven steps: 4.30 mm between 112.00 mm (i4.dcm) and 116.30 mm (i5.dcm)"):
        read_dicom_series(tmp_path)


def test_positions_rounded_by_the_scanner_are_borne(tmp_path, stored):
    for index, path in enumerate(write_series(tmp_path, stored)):
        edit(path, set_z(round(0.625 * index, 1)))
    assert read_dicom_series(tmp_path).spacing[0] == pytest.approx(0.62)


def test_doubled_positions_are_named(tmp_path, stored):
    paths = write_series(tmp_path, stored)
    shutil.copy(paths[3], tmp_path / "copy.dcm")
    with raises(tmp_path, "1 position held twice", "109.00 mm (copy.dcm and i3.dcm)"):
        read_dicom_series(tmp_path)


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path, stored):
    def tilt(dataset, index):
        dataset.ImagePositionPatient = [0, index * np.tan(np.radians(12)), index]

    write_series(tmp_path, stored, change=tilt)
    with raises(tmp_path, "12.0 degrees"):
        read_dicom_series(tmp_path)


def test_a_slice_beside_the_line_is_refused(tmp_path, stored):
    path = write_series(tmp_path, stored)[2]
    edit(path, lambda dataset: setattr(dataset, "ImagePositionPatient", [-4.5, -20.25, 106]))
    with raises(tmp_path, "6.00 mm beside the line"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda d, i: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1] if i % 2 else [1, 0, 0, 0, 1, 0]),
            "along",
        ),
        (
            lambda d, i: d.update({"Rows": 8, "PixelData": d.PixelData[: len(d.PixelData) // 2]}) if i % 2 else None,
            "8 x 16",
        ),
        (lambda d, i: setattr(d, "Modality", "MR") if i % 2 else None, "MR 16 x 16"),
    ],
)
def test_series_mixed_in_one_folder_are_described(tmp_path, stored, change, found):
    write_series(tmp_path, stored, change=change)
    with raises(tmp_path, "2 series (3 slices CT 16 x 16", found, "folder of its own"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize("odd", [(5,), (2,), (3, 4, 5)])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: d.update({"Rows": 8, "PixelData": d.PixelData[: len(d.PixelData) // 2]}), "8 x 16"),
        (lambda d: setattr(d, "PixelSpacing", [0.8, 1.5]), "0.8 x 1.5 mm"),
        (lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]), "(0.00, 0.00, -1.00)"),
    ],
)
def test_odd_slices_of_a_folder_are_refused_and_named(tmp_path, stored, odd, change, found):
    for index, path in enumerate(write_series(tmp_path, stored)):
        if index in odd:
            edit(path, change)
    name = f"look at i{odd[0]}.dcm"
    with raises(tmp_path, "slices of several sizes or directions", found, name):
        check_uniform(list_series(tmp_path))


def test_directions_that_differ_in_their_last_digits_are_one_series(tmp_path, stored):
    # Rounded to 0.01 mm, these steps would fall apart.
    write_series(tmp_path, stored, change=lambda d, i: setattr(d, "PixelSpacing", [0.7049 + 0.0002 * (i % 2), 1.5]))
    assert [len(series.slices) for series in list_series(tmp_path)] == [6]


def test_scout_views_and_other_echoes_beside_a_series_are_no_odd_slices(tmp_path, stored):
    def scout(dataset, _):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.EchoTime = 4.6

    write_series(tmp_path, stored, modality="MR", change=lambda d, i: setattr(d, "EchoTime", 2.3 if i % 2 else 4.6))
    # Of the same size and direction as the slices, and of another.
    write_series(tmp_path, stored[:1], modality="MR", change=scout, names=["scout0"])
    write_series(tmp_path, stored[:1, :8], modality="MR", change=scout, names=["scout1"])
    found = list_series(tmp_path)
    assert [series.localizer for series in found] == [False, False, True, True]
    check_uniform(found)


def test_two_patients_in_one_folder_are_refused_without_naming_them(tmp_path, stored):
    edit(write_series(tmp_path, stored)[5], lambda dataset: setattr(dataset, "PatientID", "other"))
    with raises(tmp_path, "slices of 2 patients") as caught:
        read_dicom_series(tmp_path)
    assert "4711" not in str(caught.value)


def test_another_modality_than_asked_for_and_constant_values_are_refused(tmp_path, stored):
    write_series(tmp_path / "ct", stored)
    with raises(tmp_path / "ct", "modality CT", "MR"):
        read_dicom_series(tmp_path / "ct", modality="mr")
    write_series(tmp_path / "flat", np.zeros_like(stored))
    with raises(tmp_path / "flat", "-1000", "everywhere"):
        read_dicom_series(tmp_path / "flat")
