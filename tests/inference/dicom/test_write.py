import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from crossmod.data.dicom.header import quiet
from crossmod.data.dicom.series import read_dicom_series
from crossmod.data.volume import CANONICAL, Volume, reorient
from crossmod.errors import InputError
from crossmod.inference.dicom.write import SEGMENTATION, write_translated
from tests.support.dicom import SECRETS, body, edit, enhanced, put, write_series, write_slice
from tests.support.dicom_output import FRAME, PLANES, a_model, a_series, headers, made


def values(one: pydicom.Dataset) -> np.ndarray:
    return one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))


@pytest.mark.parametrize("plane", PLANES)
def test_every_slice_lies_where_its_source_lies(tmp_path, plane):
    source = a_series(tmp_path / "in", plane)
    translation = made(read_dicom_series(source))
    write_translated(translation, tmp_path / "out", source=source)
    before, after = headers(source), headers(tmp_path / "out")
    assert len(before) == len(after)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            assert new[keyword].value == old[keyword].value
        assert (new.FrameOfReferenceUID, new.InstanceNumber) == (FRAME, index + 1)
        assert [item.ReferencedSOPInstanceUID for item in new.SourceImageSequence] == [old.SOPInstanceUID]
        np.testing.assert_array_equal(values(new), np.rint(values(old) * 0.5))
    assert len({new.SOPInstanceUID for new in after} | {old.SOPInstanceUID for old in before}) == 2 * len(after)
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(back.affine, translation.image.affine, atol=1e-3)
    np.testing.assert_array_equal(back.voxels, np.rint(translation.image.voxels))


@pytest.mark.parametrize("plane", PLANES)
def test_simpleitk_sees_the_source_and_the_result_on_one_grid(tmp_path, plane):
    sitk = pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install simpleitk")
    source = a_series(tmp_path / "in", plane)
    write_translated(made(read_dicom_series(source)), tmp_path / "out", source=source)
    read = []
    for folder in (source, tmp_path / "out"):
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        assert len(names) == 6
        read.append(sitk.ReadImage(names))
    before, after = read
    for geometry in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        np.testing.assert_allclose(getattr(after, geometry)(), getattr(before, geometry)(), atol=1e-3)
    expected = np.rint(sitk.GetArrayFromImage(before) * 0.5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), expected)


CODES = [codes for order in itertools.permutations(("LR", "PA", "SI")) for codes in itertools.product(*order)]


@pytest.mark.parametrize("codes", CODES, ids="".join)
def test_a_volume_of_nifti_in_any_order_of_axes_keeps_its_place(tmp_path, codes):
    rng = np.random.default_rng(3)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (4, -7, 11), degrees=True).as_matrix() @ np.diag([1.2, 0.9, 4])
    affine[:3, 3] = 20, -80.5, 300
    voxels, affine = reorient(rng.integers(0, 2000, (3, 4, 5)).astype(np.int16), affine, codes)
    canonical, canonical_affine = reorient(voxels, affine, CANONICAL)
    volume = Volume(canonical, canonical_affine, "mr", orientation=codes)
    translation = made(volume)
    write_translated(translation, tmp_path / "out", source=None)
    back = read_dicom_series(tmp_path / "out", modality="ct")
    np.testing.assert_allclose(back.affine, canonical_affine, atol=1e-3)
    np.testing.assert_array_equal(back.voxels, np.rint(translation.image.voxels))


