import json
import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from crossmod.config import build
from crossmod.data.importers.chaos import chaos_cases, prepare_chaos, read_chaos_case
from crossmod.data.store import Store
from crossmod.data.volume import Volume, reorient
from crossmod.errors import InputError
from crossmod.phantom import dataset as phantom_module
from crossmod.phantom.dataset import PhantomSettings, draw_grid, write_phantom
from crossmod.phantom.person import draw_person
from crossmod.phantom.writers import CT_QUIRKS, MR_QUIRKS, Identity, slice_order, write_slice

SETTINGS = PhantomSettings(ct_patients=3, mr_patients=3, size=32, slices=10, seed=5)
SMALL = {"ct_patients": 1, "mr_patients": 1, "size": 16, "slices": 4}


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "chaos"
    write_phantom(out, SETTINGS)
    return out


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "nifti"
    write_phantom(out, SETTINGS.model_copy(update={"layout": "nifti"}))
    return out


def record(out: Path, modality: str) -> list[dict]:
    content = json.loads((out / "phantom.json").read_text())
    return [case for case in content["cases"] if case["modality"] == modality]


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    loaded = nibabel.load(path)
    assert isinstance(loaded, nibabel.Nifti1Image)
    assert loaded.affine is not None
    assert nibabel.aff2axcodes(loaded.affine) == ("R", "A", "S")
    assert int(loaded.header["sform_code"]) == int(loaded.header["qform_code"]) == 1
    assert loaded.header.get_xyzt_units()[0] == "mm"
    return reorient(np.asarray(loaded.dataobj), loaded.affine, ("S", "P", "L"))


def read_series(folder: Path) -> tuple[np.ndarray, list[pydicom.Dataset], list[Path]]:
    """Slices feet to head, with their headers and files."""
    files = sorted(folder.glob("*.dcm"))
    headers = [pydicom.dcmread(file) for file in files]
    order = np.argsort([float(header.ImagePositionPatient[2]) for header in headers])
    headers, files = [headers[i] for i in order], [files[i] for i in order]
    pixels = np.stack([header.pixel_array.astype(int) + int(header.get("RescaleIntercept", 0)) for header in headers])
    return pixels, headers, files


@pytest.mark.parametrize("patient", range(3))
def test_ct_dicom_holds_the_same_hounsfield_units_as_nifti(chaos: Path, nifti: Path, patient: int) -> None:
    case = record(chaos, "ct")[patient]
    folder = chaos / "Train_Sets" / "CT" / str(case["id"])
    pixels, headers, _ = read_series(folder / "DICOM_anon")
    image, affine = read_nifti(nifti / "ct" / str(case["id"]) / "image.nii.gz")
    np.testing.assert_array_equal(pixels, image)
    np.testing.assert_allclose(
        np.array(headers[0].ImagePositionPatient, dtype=float) * [-1, -1, 1], affine[:3, 3], atol=1e-3
    )
    assert headers[0].BitsAllocated == headers[0].BitsStored == 16


@pytest.mark.parametrize("patient", range(3))
def test_ct_masks_are_the_liver_in_the_order_that_the_record_says(chaos: Path, nifti: Path, patient: int) -> None:
    case = record(chaos, "ct")[patient]
    folder = chaos / "Train_Sets" / "CT" / str(case["id"])
    masks = []
    for path in sorted((folder / "Ground").glob("*.png")):
        with Image.open(path) as image:
            assert image.mode == "1"
            masks.append(np.asarray(image))
    order = slice_order(len(masks), case["quirks"]["files"])
    if case["quirks"]["masks_backwards"]:
        order = order[::-1]
    labels, _ = read_nifti(nifti / "ct" / str(case["id"]) / "label.nii.gz")
    np.testing.assert_array_equal(np.stack(masks), labels[order] == 1)


def test_some_ct_masks_run_against_the_slices() -> None:
    assert {quirks.masks_backwards for quirks in CT_QUIRKS[:2]} == {True, False}
    # CHAOS's MR masks bear the names of the slices: there is nothing to reverse.
    assert not any(quirks.masks_backwards for quirks in MR_QUIRKS)


