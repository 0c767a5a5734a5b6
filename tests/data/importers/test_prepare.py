import json
import re

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.importers.nifti import prepare_nifti
from crossmod.data.nifti import write_nifti
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Volume, take_slices
from crossmod.errors import InputError
from tests.support.dicom import body, chaos_ct, chaos_mr, edit, write_series
from tests.support.prepared import assert_no_identity, save_case
from tests.support.whole_body import whole_body


@pytest.fixture
def nifti_root(tmp_path, rng):
    root = tmp_path / "hospital"
    for case in ("1", "2", "10"):
        values = rng.integers(0, 100, (4, 5, 6)).astype(np.int16)
        save_case(root / case, values, (values > 50).astype(np.uint8) if case != "10" else None)
    (root / "labels.json").write_text('{"labels": {"background": 0, "liver": 1}}')
    return root


# CHAOS


def test_chaos_becomes_a_store_of_pseudonyms(tmp_path):
    chaos_ct(tmp_path / "src" / "Train_Sets", "1")
    chaos_mr(tmp_path / "src" / "Train_Sets", "1")
    records = prepare_chaos(tmp_path / "src", tmp_path / "store")
    store = Store(tmp_path / "store")
    assert list(store.cases) == records
    seen = [(case.id, case.patient, case.modality, case.sequence) for case in store.cases]
    assert seen == [
        ("chaos-ct-1", "chaos-ct-1", "ct", None),
        ("chaos-mr-1-t1_in", "chaos-mr-1", "mr", "t1_in"),
        ("chaos-mr-1-t1_out", "chaos-mr-1", "mr", "t1_out"),
        ("chaos-mr-1-t2_spir", "chaos-mr-1", "mr", "t2_spir"),
    ]
    assert store.cases[0].slices_with == {"liver": 3}
    assert store.read("chaos-ct-1").unit == "HU"
    assert_no_identity(tmp_path / "store", str(tmp_path), "DICOM_anon")


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({"only": ["1"]}, ["ct-1", "mr-1-t1_in", "mr-1-t1_out", "mr-1-t2_spir"]),
        ({"only": ["chaos-mr-1"], "sequences": ["t2_spir"]}, ["mr-1-t2_spir"]),
        ({"sequences": ["t2_spir", "ct"], "exclude": ["2"]}, ["ct-1", "mr-1-t2_spir"]),
        ({"exclude": ["chaos-mr-1", "chaos-ct-1"]}, ["ct-2"]),
        ({"exclude": ["chaos-mr-1-t1_in", "2"], "only": ["chaos-mr-1"]}, ["mr-1-t1_out", "mr-1-t2_spir"]),
    ],
)
def test_what_to_take_of_chaos(tmp_path, arguments, ids):
    chaos_ct(tmp_path / "src", "1")
    chaos_ct(tmp_path / "src", "2")
    chaos_mr(tmp_path / "src", "1")
    records = prepare_chaos(tmp_path / "src", tmp_path / "store", **arguments)
    assert [record.id for record in records] == [f"chaos-{one}" for one in ids]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": ["7"]}, "--only 7: no such case.*chaos-ct-1"),
        ({"exclude": ["7"]}, "--exclude 7: no such case"),
        ({"exclude": ["1"]}, "src: no case that is left"),
        ({"sequences": ["flair"]}, "--sequences: flair. Expected: ct, t1_in, t1_out, t2_spir"),
    ],
)
def test_wrong_choices_are_named_and_leave_nothing(tmp_path, arguments, words):
    chaos_ct(tmp_path / "src", "1")
    with pytest.raises(InputError, match=words):
        prepare_chaos(tmp_path / "src", tmp_path / "store", **arguments)
    assert not (tmp_path / "store").exists()


def test_a_failure_in_the_second_case_leaves_no_store(tmp_path):
    chaos_ct(tmp_path / "src", "1")
    chaos_ct(tmp_path / "src", "2")
    next((tmp_path / "src" / "CT" / "2" / "Ground").iterdir()).unlink()
    with pytest.raises(InputError, match="CT/2/Ground: 5 masks for 6 slices"):
        prepare_chaos(tmp_path / "src", tmp_path / "store")
    assert not (tmp_path / "store").exists()


