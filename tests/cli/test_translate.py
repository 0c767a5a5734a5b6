import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

import crossmod
from crossmod.cli import main
from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.inference.trust.similarity import fingerprint_of
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import train_translator
from tests.support.registered import two_sequences
from tests.support.stores import Stores, made_volume
from tests.support.training import TINY, train
from tests.support.write_dicom import write_dicom_series


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    return train(tmp_path_factory.mktemp("run") / "ct-to-mr", stores).path


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient")
    volume = made_volume(np.random.default_rng(5), "ct")
    write_nifti(volume, folder / "ct.nii.gz")
    write_dicom_series(volume, folder / "series")
    return folder


def test_nifti_in_nifti_out(tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "mr.nii"
    main(["translate", str(run), str(patient / "ct.nii.gz"), str(out), "--variants", "shift", "neighbours"])
    assert "synthetic MR of 6 slices, not for diagnosis" in capsys.readouterr().out
    made, given = read_nifti(out, modality="mr"), read_nifti(patient / "ct.nii.gz", modality="ct")
    assert made.voxels.shape == given.voxels.shape
    np.testing.assert_allclose(made.affine, given.affine, atol=1e-3)
    card = json.loads(out.with_name("mr.nii.json").read_text())
    assert card["options"]["variants"] == ["shift", "neighbours"]
    assert card["clipped_share"] < 0.1


def test_dicom_in_dicom_out(tmp_path: Path, run: Path, patient: Path) -> None:
    main(["translate", str(run), str(patient / "series"), str(tmp_path / "mr")])
    made, given = crossmod.read_volume(tmp_path / "mr"), crossmod.read_volume(patient / "series")
    assert made.modality == "mr"
    assert made.voxels.shape == given.voxels.shape
    np.testing.assert_allclose(made.affine, given.affine, atol=1e-3)
    assert (tmp_path / "mr.json").is_file()


def test_the_command_is_the_api(tmp_path: Path, run: Path, patient: Path) -> None:
    main(["translate", str(run), str(tmp_path / "mr.nii"), "--input", f"ct={patient / 'ct.nii.gz'}"])
    volume = crossmod.read_volume(patient / "ct.nii.gz", "ct")
    made = crossmod.load_model(run).translate(volume)
    np.testing.assert_array_equal(crossmod.read_volume(tmp_path / "mr.nii", "mr").voxels, made.image.voxels)


def test_more_models_give_an_uncertainty(tmp_path: Path, run: Path, patient: Path, stores: Stores) -> None:
    other = train(tmp_path / "other", stores, seed=1, epochs=1).path
    main(["translate", str(run), str(patient / "ct.nii.gz"), str(tmp_path / "mr.nii"), "--also", str(other)])
    assert json.loads((tmp_path / "mr.nii.json").read_text())["mean_uncertainty"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{ct}"], "1 path after the run. Expected: INPUT and OUTPUT"),
        (["{ct}", "{out}", "--input", "ct={ct}"], "the output alone beside --input"),
        (["{out}", "--input", "{ct}"], "NAME=PATH"),
        (["{ct}", "{ct}", "{out}"], "one path twice"),
        (["{ct}", "{other}", "{out}"], "2 volumes. Expected: 1: ct"),
        (["{ct}", "{out}", "--batch", "0"], "--batch: 0. Expected: greater than or equal to 1"),
        (["{ct}", "{out}", "--executor", "ray"], "--list with them"),
        (["{ct}", "{out}", "--echo-time", "4.6"], "NIfTI, which is one series"),
        (["{ct}", "{nrrd}"], "an unsupported file (.nrrd)"),
        (["{ct}", "{beside}"], "beside.nii.gz.trust.json: something that is there already"),
        (["{ct}", "{ct}"], "there already"),
        (["{none}", "{out}"], "no such file"),
    ],
)
def test_mistakes_have_a_sentence(
    tmp_path: Path, run: Path, patient: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"out": "out.nii", "none": "none.nii", "other": "other.nii.gz", "nrrd": "a.nrrd", "beside": "beside.nii.gz"}
    places = {"ct": patient / "ct.nii.gz", **{key: tmp_path / name for key, name in names.items()}}
    shutil.copy(patient / "ct.nii.gz", tmp_path / "other.nii.gz")
    (tmp_path / "beside.nii.gz.trust.json").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main(["translate", str(run), *(word.format(**places) for word in words)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.nii").exists()


def test_a_trust_report_stands_beside_it_and_strict_obeys_it(
    tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same volume upside down in values: nothing that the model was trained on looked so."""
    volume = crossmod.read_volume(patient / "ct.nii.gz", "ct")
    inverted = replace(volume, voxels=np.where(volume.voxels > -500, 80 - volume.voxels, volume.voxels))
    write_nifti(inverted, tmp_path / "inverted.nii.gz")
    main(["translate", str(run), str(tmp_path / "inverted.nii.gz"), str(tmp_path / "plain.nii.gz")])
    said = capsys.readouterr().out
    assert "Warning: " in said
    assert "Trust: doubtful" in said
    assert "How far can this image be trusted?" in (tmp_path / "plain.nii.gz.trust.html").read_text()
    with pytest.raises(SystemExit) as stop:
        main(["translate", str(run), str(tmp_path / "inverted.nii.gz"), str(tmp_path / "mr.nii.gz"), "--strict"])
    assert stop.value.code == 3
    # It is made all the same: strict says that somebody must look.
    assert (tmp_path / "mr.nii.gz").is_file()


def test_a_list_of_patients(tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "cases.csv"
    table.write_text(f"case,input\none,{patient / 'ct.nii.gz'}\ntwo,{tmp_path / 'nowhere.nii.gz'}\n")
    with pytest.raises(SystemExit) as stop:
        main(["translate", str(run), "--list", str(table), str(tmp_path / "out")])
    assert stop.value.code == 1
    assert "1 of 2 translated" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
    assert [(row["case"], row["status"]) for row in rows] == [("one", "done"), ("two", "failed")]
    assert (tmp_path / "out" / "one.nii.gz.trust.html").is_file()
    with pytest.raises(SystemExit) as stop:
        main(["translate", str(run), "--list", str(table), str(patient / "ct.nii.gz"), str(tmp_path / "more")])
    assert stop.value.code == 2


def test_a_bundle_knows_what_training_looked_like(tmp_path: Path, run: Path) -> None:
    main(["export", str(run), str(tmp_path / "bundle")])
    ours, theirs = (fingerprint_of(crossmod.load_model(path).networks) for path in (run, tmp_path / "bundle"))
    assert ours is not None
    assert ours == theirs


def two_inputs(tmp_path: Path, stores: Stores) -> tuple[Path, dict[str, Path]]:
    """A model of both phases, and a patient's, as DICOM."""
    more = {"family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "epochs": 1}
    settings = TranslateSettings(**{**TINY, **more})
    both = two_sequences(tmp_path / "both").path
    run = train_translator(tmp_path / "run", ct=stores.ct, mr=both, settings=settings).path
    folders = {}
    for number, (name, echo) in enumerate((("t1_in", 4.6), ("t1_out", 2.3))):
        volume = crossmod.Store(both).read(f"1-{name}")
        write_dicom_series(replace(volume, acquisition={"EchoTime": echo}), tmp_path / name)
        folders[name] = tmp_path / name
        for path in folders[name].iterdir():
            with pydicom.dcmread(path) as dataset:
                dataset.FrameOfReferenceUID = "1.2.3"
                dataset.SeriesNumber = number + 1
                dataset.save_as(path)
    return run, folders


def test_inputs_by_name_are_named_in_the_result_whatever_their_order(tmp_path: Path, stores: Stores) -> None:
    """The first item is the slice whose grid the result has: the in-phase one's, which is given last."""
    run, folders = two_inputs(tmp_path, stores)
    pairs = [f"{name}={folders[name]}" for name in ("t1_out", "t1_in")]
    main(["translate", str(run), str(tmp_path / "ct"), "--input", *pairs])
    uids = {
        name: {pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()} for name, folder in folders.items()
    }
    for path in (tmp_path / "ct").glob("*.dcm"):
        first, second = pydicom.dcmread(path).SourceImageSequence
        assert first.ReferencedSOPInstanceUID in uids["t1_in"]
        assert second.ReferencedSOPInstanceUID in uids["t1_out"]
        # On one grid nothing is resampled.
        assert (first.SpatialLocationsPreserved, second.SpatialLocationsPreserved) == ("YES", "YES")


def test_a_truth_is_reported_everywhere(
    tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = made_volume(np.random.default_rng(5), "mr")
    write_nifti(truth, tmp_path / "truth.nii.gz")
    out = tmp_path / "mr.nii.gz"
    main(["translate", str(run), str(patient / "ct.nii.gz"), str(out), "--truth", str(tmp_path / "truth.nii.gz")])
    made = crossmod.load_model(run).translate(crossmod.read_volume(patient / "ct.nii.gz", "ct"))
    expected = crossmod.evaluate_translation(made, truth)
    assert f"mean absolute error {expected.mae:.1f} % of the range" in " ".join(capsys.readouterr().out.split())
    assert json.loads(out.with_name("mr.nii.gz.json").read_text())["against_truth"] == pytest.approx(expected.plain())
    page = out.with_name("mr.nii.gz.trust.html").read_text()
    assert "Compared with the real scan" in page
    assert expected.words in page
    told = json.loads(out.with_name("mr.nii.gz.trust.json").read_text())
    assert told["against_truth"] == pytest.approx(expected.plain())


def test_a_truth_of_somebody_else_is_refused_before_the_work(
    tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = made_volume(np.random.default_rng(5), "mr")
    write_dicom_series(volume, tmp_path / "other")
    for folder, name in ((patient / "series", "one"), (tmp_path / "other", "two")):
        for path in folder.iterdir():
            with pydicom.dcmread(path) as dataset:
                dataset.PatientID = name
                dataset.save_as(path)
    with pytest.raises(SystemExit) as stopped:
        main(["translate", str(run), str(patient / "series"), str(tmp_path / "mr"), "--truth", str(tmp_path / "other")])
    assert stopped.value.code == 2
    assert "PatientID differ" in capsys.readouterr().err
    assert not (tmp_path / "mr").exists()


def test_a_list_takes_no_truth(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["translate", str(run), "--list", "cases.csv", str(tmp_path), "--truth", "truth.nii"])
    assert "1 path after the run and --truth. Expected: the folder of the outputs alone" in capsys.readouterr().err


def test_a_list_writes_organs_where_asked(tmp_path: Path, run: Path, patient: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM SEG: pip install 'crossmod[seg]'")
    (tmp_path / "cases.csv").write_text(f"case,input,output\none,{patient / 'series'},one\n")
    main(["translate", str(run), "--list", str(tmp_path / "cases.csv"), str(tmp_path / "out"), "--segmentation"])
    assert (tmp_path / "out" / "one" / "segmentation" / "organs.dcm").is_file()