def test_what_the_series_says_of_itself(tmp_path):
    source = a_series(tmp_path / "in", BodyPartExamined="ABDOMEN")
    about = replace(a_model(), name="a\\b\nMusterl\u00e4nder" + "x" * 300)
    write_translated(made(read_dicom_series(source), about=about), tmp_path / "out", source=source)
    first = headers(tmp_path / "out")[0]
    assert first.Modality == "CT"
    assert list(first.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert first.SeriesDescription == "Synthetic CT (not for diagnosis)"
    for part in ("Not for diagnosis", "crossmod", "a b Musterl\u00e4nder", about.weights, "1.2 % of the body"):
        assert part in first.DerivationDescription
    assert first.BurnedInAnnotation == "NO"
    assert first.SyntheticData == "YES"
    assert (first.RescaleSlope, first.RescaleIntercept, first.RescaleType) == (1, -1024, "HU")
    assert (first.BitsAllocated, first.BitsStored) == (16, 16)
    assert (first.WindowCenter, first.WindowWidth) == (50, 500)
    assert (first.PatientPosition, first.BodyPartExamined) == ("FFS", "ABDOMEN")
    equipment = first.ContributingEquipmentSequence[0]
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert first.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert len(first.ManufacturerModelName) <= 64


def test_mr_is_spread_over_sixteen_bits(tmp_path):
    source = a_series(tmp_path / "in", modality="CT")
    translation = made(read_dicom_series(source), "mr")
    translation.image.voxels[:] += 0.123
    write_translated(translation, tmp_path / "out", source=source)
    back = read_dicom_series(tmp_path / "out", modality="mr")
    spread = float(np.ptp(translation.image.voxels))
    np.testing.assert_allclose(back.voxels, translation.image.voxels, atol=spread / 65000)
    assert headers(tmp_path / "out")[0].SeriesDescription.startswith("Synthetic MR")


# Whose it is.


def test_nothing_of_the_patient_is_written_unless_asked_for(tmp_path):
    source = a_series(tmp_path / "in")
    write_translated(made(read_dicom_series(source)), tmp_path / "out", source=source, labels=True)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm"))
    told = (*SECRETS, "1.2.840.99.2", "1.2.840.99.3", "A-1", "S-1")
    assert not [secret for secret in told if secret.encode() in everything]
    first = headers(tmp_path / "out")[0]
    assert (first.PatientIdentityRemoved, first.PatientName) == ("YES", "")
    # A person of its own: no archive puts it together with others that have no name.
    write_translated(made(read_dicom_series(source)), tmp_path / "again", source=source)
    again = headers(tmp_path / "again")
    assert {one.PatientID for one in again} != {first.PatientID}
    assert all(re.fullmatch("crossmod-[0-9a-f]{16}", one.PatientID) for one in (first, *again))
    assert first.SeriesNumber == 1
    assert "ReferencedSeriesSequence" not in first
    assert "retained" in first.DeidentificationMethod[1]


def test_identity_is_kept_where_asked_for_in_any_alphabet(tmp_path):
    source = a_series(
        tmp_path / "in",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="M\u00fcller^J\u00f6rg",
        PatientBirthDate="unknown",
    )
    translation = made(read_dicom_series(source))
    write_translated(translation, tmp_path / "out", source=source, keep_identity=True, labels=True)
    first, old = headers(tmp_path / "out")[0], headers(source)[0]
    assert first.SpecificCharacterSet == "ISO_IR 192"
    assert str(first.PatientName) == "M\u00fcller^J\u00f6rg"
    kept = ("PatientID", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
    for keyword in (*kept, "PatientBirthDate", "ReferringPhysicianName", "FrameOfReferenceUID"):
        assert first[keyword].value == old[keyword].value
    assert "PatientIdentityRemoved" not in first
    with quiet():
        organs = pydicom.dcmread(tmp_path / "out" / SEGMENTATION)
        for keyword in ("PatientName", *kept, "PatientBirthDate"):
            assert organs[keyword].value == first[keyword].value
    assert first.SeriesNumber == 1000 + int(old.get("SeriesNumber") or 0)
    assert organs.SeriesNumber == first.SeriesNumber + 1
    # Free text of the scan is no patient's data; it would call a synthetic image by the name of the real one.
    assert first.SeriesDescription == "Synthetic CT (not for diagnosis)"
    assert first.ReferencedSeriesSequence[0].SeriesInstanceUID == old.SeriesInstanceUID


def test_uids_that_an_anonymiser_scattered_are_not_taken_from_one_slice(tmp_path):
    # Every slice has its own study, series and (here) no frame of reference.
    write_series(tmp_path / "in", body()[0], modality="MR")
    for path in (tmp_path / "in").iterdir():
        edit(path, lambda dataset: dataset.walk(lambda *_: None))
    translation = made(read_dicom_series(tmp_path / "in"))
    write_translated(translation, tmp_path / "out", source=tmp_path / "in", keep_identity=True)
    old, new = headers(tmp_path / "in"), headers(tmp_path / "out")
    assert len({one.StudyInstanceUID for one in new} | {one.FrameOfReferenceUID for one in new}) == 2
    assert not {one.StudyInstanceUID for one in new} & {one.StudyInstanceUID for one in old}


def test_uids_that_are_none_are_passed_on_without_a_word(tmp_path):
    source = a_series(tmp_path / "in", FrameOfReferenceUID="1.2." + "3" * 80)
    with quiet():
        edit(source / "i0.dcm", lambda dataset: put(dataset, SOPInstanceUID="slice-one"))
    write_translated(made(read_dicom_series(source)), tmp_path / "out", source=source)
    first = headers(tmp_path / "out")[0]
    with quiet():
        assert first.SourceImageSequence[0].ReferencedSOPInstanceUID == "slice-one"
    assert len(first.FrameOfReferenceUID) == 84


def test_lossy_compression_of_the_source_is_passed_on(tmp_path):
    source = a_series(tmp_path / "in", LossyImageCompression="01", LossyImageCompressionRatio="12.5")
    write_translated(made(read_dicom_series(source)), tmp_path / "out", source=source)
    first = headers(tmp_path / "out")[0]
    assert (first.LossyImageCompression, first.LossyImageCompressionRatio) == ("01", 12.5)


# Which series it came from.


def test_a_multi_frame_source_gives_its_places_and_frames(tmp_path):
    frames = enhanced(body()[0], modality="MR", order=[3, 0, 5, 1, 4, 2])
    frames.FrameOfReferenceUID = FRAME
    write_slice(tmp_path / "all.dcm", frames)
    translation = made(read_dicom_series(tmp_path / "all.dcm"))
    write_translated(translation, tmp_path / "out", source=tmp_path / "all.dcm")
    after = headers(tmp_path / "out")
    assert [one.SourceImageSequence[0].ReferencedFrameNumber for one in after] == [2, 4, 6, 1, 5, 3]
    assert {one.FrameOfReferenceUID for one in after} == {FRAME}
    np.testing.assert_allclose(read_dicom_series(tmp_path / "out").affine, translation.image.affine, atol=1e-3)


def test_the_series_of_a_mixed_folder_is_found_by_grid_and_values(tmp_path):
    stored = body()[0]
    for number, echo in ((1, 2.3), (2, 4.6)):
        names = [f"{number}-{index}.dcm" for index in range(6)]
        change = {"SeriesNumber": number, "EchoTime": echo}
        write_series(
            tmp_path / "in",
            stored + number,
            modality="MR",
            names=names,
            change=lambda d, _, more=change: put(d, **more),
        )
    volume = read_dicom_series(tmp_path / "in", echo_time=4.6)
    write_translated(made(volume), tmp_path / "out", source=tmp_path / "in")
    wanted = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "in").glob("2-*")}
    assert {one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in headers(tmp_path / "out")} == wanted


