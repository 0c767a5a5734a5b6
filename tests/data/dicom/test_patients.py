"""Exports whose PatientIDs do not tell who is who: each folder is a patient, unless it looks like several."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from pydicom.dataset import Dataset

from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.people import who_is_who
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from tests.support.dicom import body, write_series


def export(folder: Path, patient: str, *, modality: str = "CT", echo: float = 70.0, **more: str) -> None:
    """One series with pixels of its own; `more` are attributes of its header."""

    def change(dataset: Dataset, index: int) -> None:
        own = "1.2." + str(crc32(f"{folder}".encode()))
        header = {"StudyInstanceUID": own, "FrameOfReferenceUID": own, "PatientID": patient, **more}
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        if modality == "MR":
            dataset.EchoTime = echo

    grain = np.random.default_rng(crc32(f"{folder}".encode())).integers(0, 20, body()[0].shape)
    pixels = body()[0] + grain
    write_series(folder, pixels.astype(np.uint16), modality=modality, change=change)


def by_modality(src: Path, patient: str) -> Path:
    """`CT/p0`, `CT/p1`, `MR/p0`, `MR/p1`."""
    for side in ("CT", "MR"):
        for who in ("p0", "p1"):
            export(src / side / who, patient, modality=side)
    return src


def patients(records: list[CaseRecord]) -> list[str]:
    return [record.patient for record in records]


@pytest.mark.parametrize("patient", ["", "ANON"])
def test_a_folder_of_several_people_is_refused_with_advice_that_works(tmp_path: Path, patient: str) -> None:
    src, store = by_modality(tmp_path / "src", patient), tmp_path / "store"
    wanted = r"several series of one kind \(CT\) in one folder: CT/p0 and CT/p1; no PatientID.*--patient NAME --append"
    with pytest.raises(InputError, match=wanted):
        prepare_dicom(src, store)
    assert not store.exists()
    for side in ("CT", "MR"):
        for who in ("p0", "p1"):
            prepare_dicom(src / side / who, store, patient=who, append=True)
    people = who_is_who([Store(store)])
    assert [case.patient for case in people.stores[0].cases] == ["p0", "p1", "p0", "p1"]


def test_sequences_in_folders_are_refused_too(tmp_path: Path) -> None:
    for name, echo in (("T1", 4.6), ("T2", 90.0)):
        for who in ("p0", "p1"):
            export(tmp_path / name / who, "", modality="MR", echo=echo)
    with pytest.raises(InputError, match=r"one kind \(MR\) in one folder: T1/p0 and T1/p1"):
        prepare_dicom(tmp_path, tmp_path / "store")


def test_a_folder_one_level_too_high_is_refused(tmp_path: Path) -> None:
    for who in ("p0", "p1"):
        export(tmp_path / "src" / "patients" / who / "CT", "")
    with pytest.raises(InputError, match=r"patients/p0/CT and patients/p1/CT.*Give SRC with one folder per patient"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert patients(prepare_dicom(tmp_path / "src" / "patients", tmp_path / "store")) == ["dicom-p001", "dicom-p002"]


def test_a_patients_folder_may_hold_ct_mr_and_several_sequences(tmp_path: Path) -> None:
    for who in ("p0", "p1"):
        export(tmp_path / who / "CT", "")
        for echo in (4.6, 90.0):
            export(tmp_path / who / f"te{echo}", "", modality="MR", echo=echo)
    assert patients(prepare_dicom(tmp_path, tmp_path / "store")) == ["dicom-p001"] * 3 + ["dicom-p002"] * 3
    assert who_is_who([Store(tmp_path / "store")]).decided


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_two_ct_of_one_study_are_of_one_patient(tmp_path: Path, keyword: str) -> None:
    for who in ("p0", "p1"):
        for phase in ("arterial", "venous"):
            export(tmp_path / who / phase, "", **{keyword: f"1.2.3.{who[1]}"})  # pyright: ignore[reportArgumentType]
    assert patients(prepare_dicom(tmp_path, tmp_path / "store")) == ["dicom-p001"] * 2 + ["dicom-p002"] * 2


def test_one_study_for_everybody_proves_nothing(tmp_path: Path) -> None:
    for side in ("CT", "MR"):
        for who in ("p0", "p1"):
            export(tmp_path / side / who, "", modality=side, StudyInstanceUID="1.2.3", FrameOfReferenceUID="")
    with pytest.raises(InputError, match="CT/p0 and CT/p1"):
        prepare_dicom(tmp_path, tmp_path / "store")


def test_folders_of_several_people_whose_ids_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One id for everybody: the warning leads past `--ignore-ids` alone, which would merge strangers."""
    src = by_modality(tmp_path / "src", "TRIAL7")
    prepare_dicom(src, tmp_path / "one")
    assert "one PatientID for everybody: CT, MR are taken as one patient" in caplog.text
    assert "folders one by one, with --ignore-ids --patient NAME --append" in caplog.text
    with pytest.raises(InputError, match=r"ids are ignored.*with --ignore-ids --patient NAME --append"):
        prepare_dicom(src, tmp_path / "two", ignore_ids=True)
    for side in ("CT", "MR"):
        for who in ("p0", "p1"):
            prepare_dicom(src / side / who, tmp_path / "two", patient=who, append=True, ignore_ids=True)
    assert patients(list(Store(tmp_path / "two").cases)) == ["p0", "p1", "p0", "p1"]