@pytest.mark.parametrize("patient", range(3))
def test_mr_masks_bear_the_slices_names_and_gray_values(chaos: Path, nifti: Path, patient: int) -> None:
    number = str(record(chaos, "mr")[patient]["id"])
    labels, _ = read_nifti(nifti / "mr" / number / "label.nii.gz")
    for part, series in (("T1DUAL", "DICOM_anon/InPhase"), ("T2SPIR", "DICOM_anon")):
        folder = chaos / "Train_Sets" / "MR" / number / part
        pixels, headers, files = read_series(folder / series)
        name = "t1_in" if part == "T1DUAL" else "t2_spir"
        image, _ = read_nifti(nifti / "mr" / number / f"{name}.nii.gz")
        np.testing.assert_array_equal(pixels, image)
        assert headers[0].BitsStored == 12
        masks = [np.asarray(Image.open(folder / "Ground" / f"{file.stem}.png")) for file in files]
        np.testing.assert_array_equal(np.stack(masks), np.array([0, 63, 126, 189, 252])[labels])


def test_the_longer_echo_is_in_phase(chaos: Path) -> None:
    folder = chaos / "Train_Sets" / "MR" / str(record(chaos, "mr")[0]["id"]) / "T1DUAL" / "DICOM_anon"
    echoes = {phase: float(read_series(folder / phase)[1][0].EchoTime) for phase in ("InPhase", "OutPhase")}
    assert echoes == {"InPhase": 4.6, "OutPhase": 2.3}


def test_every_slice_has_uids_of_its_own_and_one_invented_person(chaos: Path) -> None:
    folder = chaos / "Train_Sets" / "CT" / str(record(chaos, "ct")[0]["id"]) / "DICOM_anon"
    headers = read_series(folder)[1]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert len({header[keyword].value for header in headers}) == len(headers)
    assert {str(header.PatientName) for header in headers} == {"Phantom^One"}
    assert all(header.PatientBirthDate and header.InstitutionName and header.PatientID for header in headers)


def test_names_and_instance_numbers_do_not_tell_the_order(chaos: Path) -> None:
    disagreements = 0
    for case in record(chaos, "ct"):
        _, headers, files = read_series(chaos / "Train_Sets" / "CT" / str(case["id"]) / "DICOM_anon")
        instances = [int(header.InstanceNumber) for header in headers]
        disagreements += files != sorted(files)
        disagreements += instances != sorted(instances)
    assert disagreements >= 3


def test_the_importer_finds_what_was_drawn(chaos: Path, nifti: Path) -> None:
    cases = chaos_cases(chaos)
    assert len(cases) == 3 + 3 * 3
    for case in cases:
        volume = read_chaos_case(case)
        folder = nifti / case.modality / case.number
        image, affine = read_nifti(folder / f"{case.sequence or 'image'}.nii.gz")
        labels, _ = read_nifti(folder / "label.nii.gz")
        np.testing.assert_array_equal(volume.voxels, image)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-3)
        wanted = (labels == 1) if case.modality == "ct" else labels
        np.testing.assert_array_equal(volume.labels, wanted)