def test_series_at_the_same_positions_are_told_apart_too(tmp_path):
    for number in (1, 2):
        names = [f"{number}-{index}.dcm" for index in range(6)]
        write_series(
            tmp_path / "in",
            body()[0] + number,
            names=names,
            change=lambda d, _, number=number: setattr(d, "SeriesNumber", number),
        )
    volume = read_dicom_series(tmp_path / "in", series_number=2)
    write_translated(made(volume, "mr"), tmp_path / "out", source=tmp_path / "in")
    wanted = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "in").glob("2-*")}
    assert {one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in headers(tmp_path / "out")} == wanted


def test_a_slight_tilt_is_kept_position_by_position(tmp_path):
    source = a_series(tmp_path / "in")
    for index in range(6):
        place = [-10.5, -20.25 + 3 * index * np.tan(np.radians(0.4)), 100 + 3 * index]
        edit(
            source / f"i{index}.dcm", lambda d, at=place: setattr(d, "ImagePositionPatient", [round(x, 8) for x in at])
        )
    write_translated(made(read_dicom_series(source)), tmp_path / "out", source=source)
    for old, new in zip(headers(source), headers(tmp_path / "out"), strict=True):
        assert new.ImagePositionPatient == old.ImagePositionPatient


# What is refused; nothing is left behind.