def test_one_id_below_one_folder_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for who in ("p0", "p1"):
        export(tmp_path / "export" / who, "TRIAL7")
    prepare_dicom(tmp_path, tmp_path / "store")
    assert "one PatientID for everybody: export/p0, export/p1 are taken as one patient" in caplog.text


def test_one_real_patient_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(tmp_path / "src" / "CT", "4711")
    export(tmp_path / "src" / "MR", "4711", modality="MR")
    with caplog.at_level("INFO"):
        assert set(patients(prepare_dicom(tmp_path / "src", tmp_path / "store"))) == {"dicom-p001"}
    assert "one patient, by PatientID: CT, MR" in caplog.text
    assert "--ignore-ids" not in caplog.text
    # Two CT of one study, too; and whoever names the patient has said it.
    caplog.clear()
    for phase in ("a", "b"):
        export(tmp_path / "phases" / phase, "4711", StudyInstanceUID="1.2.3")
        export(tmp_path / "years" / phase, "4711")
    prepare_dicom(tmp_path / "phases", tmp_path / "phases-store")
    prepare_dicom(tmp_path / "years", tmp_path / "years-store", patient="P7")
    assert "everybody" not in caplog.text


def test_an_id_of_all_that_have_one_is_not_everybodys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, patient in (("a", "TRIAL7"), ("b", ""), ("c", "TRIAL7")):
        export(tmp_path / folder, patient)
    prepare_dicom(tmp_path, tmp_path / "store")
    assert "one PatientID for all that have one: a, c are taken as one patient" in caplog.text
    assert "everybody" not in caplog.text


def test_slices_without_id_among_others(tmp_path: Path) -> None:
    def some(dataset: Dataset, index: int) -> None:
        dataset.PatientID = ("x1", "", "ANON")[index % 3]

    write_series(tmp_path / "some", body()[0], change=some)
    with pytest.raises(InputError, match=r"slices without a PatientID \(4 of 6\) among slices with one"):
        prepare_dicom(tmp_path / "some", tmp_path / "store")

    def none(dataset: Dataset, index: int) -> None:
        dataset.PatientID = ("", "ANON")[index % 2]

    write_series(tmp_path / "none", body()[0], change=none)
    assert patients(prepare_dicom(tmp_path / "none", tmp_path / "store")) == ["dicom-p001"]


def test_a_name_for_the_patient_is_trimmed_or_refused_as_such(tmp_path: Path) -> None:
    export(tmp_path / "src", "4711")
    (record,) = prepare_dicom(tmp_path / "src", tmp_path / "store", patient=" P0 ")
    assert record.patient == "P0"
    for wrong, suggested in (("P 0", "P_0"), ("-Müller", "M_ller"), ("  ", "P1")):
        with pytest.raises(InputError, match=rf"--patient: .*Give for instance --patient {suggested}\."):
            prepare_dicom(tmp_path / "src", tmp_path / "other", patient=wrong)


def test_folders_of_ct_and_of_mr_are_asked_about_and_can_be_named(tmp_path: Path) -> None:
    """`p0_CT`, `p0_MR`, `p1_CT`, `p1_MR` without ids, in one store."""
    for who in ("p0", "p1"):
        for side in ("CT", "MR"):
            export(tmp_path / "src" / f"{who}_{side}", "", modality=side)
    flat, named = tmp_path / "flat", tmp_path / "named"
    prepare_dicom(tmp_path / "src", flat)
    with pytest.raises(InputError, match=r"dicom-p001 \(CT alone\) and dicom-p002 \(MR alone\).*--patient NAME"):
        who_is_who([Store(flat)])
    for who in ("p0", "p1"):
        for side in ("CT", "MR"):
            prepare_dicom(tmp_path / "src" / f"{who}_{side}", named, patient=who, append=True)
    people = who_is_who([Store(named)])
    assert [case.patient for case in people.stores[0].cases] == ["p0", "p0", "p1", "p1"]
