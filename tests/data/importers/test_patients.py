"""Which patient a scan belongs to: by the hash of its PatientID in DICOM, by the case's name in NIfTI."""

import hashlib
import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from pydicom.dataset import Dataset
from rich.console import Console

from crossmod.config import Modality
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.importers.nifti import prepare_nifti
from crossmod.data.patient_key import VARIABLE, patient_key
from crossmod.data.people import who_is_who
from crossmod.data.store import MANIFEST, CaseRecord, Store
from crossmod.errors import InputError
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.report.info import describe_data as describe
from tests.support.dicom import body, chaos_ct, chaos_mr, edit, write_series
from tests.support.prepared import assert_no_identity, everything_in, save_case


def export(folder: Path, patient: str, *, modality: str = "MR", echo: float = 70.0, **more: str) -> None:
    """One series, with pixels of its own; `more` are attributes of its header."""

    def change(dataset: Dataset, index: int) -> None:
        dataset.PatientID = patient
        if modality == "MR":
            dataset.EchoTime = echo
        for keyword, value in more.items():
            setattr(dataset, keyword, value)

    grain = np.random.default_rng(crc32(f"{folder}".encode())).integers(0, 20, body()[0].shape)
    pixels = body()[0] + grain
    write_series(folder, pixels.astype(np.uint16), modality=modality, change=change)


def patients(records: list[CaseRecord]) -> list[str]:
    return [record.patient for record in records]


def test_a_store_keeps_a_keyed_hash_and_nothing_else_of_an_id(tmp_path: Path) -> None:
    export(tmp_path / "src" / "a", "ID-4711-XYZ ")
    (record,) = prepare_dicom(tmp_path / "src", tmp_path / "store")
    key = patient_key()
    assert record.person == (f"id:{key.fingerprint}:{key.hash('ID-4711-XYZ')}",)
    assert_no_identity(tmp_path / "store", "ID-4711", "id-4711", str(tmp_path), key.secret.hex())
    # Without the key nobody can test an id: its plain hashes are not in the store either.
    for text in (b"ID-4711-XYZ", b"id-4711-xyz", b"ID-4711-XYZ "):
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            assert hashlib.new(name, text).hexdigest().encode() not in everything_in(tmp_path / "store")


def test_two_calls_find_the_same_person(tmp_path: Path) -> None:
    """CT of A and B, MR of B and C; also where a scanner pads the id or writes it in small letters."""
    for who, name in (("A", "A"), ("B", "B")):
        export(tmp_path / "CT" / who, name, modality="CT")
    for who, name in (("B", " b "), ("C", "C")):
        export(tmp_path / "MR" / who, name)
    ct, mr = (prepare_dicom(tmp_path / side, tmp_path / side.lower()) for side in ("CT", "MR"))
    assert patients(ct) == patients(mr) == ["dicom-p001", "dicom-p002"]
    people = who_is_who([Store(tmp_path / "mr"), Store(tmp_path / "ct")])
    assert [case.patient for case in people.stores[1].cases] == ["ct/dicom-p001", "dicom-p001"]


def test_append_finds_patients_again_and_numbers_new_ones(tmp_path: Path) -> None:
    """T1 of A and B in one call; T2 of B and of C, who is new, in the next."""
    for sequence, members, echo in (("T1", "AB", 4.6), ("T2", "BC", 90.0)):
        for who in members:
            export(tmp_path / sequence / who, who, echo=echo)
    store = tmp_path / "store"
    prepare_dicom(tmp_path / "T1", store, sequence="t1")
    second = prepare_dicom(tmp_path / "T2", store, sequence="t2", append=True, name="another")
    assert patients(second) == ["dicom-p002", "another-p001"]
    third = tmp_path / "more"
    export(third / "x", "D", echo=30.0)
    assert patients(prepare_dicom(third, store, append=True)) == ["dicom-p003"]
    # Given again, it would count twice.
    before = everything_in(store)
    with pytest.raises(InputError, match="in the store already, as dicom-p002-mr-t2"):
        prepare_dicom(tmp_path / "T2", store, sequence="t2", append=True)
    assert everything_in(store) == before