def test_nifti_names_all_organs_in_both_modalities(nifti: Path) -> None:
    for modality in ("ct", "mr"):
        labels = json.loads((nifti / modality / "labels.json").read_text())["labels"]
        assert labels == {"background": 0, "liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
    held, _ = read_nifti(nifti / "ct" / str(record(nifti, "ct")[0]["id"]) / "label.nii.gz")
    assert set(np.unique(held)) == {0, 1, 2, 3, 4}


def test_modalities_show_different_people_on_different_grids(chaos: Path, nifti: Path) -> None:
    people = [{case["person"] for case in record(chaos, modality)} for modality in ("ct", "mr")]
    assert len(people[0] | people[1]) == 6
    spacings = set()
    for case in record(nifti, "ct"):
        _, affine = read_nifti(nifti / "ct" / str(case["id"]) / "image.nii.gz")
        spacings.add(tuple(np.linalg.norm(affine[:3, :3], axis=0).round(3)))
    assert len(spacings) == 3


def test_paired_people_keep_their_id_and_their_organs(tmp_path: Path) -> None:
    settings = PhantomSettings(ct_patients=1, mr_patients=2, size=40, slices=20, layout="nifti", paired=True)
    write_phantom(tmp_path / "out", settings)
    ct, mr = record(tmp_path / "out", "ct"), record(tmp_path / "out", "mr")
    assert (ct[0]["id"], ct[0]["person"]) == (mr[0]["id"], mr[0]["person"])
    assert mr[1]["person"] != mr[0]["person"]
    millilitres = []
    for modality in ("ct", "mr"):
        labels, affine = read_nifti(tmp_path / "out" / modality / str(ct[0]["id"]) / "label.nii.gz")
        millilitres.append((labels == 1).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    assert millilitres[0] == pytest.approx(millilitres[1], rel=0.05)


def test_the_same_settings_write_the_same_bytes(tmp_path: Path) -> None:
    for layout in ("chaos", "nifti"):
        settings = build(PhantomSettings, {**SMALL, "layout": layout}, subject="phantom")
        written = []
        for name in ("first", "second"):
            write_phantom(tmp_path / layout / name, settings)
            files = sorted(path for path in (tmp_path / layout / name).rglob("*") if path.is_file())
            written.append([(path.relative_to(tmp_path / layout / name), path.read_bytes()) for path in files])
        assert written[0] == written[1]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something in it"):
        write_phantom(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="a file"):
        write_phantom(tmp_path / "notes.txt", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    write_phantom(out, PhantomSettings(ct_patients=1, mr_patients=0, size=16, slices=4, layout="nifti"))
    assert sorted(path.name for path in out.iterdir()) == ["ct", "phantom.json"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(phantom_module, "write_mr_case", fail)
    with pytest.raises(InputError, match="disk is full"):
        write_phantom(tmp_path / "out", PhantomSettings(ct_patients=1, mr_patients=1, size=16, slices=4))
    assert list(tmp_path.iterdir()) == []


ONE = PhantomSettings(ct_patients=1, mr_patients=0, size=16, slices=4, layout="nifti")


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f".out.{dead.pid}.partial", f".out.{os.getpid()}.partial"]
    # Of a living process, of another OUT, and things that only look alike.
    kept = [".out.1.partial", f".other.{dead.pid}.partial", ".out.x.partial", f".out.more.{dead.pid}.partial"]
    for name in (*left, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    write_phantom(tmp_path / "out", ONE)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "out"])


@pytest.mark.parametrize("folder", [True, False])
def test_an_out_that_is_filled_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool) -> None:
    out = tmp_path / "out"

    def meanwhile(path: Path, content: object) -> None:
        if folder:
            out.mkdir()
        (out / "theirs" if folder else out).write_text("x")

    monkeypatch.setattr(phantom_module, "write_json", meanwhile)
    with pytest.raises(InputError, match="out: something was written there meanwhile"):
        write_phantom(out, ONE)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "theirs" if folder else out).read_text() == "x"


def test_no_patients_are_refused() -> None:
    with pytest.raises(InputError, match="at least one patient"):
        build(PhantomSettings, {"ct_patients": 0, "mr_patients": 0}, subject="phantom")


def test_a_slice_reads_back_as_it_was_written(tmp_path: Path, rng: np.random.Generator) -> None:
    voxels = rng.integers(-1000, 3000, size=(2, 5, 7)).astype(np.int16)
    affine = np.array([[0, 0, -0.7, 90.5], [0, -0.8, 0, 80.25], [3.2, 0, 0, -55.125], [0, 0, 0, 1]], dtype=float)
    write_slice(tmp_path / "x.dcm", Volume(voxels, affine, "ct"), 1, identity=Identity(3, "k"), instance=9)
    header = pydicom.dcmread(tmp_path / "x.dcm")
    np.testing.assert_array_equal(header.pixel_array.astype(int) + int(header.RescaleIntercept), voxels[1])
    assert [float(place) for place in header.ImagePositionPatient] == [-90.5, -80.25, -51.925]
    assert [float(length) for length in header.PixelSpacing] == [0.8, 0.7]
    assert (header.InstanceNumber, str(header.PatientName)) == (9, "Phantom^Four")


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def written(out: Path, **more: object) -> Path:
    write_phantom(out, build(PhantomSettings, {**SMALL, **more}, subject="phantom"))
    return out


