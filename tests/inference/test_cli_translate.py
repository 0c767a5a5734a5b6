import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Stores, made_volume
from test_train_translator import train

import crossmod
from crossmod.cli import main
from crossmod.data.dicom_write import write_dicom_series
from crossmod.data.nifti import read_nifti, write_nifti


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


def test_more_models_give_an_uncertainty(tmp_path: Path, run: Path, patient: Path) -> None:
    main(["translate", str(run), str(patient / "ct.nii.gz"), str(tmp_path / "mr.nii"), "--also", str(run)])
    assert json.loads((tmp_path / "mr.nii.json").read_text())["mean_uncertainty"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{ct}"], "1 paths after the run. Wanted: INPUT and OUTPUT"),
        (["{ct}", "{out}", "--input", "ct={ct}"], "the output alone beside --input"),
        (["{out}", "--input", "{ct}"], "NAME=PATH"),
        (["{ct}", "{ct}", "{out}"], "2 volumes. Wanted: 1: ct"),
        (["{ct}", "{ct}"], "there already"),
        (["{none}", "{out}"], "no such file"),
    ],
)
def test_mistakes_have_a_sentence(
    tmp_path: Path, run: Path, patient: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"ct": patient / "ct.nii.gz", "out": tmp_path / "out.nii", "none": tmp_path / "none.nii"}
    with pytest.raises(SystemExit) as stopped:
        main(["translate", str(run), *(word.format(**places) for word in words)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.nii").exists()
