import pytest

from crossmod.errors import InputError
from crossmod.inference.inputs import check_same_frame
from tests.support.dicom import body, enhanced, write_series, write_slice

FRAME, OTHER_FRAME = "1.2.3.19641212", "1.2.3.19641213"


def series(folder, patient="ID-4711-XYZ", frame: str | None = FRAME):
    def change(dataset, index):
        dataset.PatientID = patient
        if frame is not None:
            dataset.FrameOfReferenceUID = frame.format(index)

    write_series(folder, body()[0][:3], change=change)
    return folder


def test_one_patient_in_one_frame_is_let_through(tmp_path):
    paths = [series(tmp_path / name) for name in "abc"]
    check_same_frame(paths)
    check_same_frame(paths[:1])
    check_same_frame([])


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"patient": "ID-4712"}, "two patients: their PatientID differ"),
        ({"frame": OTHER_FRAME}, "two frames of reference"),
    ],
)
def test_other_patients_and_frames_are_refused_without_naming_them(tmp_path, other, found):
    # One between them that knows nothing hides no difference.
    paths = [series(tmp_path / "a"), series(tmp_path / "b", "", None), series(tmp_path / "c", **other)]
    check_same_frame(paths[:2])
    with pytest.raises(InputError, match=found) as caught:
        check_same_frame(paths)
    message = str(caught.value)
    assert message.startswith(f"{paths[0]} and {paths[2]}: ")
    assert not [secret for secret in ("4711", "4712", "1.2.3") if secret in message]


def test_a_frame_for_each_slice_says_nothing(tmp_path):
    check_same_frame([series(tmp_path / "a", frame="1.2.{}"), series(tmp_path / "b", frame="1.3.{}")])


def test_two_patients_in_one_folder(tmp_path):
    write_series(tmp_path / "a", body()[0][:2], change=lambda d, i: setattr(d, "PatientID", str(i)))
    with pytest.raises(InputError, match="slices of 2 patients"):
        check_same_frame([tmp_path / "a"])


def test_multi_frame_files_are_judged_and_other_files_are_not(tmp_path):
    frames = enhanced(body()[0])
    frames.PatientID = "other"
    write_slice(tmp_path / "all.dcm", frames)
    (tmp_path / "x.nii.gz").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    first = series(tmp_path / "a")
    check_same_frame([first, tmp_path / "x.nii.gz", tmp_path / "empty", tmp_path / "none"])
    with pytest.raises(InputError, match="two patients"):
        check_same_frame([first, tmp_path / "all.dcm"])


def test_a_slice_shows_neither_patient_nor_frame(tmp_path):
    from crossmod.data.dicom.series import slices_in

    shown = repr(slices_in(series(tmp_path / "a"))[0])
    assert "4711" not in shown
    assert FRAME not in shown


def test_a_made_up_patient_says_nothing(tmp_path):
    """What was made of a scan lies in its frame of reference, under a number that nobody has."""
    check_same_frame([series(tmp_path / "a"), series(tmp_path / "b", patient="crossmod-0123456789abcdef")])