def test_a_named_patient_is_checked_by_the_hash(tmp_path: Path) -> None:
    for who in "AB":
        export(tmp_path / who / "t1", who, echo=4.6)
    store = tmp_path / "store"
    prepare_dicom(tmp_path / "A", store, patient="anna", sequence="t1")
    with pytest.raises(InputError, match="anna already, whose PatientID is another one"):
        prepare_dicom(tmp_path / "B", store, patient="anna", sequence="t1", append=True)
    with pytest.raises(InputError, match=r"this patient already, by the name anna.*--patient anna"):
        prepare_dicom(tmp_path / "A", store, patient="berta", sequence="t2", append=True)
    with pytest.raises(InputError, match="series of 2 PatientIDs for --patient anna"):
        prepare_dicom(tmp_path, tmp_path / "other", patient="anna")
    (again,) = prepare_dicom(tmp_path / "A", store, patient="anna", sequence="t2", append=True)
    assert again.patient == "anna"


def test_without_ids_an_existing_number_is_refused_with_advice_that_works(tmp_path: Path) -> None:
    export(tmp_path / "t1" / "x", "", echo=4.6)
    export(tmp_path / "t2" / "x", "", echo=90.0)
    store = tmp_path / "store"
    prepare_dicom(tmp_path / "t1", store, sequence="t1")
    with pytest.raises(InputError, match=r"dicom-p001 already, who may be in the new series, too.*--patient"):
        prepare_dicom(tmp_path / "t2", store, sequence="t2", append=True)
    (record,) = prepare_dicom(tmp_path / "t2", store, sequence="t2", append=True, patient="dicom-p001")
    assert {case.patient for case in Store(store).cases} == {record.patient}


def test_another_key_cannot_match_and_says_which_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "a", "A")
    prepare_dicom(tmp_path / "a", tmp_path / "store")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other-key"))
    export(tmp_path / "b", "B")
    with pytest.raises(InputError, match=r"another patient key: set CROSSMOD_PATIENT_KEY"):
        prepare_dicom(tmp_path / "b", tmp_path / "store", append=True)


def test_an_earlier_store_is_not_added_to_by_guess(tmp_path: Path) -> None:
    export(tmp_path / "a", "A")
    prepare_dicom(tmp_path / "a", tmp_path / "store")
    content = json.loads((tmp_path / "store" / MANIFEST).read_text())
    for case in content["cases"]:
        del case["person"]
    (tmp_path / "store" / MANIFEST).write_text(json.dumps(content))
    assert Store(tmp_path / "store").cases[0].person == ()
    with pytest.raises(InputError, match="an earlier version wrote it: prepare it again"):
        prepare_dicom(tmp_path / "a", tmp_path / "store", append=True)