# DICOM


def test_dicom_patients_are_told_apart_by_their_ids_and_named_by_number(tmp_path):
    src, stored = tmp_path / "export", body()[0]
    for folder, patient in (("a/1", "P-ONE"), ("a/2", "P-TWO"), ("b/1", "P-ONE")):
        for path in write_series(src / folder, stored):
            edit(path, lambda dataset, patient=patient: setattr(dataset, "PatientID", patient))
    records = prepare_dicom(src, tmp_path / "store", name="study")
    assert [(record.id, record.patient) for record in records] == [
        ("study-p001-ct", "study-p001"),
        ("study-p002-ct", "study-p002"),
        ("study-p001-ct-2", "study-p001"),
    ]
    assert_no_identity(tmp_path / "store", "P-ONE", "P-TWO", str(tmp_path))
    np.testing.assert_array_equal(Store(tmp_path / "store").read("study-p001-ct").voxels, stored.astype(int) - 1000)


def test_without_ids_each_folder_is_a_patient(tmp_path, caplog):
    for folder, modality in (("x/1", "CT"), ("x/2", "MR"), ("y", "CT")):
        for path in write_series(tmp_path / "export" / folder, body()[0], modality=modality):
            edit(path, lambda dataset: setattr(dataset, "PatientID", ""))
    records = prepare_dicom(tmp_path / "export", tmp_path / "store")
    assert [record.patient for record in records] == ["dicom-p001", "dicom-p001", "dicom-p002"]
    assert "without a patient id" in caplog.text


def test_one_patient_can_be_named_and_a_sequence_too(tmp_path):
    write_series(tmp_path / "export", body()[0], modality="MR")
    (record,) = prepare_dicom(tmp_path / "export", tmp_path / "store", patient="anna", sequence="t2_spir")
    assert (record.id, record.patient, record.sequence) == ("anna-mr-t2_spir", "anna", "t2_spir")


def test_a_folder_named_after_the_patient_leaves_no_name(tmp_path):
    write_series(tmp_path / "Mueller_Hans" / "series", body()[0])
    prepare_dicom(tmp_path / "Mueller_Hans", tmp_path / "store")
    assert_no_identity(tmp_path / "store", "Mueller")