@pytest.mark.parametrize(("said", "agent"), [(None, ""), ("yes", "CONTRAST"), ("no", "")])
def test_headers_name_the_agent_that_was_asked_for(tmp_path: Path, said: str | None, agent: str) -> None:
    out = written(tmp_path / "out", ct_contrast=said)
    _, headers, _ = read_series(next((out / "Train_Sets" / "CT").iterdir()) / "DICOM_anon")
    assert {str(header.get("ContrastBolusAgent", "")) for header in headers} == {agent}
    assert json.loads((out / "phantom.json").read_text())["settings"].get("ct_contrast") == said


def test_ct_without_contrast_agent_shows_the_same_people(tmp_path: Path) -> None:
    outs = {
        said: files_of(written(tmp_path / str(said), ct_contrast=said, layout="nifti")) for said in (None, "yes", "no")
    }
    case = f"ct/{record(tmp_path / 'no', 'ct')[0]['id']}"
    assert outs["no"][f"{case}/label.nii.gz"] == outs["yes"][f"{case}/label.nii.gz"]
    assert (
        outs["no"][f"{case}/image.nii.gz"] != outs["yes"][f"{case}/image.nii.gz"] == outs[None][f"{case}/image.nii.gz"]
    )
    assert {name for name in outs["no"] if name.startswith("mr/") and outs["no"][name] != outs["yes"][name]} == set()


def test_what_is_not_asked_for_changes_no_byte(tmp_path: Path) -> None:
    """Neither of the record, which had only these settings before there were contrast and sources."""
    out = written(tmp_path / "out")
    settings = json.loads((out / "phantom.json").read_text())["settings"]
    assert set(settings) == {"ct_patients", "mr_patients", "size", "slices", "seed", "layout", "paired"}
    assert files_of(out) == files_of(written(tmp_path / "said", mr_source=1, ct_contrast=None))


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
def test_people_of_the_second_source_are_others_under_other_ids(tmp_path: Path, paired: bool) -> None:
    """Even of the same seed: else one person under two names could be trained on and tested with."""
    people, ids = [], []
    for source in (1, 2):
        out = written(
            tmp_path / str(source), mr_source=source, paired=paired, ct_patients=3, mr_patients=3, layout="nifti"
        )
        both = record(out, "ct") + record(out, "mr")
        people.append({case["person"] for case in both})
        ids.append({case["id"] for case in both})
        assert len(people[-1]) == (3 if paired else 6)
    assert not people[0] & people[1]
    assert not ids[0] & ids[1]


def test_headers_of_the_second_source_are_those_of_its_scanner(tmp_path: Path) -> None:
    out = written(tmp_path / "out", mr_source=2)
    folder = next((out / "Train_Sets" / "MR").iterdir()) / "T1DUAL" / "DICOM_anon"
    _, (header, *_), _ = read_series(folder / "InPhase")
    assert (float(header.MagneticFieldStrength), header.MRAcquisitionType, float(header.EchoTime)) == (3.0, "3D", 2.3)
    assert float(read_series(folder / "OutPhase")[1][0].EchoTime) == 1.15
    cases = {case.id.rsplit("-", 1)[-1]: read_chaos_case(case) for case in chaos_cases(out) if case.modality == "mr"}
    assert cases["t1_in"].acquisition["EchoTime"] == 2.3
    assert cases["t1_out"].acquisition["EchoTime"] == 1.15


def test_slices_of_the_second_source_are_thinner_and_wider() -> None:
    person = draw_person(3)
    grids = []
    for source in (1, 2):
        settings = build(PhantomSettings, {**SMALL, "slices": 64, "size": 64, "mr_source": source}, subject="")
        grids.append(draw_grid(person, "mr", settings, np.random.SeedSequence(5)))
    (between, pixel), (thinner, wider) = (grid.spacing for grid in grids)
    assert thinner < 0.7 * between
    assert wider > 1.05 * pixel
    assert grids[1].thickness == 1.0


def test_both_sources_go_into_one_store(tmp_path: Path) -> None:
    for source in (1, 2):
        out = written(tmp_path / str(source), mr_source=source, ct_patients=0)
        prepare_chaos(out, tmp_path / "store", append=True)
    cases = Store(tmp_path / "store").select("mr", sequence="t1_in")
    assert len({case.patient for case in cases}) == 2
