"""The names that a program uses, on a model that was really trained, for a second."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crossmod
from crossmod.data.nifti import write_nifti
from crossmod.errors import InputError
from crossmod.inference.api import refuse_existing
from crossmod.metrics.paired import paired_scores
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.progress import progress_shown
from tests.support.stores import Stores, made_volume
from tests.support.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    """MR to CT; the bodies of both are alike, so that something can be learnt from one look."""
    more = {"family": "cyclegan", "source": "mr", "generator_filters": 4, "epochs": 3, "slices": "all"}
    return train(tmp_path_factory.mktemp("run") / "mr-to-ct", stores, **more).path


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person, in MR and in CT: the truth."""
    folder = tmp_path_factory.mktemp("patient")
    for modality in ("ct", "mr"):
        write_nifti(made_volume(np.random.default_rng(5), modality), folder / f"{modality}.nii.gz")
    return folder


def test_importing_costs_nothing_and_names_come_when_asked_for() -> None:
    code = (
        "import sys, crossmod; assert 'torch' not in sys.modules; assert 'load_model' in dir(crossmod);"
        "crossmod.Store, crossmod.InputError; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crossmod.nothing
    for name in dir(crossmod):
        getattr(crossmod, name)


def test_a_model_is_quiet_unless_progress_is_asked_for(
    run: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = crossmod.load_model(run, device="cpu")
    volume = crossmod.read_volume(patient / "mr.nii.gz", "mr")
    capsys.readouterr()
    model.translate(volume)
    assert capsys.readouterr() == ("", "")
    with progress_shown():
        model.translate(volume)
    assert "Translating with mr-to-ct" in capsys.readouterr().err


def test_a_run_tells_what_it_is(run: Path) -> None:
    about = crossmod.load_model(run, device="cpu").about
    assert (about.family, about.source, about.target) == ("cyclegan", "mr", "ct")
    assert (about.inputs, about.size, about.window) == (("t2_spir",), 32, (-160.0, 240.0))
    assert (about.low, about.high) == (-160.0, 240.0)
    assert about.field_mm == pytest.approx(320)
    assert about.trained_on["mr"] == {"patients": 5, "slices": 6}
    assert (about.organs, about.flip, len(about.weights)) == ((), False, 64)
    assert about.version == crossmod.__version__


def test_from_a_file_to_a_file(tmp_path: Path, run: Path, patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MR in, CT in HU out, on the same grid; the error in HU against the truth is told, and no wild guess."""
    model = crossmod.load_model(run, device="cpu")
    volume = crossmod.read_volume(patient / "mr.nii.gz", "mr")
    options = crossmod.Options(variants=("shift",))
    made = model.translate(volume, options=options)
    crossmod.write_translation(made, tmp_path / "out" / "ct.nii.gz", options=options)
    back = crossmod.read_volume(tmp_path / "out" / "ct.nii.gz", "ct")
    np.testing.assert_array_equal(back.voxels, made.image.voxels)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-3)
    truth = crossmod.read_volume(patient / "ct.nii.gz", "ct")
    real, fake = (np.clip(one.voxels.astype(float), -160, 240) for one in (truth, back))
    error = paired_scores(real, fake, made.body, 400.0).mae
    with capsys.disabled():
        print(f"\nMAE against the truth after 18 steps of training: {error:.0f} HU", file=sys.stderr)
    assert error < 200
    card = json.loads((tmp_path / "out" / "ct.nii.gz.json").read_text())
    assert "not for diagnosis" in card["warning"]
    assert card["model"]["sha256"] == model.about.weights
    assert card["options"]["variants"] == ["shift"]
    assert (card["unit"], card["range"]) == ("HU", [-160.0, 240.0])
    assert card["mean_uncertainty"] > 0
    assert card["seconds"] > 0


def test_two_models_at_once_tell_how_far_they_differ(tmp_path: Path, run: Path, patient: Path, stores: Stores) -> None:
    """Half the difference of two is their standard deviation."""
    other = train(tmp_path / "other", stores, family="cyclegan", source="mr", epochs=1, seed=1, slices="all").path
    model = crossmod.load_model(run, other, device="cpu")
    assert model.about.name == "mr-to-ct + other"
    volume = crossmod.read_volume(patient / "mr.nii.gz", "mr")
    made = model.translate(volume)
    first, second = (crossmod.load_model(path).translate(volume).image.voxels.astype(float) for path in (run, other))
    assert made.uncertainty is not None
    np.testing.assert_allclose(made.uncertainty, np.abs(first - second) / 2, atol=1)
    with pytest.raises(InputError, match="the same weights twice"):
        crossmod.load_model(run, run)


def test_what_cannot_be_is_said(tmp_path: Path, run: Path, patient: Path) -> None:
    with pytest.raises(InputError, match="does not say its modality"):
        crossmod.read_volume(patient / "mr.nii.gz")
    with pytest.raises(InputError, match=r"CT\. Expected: MR"):
        crossmod.load_model(run).translate(crossmod.read_volume(patient / "ct.nii.gz", "ct"))
    with pytest.raises(InputError, match=r"t1_in\. Expected: t2_spir"):
        crossmod.load_model(run).translate(crossmod.read_volume(patient / "mr.nii.gz", "mr", sequence="t1_in"))
    with pytest.raises(InputError, match=r"no such folder\. Expected: the folder of a training run or of a bundle"):
        crossmod.load_model(tmp_path / "nothing")
    made = crossmod.load_model(run).translate(crossmod.read_volume(patient / "mr.nii.gz", "mr"))
    with pytest.raises(InputError, match="there already"):
        crossmod.write_translation(made, patient / "mr.nii.gz")


def test_a_bundle_answers_as_its_run(tmp_path: Path, run: Path, patient: Path) -> None:
    from crossmod.inference.bundle.export import export_bundle

    export_bundle([run], tmp_path / "bundle")
    volume = crossmod.read_volume(patient / "mr.nii.gz", "mr")
    made, again = (crossmod.load_model(path, device="cpu").translate(volume) for path in (run, tmp_path / "bundle"))
    np.testing.assert_array_equal(again.image.voxels, made.image.voxels)
    assert (again.about.inputs, again.about.field_mm) == (made.about.inputs, made.about.field_mm)


def test_dicom_of_two_patients_is_not_one(tmp_path: Path) -> None:
    write_phantom(tmp_path / "people", PhantomSettings(ct_patients=0, mr_patients=2, size=16, slices=4))
    one, other = (tmp_path / "people").rglob("T2SPIR/DICOM_anon")
    with pytest.raises(InputError, match=r"PatientID differ|frames of reference"):
        crossmod.read_volumes([one, other], "mr")


def test_several_inputs_are_read_by_name(tmp_path: Path, patient: Path) -> None:
    shutil.copy(patient / "mr.nii.gz", tmp_path / "out.nii.gz")
    volumes = crossmod.read_volumes({"t1_in": patient / "mr.nii.gz", "t1_out": tmp_path / "out.nii.gz"}, "MR")
    assert [(volume.sequence, volume.modality) for volume in volumes] == [("t1_in", "mr"), ("t1_out", "mr")]
    with pytest.raises(InputError, match="one path twice"):
        crossmod.read_volumes([patient / "mr.nii.gz", patient / ".." / patient.name / "mr.nii.gz"], "mr")
    with pytest.raises(InputError, match=r"the modality 'pet'\. Expected: ct or mr"):
        crossmod.read_volume(patient / "mr.nii.gz", "pet")
    with pytest.raises(InputError, match="NIfTI, which is one series"):
        crossmod.read_volume(patient / "mr.nii.gz", "mr", echo_time=2.3)


def test_without_the_stores_of_the_training_the_field_is_not_known(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossmod.inference import ensemble as run_network

    monkeypatch.setattr(run_network, "Store", lambda path: crossmod.Store(tmp_path))
    assert crossmod.load_model(run).about.field_mm is None


def test_large_slices_one_by_one_are_the_same(run: Path, patient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crossmod.engine import device as inference

    model, volume = crossmod.load_model(run, device="cpu"), crossmod.read_volume(patient / "mr.nii.gz", "mr")
    together = model.translate(volume)
    monkeypatch.setattr(inference, "ALONE", 16)
    np.testing.assert_allclose(model.translate(volume).image.voxels, together.image.voxels, atol=1)


def test_a_place_that_may_not_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tests as root may write anywhere."""
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match="a folder that may not be written"):
        refuse_existing(tmp_path / "new" / "ct.nii.gz")
    (tmp_path / "open").mkdir()
    refuse_existing(tmp_path / "open" / "ct.nii.gz")