def test_series_of_several_echo_times_are_told_apart(tmp_path):
    for folder, echo in (("t1", 4.6), ("t2", 80.0)):
        for path in write_series(tmp_path / "export" / folder, body()[0], modality="MR"):
            edit(path, lambda dataset, echo=echo: setattr(dataset, "EchoTime", echo))
    records = prepare_dicom(tmp_path / "export", tmp_path / "store")
    assert [(record.id, record.sequence) for record in records] == [
        ("dicom-p001-mr-te4.6", "te4.6"), ("dicom-p001-mr-te80", "te80"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="mr of several sequences"):
        Store(tmp_path / "store").select("mr")


def test_scout_views_are_left_out(tmp_path, caplog):
    def scout(dataset, _):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path / "src" / "scout", body()[0][:1], change=scout)
    with pytest.raises(InputError, match="src: only scout views"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")
    write_series(tmp_path / "src" / "ct", body()[0])
    assert len(prepare_dicom(tmp_path / "src", tmp_path / "store")) == 1
    assert "left out 1 series of scout views" in caplog.text


def test_an_odd_slice_is_no_case_of_its_own(tmp_path):
    path = write_series(tmp_path / "src", body()[0])[5]
    edit(path, lambda dataset: setattr(dataset, "PixelSpacing", [0.7, 1.5]))
    with pytest.raises(InputError, match=r"src: slices of several sizes or directions .*i5\.dcm"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_patients_mixed_in_one_folder_are_refused(tmp_path):
    edit(write_series(tmp_path / "src", body()[0])[2], lambda dataset: setattr(dataset, "PatientID", "other"))
    with pytest.raises(InputError, match="src: slices of 2 patients"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")


# NIfTI


def test_nifti_cases_in_folders(tmp_path, nifti_root):
    records = prepare_nifti(nifti_root, tmp_path / "store", modality="mr", sequence="t2_spir")
    assert [(record.id, record.patient, bool(record.labels)) for record in records] == [
        ("hospital-1-t2_spir", "hospital-1", True),
        ("hospital-2-t2_spir", "hospital-2", True),
        ("hospital-10-t2_spir", "hospital-10", False),
    ]
    assert records[0].labels == {1: "liver"}
    assert records[0].spacing == (3.0, 2.0, 1.0)
    assert_no_identity(tmp_path / "store", str(nifti_root))


def test_case_names_can_be_numbered_and_chosen(tmp_path, nifti_root):
    (nifti_root / "1").rename(nifti_root / "Musterfrau")
    records = prepare_nifti(
        nifti_root, tmp_path / "store", modality="ct", name="site", number_patients=True, exclude=["2"]
    )
    assert [record.id for record in records] == ["site-p001", "site-p003"]
    assert_no_identity(tmp_path / "store", "hospital")
    only = prepare_nifti(nifti_root, tmp_path / "other", modality="ct", only=["hospital-2"])
    assert [record.id for record in only] == ["hospital-2"]
    with pytest.raises(InputError, match="--only 99"):
        prepare_nifti(nifti_root, tmp_path / "third", modality="ct", only=["99"])
    with pytest.raises(InputError, match="patient site-p001 already"):
        prepare_nifti(nifti_root, tmp_path / "store", modality="ct", name="site", number_patients=True, append=True)


def test_flat_folders_by_pattern(tmp_path, rng):
    root, values = tmp_path / "flat", rng.integers(0, 100, (4, 5, 6)).astype(np.int16)
    for case in ("liver_2", "liver_10"):
        save_case(root / "imagesTr", values, image=f"{case}_0000.nii.gz")
        save_case(root / "labelsTr", (values > 50).astype(np.int16), image=f"{case}.nii.gz")
    (root / "names.json").write_text(json.dumps({"liver": 1}))
    records = prepare_nifti(
        root,
        tmp_path / "store",
        modality="ct",
        image="imagesTr/{case}_0000.nii.gz",
        label="labelsTr/{case}.nii.gz",
        labels_json=root / "names.json",
    )
    assert [(record.id, record.labels) for record in records] == [
        ("flat-liver_2", {1: "liver"}),
        ("flat-liver_10", {1: "liver"}),
    ]


def test_two_sequences_of_a_patient_in_one_store(tmp_path, nifti_root):
    for sequence in ("t1_in", "t2_spir"):
        prepare_nifti(nifti_root, tmp_path / "store", modality="mr", sequence=sequence, append=True)
    cases = Store(tmp_path / "store").cases
    assert (len(cases), len({case.patient for case in cases})) == (6, 3)


def test_labels_can_be_left_out_and_must_have_names(tmp_path, nifti_root):
    records = prepare_nifti(nifti_root, tmp_path / "store", modality="mr", label=None)
    assert not any(bool(record.labels) for record in records)
    (nifti_root / "labels.json").unlink()
    with pytest.raises(InputError, match=r"1/label\.nii\.gz: label value without a name: 1.*labels\.json"):
        prepare_nifti(nifti_root, tmp_path / "other", modality="mr")
    with pytest.raises(InputError, match=r"nowhere\.json: no such file"):
        prepare_nifti(nifti_root, tmp_path / "other", modality="mr", labels_json=tmp_path / "nowhere.json")
    assert not (tmp_path / "other").exists()


def test_a_label_file_of_a_name_that_no_case_has_is_refused(tmp_path, nifti_root, caplog):
    for label, pattern in (("labels.nii.gz", r"\{case\}/labels\.nii\.gz"), ("{case}_x.nii", r"\{case\}_x\.nii")):
        with pytest.raises(InputError, match=rf"hospital: no file {pattern} for any case.*--label"):
            prepare_nifti(nifti_root, tmp_path / "store", modality="mr", label=label)
    assert not (tmp_path / "store").exists()
    assert caplog.text == ""


def test_cases_without_a_label_file_are_counted_and_named(tmp_path, nifti_root, caplog):
    prepare_nifti(nifti_root, tmp_path / "one", modality="mr")
    assert "1 of 3 cases without a label file {case}/label.nii.gz: 10" in caplog.text
    caplog.clear()
    prepare_nifti(nifti_root, tmp_path / "none", modality="mr", exclude=["10"])
    prepare_nifti(nifti_root, tmp_path / "unwanted", modality="mr", label=None)
    assert caplog.text == ""
    for case in range(3, 9):
        save_case(nifti_root / str(case), np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    prepare_nifti(nifti_root, tmp_path / "many", modality="mr")
    assert "7 of 9 cases without a label file {case}/label.nii.gz: 3, 4, 5, 6 and 3 more" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("pair", [("a b", "a_b"), ("\u674e", "\u738b")])
def test_folders_that_would_become_one_patient_are_refused(tmp_path, pair):
    for name in pair:
        save_case(tmp_path / "src" / name, np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    with pytest.raises(InputError, match="--number-patients") as caught:
        prepare_nifti(tmp_path / "src", tmp_path / "store", modality="mr")
    assert all(repr(name) in str(caught.value) for name in pair)
    assert not (tmp_path / "store").exists()
    assert len(prepare_nifti(tmp_path / "src", tmp_path / "store", modality="mr", number_patients=True)) == 2


def test_long_lists_of_cases_say_how_many_more(tmp_path):
    for case in range(15):
        save_case(tmp_path / "src" / str(case), np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    with pytest.raises(InputError, match=r"--only x: no such case.* src-11 and 18 more\."):
        prepare_nifti(tmp_path / "src", tmp_path / "store", modality="mr", only=["x"])


def test_folders_that_hold_no_nifti_cases(tmp_path):
    with pytest.raises(InputError, match="none: no such folder"):
        prepare_nifti(tmp_path / "none", tmp_path / "store", modality="mr")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.nii.gz").write_text("x")
    with pytest.raises(InputError, match=r"src: a\.nii\.gz\. Expected: files \{case\}/image\.nii\.gz.*--image"):
        prepare_nifti(tmp_path / "src", tmp_path / "store", modality="mr")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "modality"), [("mr_chaos_t2spir", "mr"), ("ct_btcv", "ct")])
def test_real_folders_of_nifti(name, modality, real_folder, tmp_path):
    """Patients, slices and slices with liver are as many as NiBabel finds in the files themselves."""
    root = real_folder(name)
    liver = json.loads((root / "labels.json").read_text(encoding="utf-8"))["labels"]["liver"]
    found = {}
    for path in root.glob("*/label.nii.gz"):
        loaded = Nifti1Image.from_filename(path)
        labels, across = np.asarray(loaded.dataobj), int(np.argmax(np.abs(np.asarray(loaded.affine)[2, :3])))
        with_liver = (labels == liver).any(axis=tuple(axis for axis in range(3) if axis != across))
        found[path.parent.name] = (labels.shape[across], int(with_liver.sum()))
    assert found
    records = prepare_nifti(root, tmp_path / "store", modality=modality, name="real")
    assert {record.id: (record.shape[0], record.slices_with["liver"]) for record in records} == {
        f"real-{case}": counts for case, counts in found.items()
    }
    assert len({record.patient for record in records}) == len(found)
    Store(tmp_path / "store").verify()


@pytest.mark.real_data
def test_real_folders_of_dicom(real_folder, tmp_path):
    root = real_folder("chaos_ct_dicom")
    slices = {f"chaos-ct-{case.name}": len(list((case / "DICOM_anon").iterdir())) for case in (root / "CT").iterdir()}
    masks = {f"chaos-ct-{case.name}": with_liver(case / "Ground") for case in (root / "CT").iterdir()}
    records = prepare_chaos(root, tmp_path / "store")
    assert {record.id: record.shape[0] for record in records} == slices
    assert {record.id: record.slices_with for record in records} == {
        id: {"liver": count} for id, count in masks.items()
    }
    assert_no_identity(tmp_path / "store", "CHAOS^CT_SET", "154110")


def with_liver(folder):
    return sum(bool(np.asarray(Image.open(path)).any()) for path in folder.iterdir())


@pytest.mark.real_data
def test_real_t1_and_t2_of_the_same_patients(real_folder, tmp_path):
    root = real_folder("mr_chaos_t1_t2")
    for sequence, image, label in (("t1_in", "t1", "label_t1"), ("t2_spir", "t2_spir", "label_t2")):
        prepare_nifti(
            root,
            tmp_path / "store",
            modality="mr",
            image=f"{image}.nii.gz",
            label=f"{label}.nii.gz",
            sequence=sequence,
            append=True,
        )
    cases, patients = Store(tmp_path / "store").cases, len(list(root.glob("*/t1.nii.gz")))
    assert patients > 0
    assert (len(cases), len({case.patient for case in cases})) == (2 * patients, patients)
    assert {case.sequence: len(case.labels) for case in cases} == {"t1_in": 1, "t2_spir": 4}


def test_crop_cuts_what_is_longer_than_an_abdomen(tmp_path):
    whole = whole_body(0, step=10.0)
    write_nifti(whole, tmp_path / "src" / "1" / "image.nii.gz", labels_path=tmp_path / "src" / "1" / "label.nii.gz")
    names = {name: value for value, name in whole.label_names.items()}
    (tmp_path / "src" / "labels.json").write_text(json.dumps(names))
    (plain,) = prepare_nifti(tmp_path / "src", tmp_path / "plain", modality="ct")
    (cut,) = prepare_nifti(tmp_path / "src", tmp_path / "cut", modality="ct", crop="abdomen")
    assert plain.shape[0] == len(whole.voxels)
    assert 20 <= cut.shape[0] <= 26
    assert cut.slices_with == plain.slices_with
    assert any("cut to the abdomen" in note for note in cut.notes)
    assert Store(tmp_path / "cut").read(cut.id).affine[2, 3] == whole.affine[2, 3] + 10 * first_slice(cut)
    (tmp_path / "src" / "1" / "label.nii.gz").unlink()
    write_nifti(part_of(whole, 0, 20), tmp_path / "src" / "1" / "image.nii.gz")
    with pytest.raises(InputError, match=r"1/image\.nii\.gz: legs\. Expected: a CT that shows the abdomen"):
        prepare_nifti(tmp_path / "src", tmp_path / "legs", modality="ct", crop="abdomen")
    assert not (tmp_path / "legs").exists()


def first_slice(record: CaseRecord) -> int:
    """Index of the first slice that was kept, out of the note, which counts from 1."""
    found = re.search(r"slices (\d+) to", record.notes[0])
    assert found is not None
    return int(found[1]) - 1


def part_of(volume: Volume, first: int, stop: int) -> Volume:
    return take_slices(volume, range(first, stop))


def test_crop_names_the_folder_of_a_series_that_shows_no_abdomen(tmp_path):
    # The made-up slices are 16 pixels of noise: nothing in them is a body.
    write_series(tmp_path / "export", body()[0])
    with pytest.raises(InputError, match=r"export: .*shows the abdomen"):
        prepare_dicom(tmp_path / "export", tmp_path / "store", crop="abdomen")
    chaos_ct(tmp_path / "src", "1")
    with pytest.raises(InputError, match=r"src/CT/1: .*shows the abdomen"):
        prepare_chaos(tmp_path / "src", tmp_path / "store", crop="abdomen")
    assert not (tmp_path / "store").exists()