def shifted(volume: Volume) -> Volume:
    affine = volume.affine.copy()
    affine[0, 3] += 0.01
    return replace(volume, affine=affine)


def test_another_source_is_refused(tmp_path):
    source = a_series(tmp_path / "in")
    volume = read_dicom_series(source)
    with pytest.raises(InputError, match="no series on the grid of the translated volume"):
        write_translated(made(shifted(volume)), tmp_path / "out", source=source)
    with pytest.raises(InputError, match="gone: nothing"):
        write_translated(made(volume), tmp_path / "out", source=tmp_path / "gone")
    moved = replace(made(volume), image=shifted(made(volume).image))
    with pytest.raises(InputError, match="another grid than its source"):
        write_translated(moved, tmp_path / "out", source=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_sheared_volume_is_refused_in_words(tmp_path):
    volume = read_dicom_series(a_series(tmp_path / "in"))
    for row, column, angle in ((1, 0, "16.7"), (1, 2, "0.2")):
        shear = np.eye(4)
        shear[row, column] = 0.3 if angle == "16.7" else 0.007
        tilted = replace(volume, affine=volume.affine @ shear)
        with pytest.raises(InputError, match=r"degrees off a right angle.*Resample"):
            write_translated(made(tilted), tmp_path / "out", source=None)
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    source = a_series(tmp_path / "in")
    translation = made(read_dicom_series(source))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match=r"full: a folder with something in it"):
        write_translated(translation, tmp_path / "full", source=source)
    written = []

    def full(self, path, **_):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        Path(path).write_bytes(b"x")

    monkeypatch.setattr("pydicom.dataset.Dataset.save_as", full)
    with pytest.raises(InputError, match="the disk is full"):
        write_translated(translation, tmp_path / "out", source=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "in"]


def test_identity_without_a_dicom_source_is_refused(tmp_path):
    translation = made(read_dicom_series(a_series(tmp_path / "in")))
    (tmp_path / "x.nii.gz").write_bytes(b"x")
    for source in (None, tmp_path / "x.nii.gz"):
        with pytest.raises(InputError, match="no DICOM source"):
            write_translated(translation, tmp_path / "out", source=source, keep_identity=True)
    write_translated(translation, tmp_path / "out", source=tmp_path / "x.nii.gz")
    assert "SourceImageSequence" not in headers(tmp_path / "out")[0]


def test_a_result_that_is_no_number_is_refused(tmp_path):
    translation = made(read_dicom_series(a_series(tmp_path / "in")))
    translation.image.voxels[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        write_translated(translation, tmp_path / "out", source=None)


def test_what_is_no_number_is_not_written(tmp_path):
    translation = made(read_dicom_series(a_series(tmp_path / "in")), "mr")
    translation.image.voxels[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="voxels that are NaN or infinite"):
        write_translated(translation, tmp_path / "out", source=tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_an_image_of_one_value_is_written(tmp_path):
    """Where no body was found."""
    translation = made(read_dicom_series(a_series(tmp_path / "in")), "mr")
    translation.image.voxels[:] = 2.0
    write_translated(translation, tmp_path / "out", source=tmp_path / "in")
    assert all((values(one) == 2).all() for one in headers(tmp_path / "out"))
