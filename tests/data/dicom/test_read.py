import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless, generate_uid

from crossmod.data.dicom.series import check_uniform, list_series, read_dicom_series
from tests.support.dicom import SECRETS, body, enhanced, frame_groups, item, write_series, write_slice
from tests.support.dicom_series import raises


@pytest.fixture
def stored():
    return body()[0]


def write(path, dataset):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_slice(path, dataset)
    return path


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_multi_frame_file_reads_as_the_same_slices_in_single_files(tmp_path, stored, modality):
    write_series(tmp_path / "single", stored, modality=modality)
    frames = enhanced(stored, modality=modality, order=[3, 0, 5, 1, 4, 2])
    path = write(tmp_path / "multi" / "all.dcm", frames)
    single = read_dicom_series(tmp_path / "single")
    for given in (path, path.parent):
        volume = read_dicom_series(given, modality=single.modality)
        np.testing.assert_array_equal(volume.voxels, single.voxels)
        np.testing.assert_allclose(volume.affine, single.affine)
        assert volume.orientation == single.orientation
        assert not [secret for secret in SECRETS if secret in str(volume.acquisition)]
    assert volume.acquisition.get("EchoTime") == single.acquisition.get("EchoTime")
    assert volume.acquisition["PixelSpacing"] == [0.75, 1.5]


def test_groups_may_be_shared_and_each_frame_may_have_its_own_rescale(tmp_path, stored):
    frames = enhanced(stored)
    shared = frames.SharedFunctionalGroupsSequence[0]
    for index, groups in enumerate(frames.PerFrameFunctionalGroupsSequence):
        shared.PlaneOrientationSequence = groups.PlaneOrientationSequence
        del groups.PlaneOrientationSequence
        groups.PixelValueTransformationSequence[0].RescaleIntercept = -1000 + index
    volume = read_dicom_series(write(tmp_path / "all.dcm", frames))
    own = np.arange(len(stored))[:, None, None]
    np.testing.assert_array_equal(volume.voxels, stored.astype(np.int32) - 1000 + own)


def test_compressed_frames_are_read(tmp_path, stored):
    path = write(tmp_path / "all.dcm", enhanced(stored, order=[5, 4, 3, 2, 1, 0]))
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom_series(path).voxels, stored.astype(np.int32) - 1000)


def test_what_highdicom_converts_from_single_slices_is_read(tmp_path, stored):
    highdicom = pytest.importorskip("highdicom", reason="needs highdicom: pip install 'crossmod[seg]'")
    series, study, frame = generate_uid(), generate_uid(), generate_uid()

    def complete(dataset, index):
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, study, frame
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber, dataset.AcquisitionNumber, dataset.SeriesNumber = index + 1, 1, 1
        dataset.PatientPosition, dataset.BurnedInAnnotation = "HFS", "NO"
        for empty in ("PatientSex", "StudyTime", "StudyID", "AccessionNumber", "Manufacturer"):
            setattr(dataset, empty, "")
        dataset.ReferringPhysicianName = dataset.PatientName = "A^B"
        dataset.PositionReferenceIndicator = ""

    paths = write_series(tmp_path / "single", stored, change=complete)
    converted = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        [pydicom.dcmread(path) for path in paths], generate_uid(), 2, generate_uid(), 1
    )
    (tmp_path / "multi").mkdir()
    converted.save_as(tmp_path / "multi" / "all.dcm")
    single, multi = read_dicom_series(tmp_path / "single"), read_dicom_series(tmp_path / "multi")
    np.testing.assert_array_equal(multi.voxels, single.voxels)
    np.testing.assert_allclose(multi.affine, single.affine)


def test_echoes_in_one_file_are_chosen_by_their_time(tmp_path, stored):
    frames = enhanced(stored, modality="MR")
    for index, groups in enumerate(frames.PerFrameFunctionalGroupsSequence):
        groups.MREchoSequence[0].EffectiveEchoTime = 2.3 if index % 2 else 4.6
    path = write(tmp_path / "all.dcm", frames)
    with raises(path, "2 series with echo times 4.6, 2.3 ms"):
        read_dicom_series(path)
    np.testing.assert_array_equal(read_dicom_series(path, echo_time=2.3).voxels, stored[1::2])


def test_several_multi_frame_files_in_a_folder_are_series_of_their_own(tmp_path, stored):
    write(tmp_path / "a.dcm", enhanced(stored))
    write(tmp_path / "b.dcm", enhanced(stored + 1))
    with raises(tmp_path, "2 series", "in a.dcm", "in b.dcm"):
        read_dicom_series(tmp_path)
    found = list_series(tmp_path)
    assert [len(series.slices) for series in found] == [6, 6]
    check_uniform(found)
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "b.dcm").voxels, stored.astype(np.int32) - 999)


def test_contrast_agent_of_an_enhanced_file_is_known(tmp_path, stored):
    frames = enhanced(stored)
    route = item(CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous route")
    agent = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="Iohexol")
    agent.ContrastBolusAdministrationRouteSequence = [route]
    frames.ContrastBolusAgentSequence = [agent]
    assert read_dicom_series(write(tmp_path / "a.dcm", frames)).contrast is True
    route.CodeMeaning = "Oral"
    assert read_dicom_series(write(tmp_path / "b.dcm", frames)).contrast is None


def test_scout_frames_of_a_file_are_left_out(tmp_path, stored):
    frames = enhanced(stored)
    kind = frames.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0]
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    volume = read_dicom_series(write(tmp_path / "all.dcm", frames))
    np.testing.assert_array_equal(volume.voxels, stored[1:].astype(np.int32) - 1000)
    assert volume.notes == ("1 scout view left out",)


def remove_a_group(frames):
    del frames.PerFrameFunctionalGroupsSequence[-1]


def remove_a_place(frames):
    del frames.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def remove_a_rescale(frames):
    del frames.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence


def double_a_place(frames):
    frames.PerFrameFunctionalGroupsSequence[3] = frame_groups(2)


def move_the_end(frames):
    frames.PerFrameFunctionalGroupsSequence[5] = frame_groups(6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove_a_group, ("6 frames and functional groups for 5",)),
        (remove_a_place, ("no ImagePositionPatient",)),
        (remove_a_rescale, ("no RescaleSlope",)),
        (double_a_place, ("1 position held twice", "all.dcm, frame 3 and all.dcm, frame 4")),
        (move_the_end, ("1 missing slice", "all.dcm, frame 5", "all.dcm, frame 6")),
        (lambda frames: setattr(frames, "PixelData", frames.PixelData[:1000]), ("pixel data that cannot be read",)),
    ],
)
def test_what_is_wrong_with_a_multi_frame_file_is_named(tmp_path, stored, change, words):
    frames = enhanced(stored)
    change(frames)
    path = write(tmp_path / "all.dcm", frames)
    with raises("all.dcm", *words):
        read_dicom_series(path)


def test_a_multi_frame_file_cut_anywhere_is_an_error_and_never_a_crash(tmp_path, stored):
    path = write(tmp_path / "all.dcm", enhanced(stored[:3]))
    whole = path.read_bytes()
    for keep in range(200, len(whole) - 1, 37):
        path.write_bytes(whole[:keep])
        with raises("all.dcm"):
            read_dicom_series(path)


def test_one_slice_of_a_series_is_not_a_volume(tmp_path, stored):
    path = write_series(tmp_path, stored)[0]
    with raises("i0.dcm: one slice of a series", "Give the folder"):
        read_dicom_series(path)