@pytest.mark.parametrize("patient", ["ANONYMOUS", "anonymized ", "0000", "XXXX", "Unknown"])
def test_what_anonymisers_write_is_no_id(tmp_path: Path, patient: str, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(3):
        export(tmp_path / "src" / f"case{k}", patient, modality="CT")
    records = prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert patients(records) == ["dicom-p001", "dicom-p002", "dicom-p003"]
    assert "without a patient id (the same placeholder as patient id)" in caplog.text
    # Numbers mean nothing in another store: commands ask.
    export(tmp_path / "mr" / "x", patient)
    prepare_dicom(tmp_path / "mr", tmp_path / "other")
    with pytest.raises(InputError, match="cannot be matched"):
        who_is_who([Store(tmp_path / "store"), Store(tmp_path / "other")])


def test_one_id_for_everybody_is_warned_of_and_can_be_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(3):
        export(tmp_path / "src" / f"case{k}", "TRIAL7", modality="CT")
    assert set(patients(prepare_dicom(tmp_path / "src", tmp_path / "store"))) == {"dicom-p001"}
    assert "one PatientID for everybody: case0, case1, case2 are taken as one patient" in caplog.text
    assert "--ignore-ids" in caplog.text
    records = prepare_dicom(tmp_path / "src", tmp_path / "apart", ignore_ids=True)
    assert patients(records) == ["dicom-p001", "dicom-p002", "dicom-p003"]


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ({"PatientSex": "M"}, {"PatientSex": "F"}, True),
        ({"PatientBirthDate": "19501224"}, {"PatientBirthDate": "19610101"}, True),
        ({"PatientAge": "070Y", "StudyDate": "20200101"}, {"PatientAge": "040Y", "StudyDate": "20200101"}, True),
        # The same person, five years later.
        ({"PatientAge": "070Y", "StudyDate": "20200101"}, {"PatientAge": "075Y", "StudyDate": "20250601"}, False),
        ({"PatientSex": "M"}, {"PatientSex": ""}, False),
        ({"PatientSex": "O"}, {"PatientSex": "F"}, False),
    ],
)
def test_one_id_of_visibly_different_people_is_warned_of(
    tmp_path: Path, one: dict[str, str], other: dict[str, str], differ: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dates = {"PatientBirthDate": ""}
    for folder, patient, more in (("a", "P7", one), ("b", "P7", other), ("c", "P8", {})):
        export(tmp_path / "src" / folder, patient, **(dates | more))  # pyright: ignore[reportArgumentType]
    prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert ("different sex or year of birth, in a, b" in caplog.text) == differ


def test_one_id_in_several_folders_is_stated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, who in (("a", "P7"), ("b", "P7"), ("c", "P8")):
        export(tmp_path / "src" / folder, who)
    with caplog.at_level("INFO"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert "one patient, by PatientID: a, b" in caplog.text


def test_padded_ids_in_one_series_are_one_patient(tmp_path: Path) -> None:
    def change(dataset: Dataset, index: int) -> None:
        dataset.PatientID = (" ZZPID", "ZZPID", "ZZPID\0")[index % 3]

    write_series(tmp_path / "src", body()[0], change=change)
    assert patients(prepare_dicom(tmp_path / "src", tmp_path / "store")) == ["dicom-p001"]


# NIfTI, CHAOS, phantoms


def nifti(root: Path, rng: np.random.Generator, *cases: str) -> Path:
    for case in cases:
        low, high = (-1000, 1000) if root.name == "ct" else (0, 400)
        values = rng.integers(low, high, (4, 16, 16)).astype(np.int16)
        save_case(root / case, values)
    return root


def test_nifti_cases_are_recognised_by_their_names(tmp_path: Path, rng: np.random.Generator) -> None:
    """`ct/1..3` and `mr/1..3`: asked. `--name` changes the prefix and not the name of the case."""
    ct, mr = (nifti(tmp_path / side, rng, "1", "2", "3") for side in ("ct", "mr"))
    prepare_nifti(ct, tmp_path / "A", modality="ct", label=None)
    prepare_nifti(mr, tmp_path / "B", modality="mr", label=None, name="hospital-x")
    stores = [Store(tmp_path / "B"), Store(tmp_path / "A")]
    with pytest.raises(InputError, match=r"cases 1, 2, 3 in .*--same-people yes"):
        who_is_who(stores)
    people = who_is_who(stores, same_people="yes")
    assert [case.patient for case in people.stores[1].cases] == [f"hospital-x-{i}" for i in (1, 2, 3)]


def test_the_same_files_prepared_again_are_the_same_people(tmp_path: Path, rng: np.random.Generator) -> None:
    src = nifti(tmp_path / "ct", rng, "1", "2")
    for name in ("a", "b"):
        prepare_nifti(src, tmp_path / name, modality="ct", label=None)
    assert everything_in(tmp_path / "a") == everything_in(tmp_path / "b")
    first, second = who_is_who([Store(tmp_path / "a"), Store(tmp_path / "b")]).stores
    assert [case.patient for case in first.cases] == [case.patient for case in second.cases]


def test_numbered_nifti_patients_cannot_be_matched(tmp_path: Path, rng: np.random.Generator) -> None:
    both: tuple[tuple[Modality, tuple[str, ...]], ...] = (("ct", ("mueller", "schmidt")), ("mr", ("schmidt",)))
    for side, members in both:
        nifti(tmp_path / side, rng, *members)
        prepare_nifti(tmp_path / side, tmp_path / f"s-{side}", modality=side, label=None, number_patients=True)
        assert_no_identity(tmp_path / f"s-{side}", "mueller", "schmidt")
    with pytest.raises(InputError, match=r"cannot be matched.*running numbers"):
        who_is_who([Store(tmp_path / "s-ct"), Store(tmp_path / "s-mr")])


def test_chaos_needs_no_question_and_another_set_in_its_layout_is_asked_about(tmp_path: Path) -> None:
    def blank(dataset: Dataset) -> None:
        dataset.PatientID = ""

    chaos_ct(tmp_path / "src", "1")
    chaos_mr(tmp_path / "src", "1")
    for path in (tmp_path / "src").rglob("*.dcm"):
        edit(path, blank)
    prepare_chaos(tmp_path / "src", tmp_path / "chaos")
    (chaos,) = who_is_who([Store(tmp_path / "chaos")]).stores
    assert {case.patient for case in chaos.cases} == {"chaos-ct-1", "chaos-mr-1"}
    prepare_chaos(tmp_path / "src", tmp_path / "ours", name="ours")
    with pytest.raises(InputError, match="the case 1 twice in"):
        who_is_who([Store(tmp_path / "ours")])


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["chaos", "nifti"])
@pytest.mark.parametrize("paired", [True, False])
def test_a_phantom_says_who_is_who(tmp_path: Path, layout: str, paired: bool) -> None:
    settings = PhantomSettings(ct_patients=2, mr_patients=2, size=64, slices=12, layout=layout, paired=paired)  # pyright: ignore[reportArgumentType]
    write_phantom(tmp_path / "phantom", settings)
    if layout == "chaos":
        prepare_chaos(tmp_path / "phantom", tmp_path / "store", sequences=("ct", "t2_spir"))
        opened = [Store(tmp_path / "store")]
    else:
        images: tuple[tuple[Modality, str], ...] = (("ct", "image.nii.gz"), ("mr", "t2_spir.nii.gz"))
        for side, image in images:
            prepare_nifti(tmp_path / "phantom" / side, tmp_path / side, modality=side, image=image)
        opened = [Store(tmp_path / side) for side in ("ct", "mr")]
    cases = [case for one in who_is_who(opened).stores for case in one.cases]
    assert len(cases) == 4
    assert len({case.patient for case in cases}) == (2 if paired else 4)


def test_the_table_goes_to_the_terminal_and_not_into_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Names of folders are often those of people."""
    export(tmp_path / "src" / "Musterfrau_Erika" / "T1", "A")
    with caplog.at_level("INFO"):
        prepare_dicom(tmp_path / "src", tmp_path / "store")
    assert "Musterfrau_Erika/T1  dicom-p001-mr  dicom-p001" in caplog.text
    assert_no_identity(tmp_path / "store", "Musterfrau")


def test_info_shows_cases_patients_and_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        console = Console(width=200, record=True)
        console.print(describe(tmp_path / "store"))
        return console.export_text()

    export(tmp_path / "src", "A")
    (record,) = prepare_dicom(tmp_path / "src", tmp_path / "store")
    key = patient_key()
    assert f"id {key.hash('A')[:8]}" in shown()
    assert f"{key.fingerprint}, which is yours ({key.path})" in shown()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    assert f"you have none ({tmp_path / 'none'})" in shown()
    patient_key()
    assert "which is not yours" in shown()
    assert record.id in shown()
