"""nnU-Net's raw format is read here with nibabel and json alone, as its documentation describes it."""

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from crossmod.cli import main
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.report.build import build_report
from crossmod.runs import Run
from crossmod.segmentation.nnunet import export as nnunet_export
from crossmod.segmentation.nnunet.export import cross_validation, export_nnunet
from crossmod.segmentation.nnunet.import_predictions import read_nnunet
from crossmod.settings import SegmentSettings
from crossmod.synthesis.synthesize import synthesize
from tests.support.segmenting import TINY, segment
from tests.support.stores import Stores, made_volume
from tests.support.training import train

RAW = Path("nnUNet_raw") / "Dataset501_LiverMR"
THICK = 100.0


def export(out: Path, real: Path, synthetic: Path | None = None, **more: Any) -> Path:
    export_nnunet(out, real=real, synthetic=synthetic, settings=SegmentSettings(**{**TINY, **more}))
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    return export(tmp_path_factory.mktemp("nnunet") / "export", stores.mr)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    root = tmp_path_factory.mktemp("made")
    run = train(root / "run", stores, epochs=1, mr_slices=8)
    synthesize(run.path, source=stores.ct, out=root / "store")
    return root / "store"


def plan_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "plan.json").read_text())


def names_in(folder: Path, ending: str) -> set[str]:
    assert all(path.name.endswith(ending) for path in folder.iterdir())
    return {path.name.removesuffix(ending) for path in folder.iterdir()}


def volume_of(store: Path, case: str) -> Volume:
    return Store(store).read(case)


def truth_of(stores: Stores, case: dict[str, Any]) -> np.ndarray:
    labels = volume_of(stores.mr, case["case"]).labels
    assert labels is not None
    return labels[case["slice"]]


def predict(
    out: Path, exported: Path, stores: Stores, answer: Callable[[np.ndarray], np.ndarray] = lambda truth: truth
) -> Path:
    """What nnU-Net would write: a label map on the grid of each test image, and a copy of its dataset.json."""
    out.mkdir()
    shutil.copy(exported / RAW / "dataset.json", out)
    for name, case in plan_of(exported)["cases"]["test"].items():
        image = nibabel.load(exported / RAW / "imagesTs" / f"{name}_0000.nii.gz")
        # [slice, row, column] to nibabel's order; the affine as nnU-Net's NibabelIO keeps it.
        values = np.ascontiguousarray(answer(truth_of(stores, case))[None].transpose(2, 1, 0))
        nibabel.save(Nifti1Image(values, image.affine), out / f"{name}.nii.gz")  # pyright: ignore[reportAttributeAccessIssue]
    return out


def test_the_folder_is_nnunets_raw_format(exported: Path) -> None:
    raw = exported / RAW
    assert {path.name for path in raw.iterdir()} == {"dataset.json", "imagesTr", "labelsTr", "imagesTs"}
    content = json.loads((raw / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "noNorm"}
    assert content["labels"] == {"background": 0, "liver": 1}
    assert content["file_ending"] == ".nii.gz"
    # Five patients of six slices, four of them to train on.
    images = names_in(raw / "imagesTr", "_0000.nii.gz")
    assert content["numTraining"] == len(images) == 24
    assert names_in(raw / "labelsTr", ".nii.gz") == images
    held = names_in(raw / "imagesTs", "_0000.nii.gz")
    assert len(held) == 6
    assert not held & images
    assert {path.name for path in exported.iterdir()} == {
        "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "plan.json", "README.txt"
    }  # fmt: skip


def test_pixels_and_places_are_the_scans(exported: Path, stores: Stores) -> None:
    """The world position of a pixel, by nibabel, is that by the volume's own affine; so are values, on their scale."""
    cases = plan_of(exported)["cases"]
    for side, folder in (("train", "imagesTr"), ("test", "imagesTs")):
        name, case = list(cases[side].items())[4]
        image = nibabel.load(exported / RAW / folder / f"{name}_0000.nii.gz")
        assert isinstance(image, Nifti1Image)
        assert image.affine is not None
        assert image.shape == (32, 32, 1)
        assert image.header.get_zooms() == (10.0, 10.0, THICK)
        volume = volume_of(stores.mr, case["case"])
        for row, column in ((0, 0), (3, 30), (31, 7)):
            there = volume.affine @ [case["slice"], row, column, 1]
            np.testing.assert_allclose(image.affine @ [column, row, 0, 1], there, atol=1e-4)
        low, high = np.percentile(volume.voxels, (0.5, 99.5))
        scaled = np.clip((volume.voxels[case["slice"]] - low) * 2 / (high - low) - 1, -1, 1)
        np.testing.assert_allclose(image.get_fdata()[..., 0].T, scaled, atol=2e-5)
        if side == "train":
            label = nibabel.load(exported / RAW / "labelsTr" / f"{name}.nii.gz")
            assert isinstance(label, Nifti1Image)
            np.testing.assert_array_equal(np.asarray(label.dataobj)[..., 0].T, truth_of(stores, case))
            np.testing.assert_array_equal(label.affine, image.affine)


def test_a_slice_thinner_than_its_pixels_stays_the_widest_axis(tmp_path: Path, stores: Stores) -> None:
    """32 pixels of 10 mm at half the size: 20 mm, the first of them 5 mm further in; slices are 5 mm apart."""
    folder = export(tmp_path / "export", stores.mr, size=16, pixel_mm=20.0)
    name, case = next(iter(plan_of(folder)["cases"]["train"].items()))
    image = nibabel.load(folder / RAW / "imagesTr" / f"{name}_0000.nii.gz")
    assert isinstance(image, Nifti1Image)
    assert image.affine is not None
    assert image.header.get_zooms() == (20.0, 20.0, THICK)
    there = volume_of(stores.mr, case["case"]).affine @ [case["slice"], 0.5, 0.5, 1]
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], there, atol=1e-4)


def test_sides_are_those_of_the_segmenter(tmp_path: Path, exported: Path, stores: Stores, synthetic: Path) -> None:
    card = segment(tmp_path / "run", stores.mr, steps=1).card
    cases = plan_of(exported)["cases"]
    assert {case["patient"] for case in cases["test"].values()} == set(card["data"]["test_patients"])
    assert {case["patient"] for case in cases["train"].values()} == set(card["data"]["train_patients"])
    assert cases["synthetic"] == {}
    more = export(tmp_path / "more", stores.mr, synthetic, count=10, train_on="organ")
    cases = plan_of(more)["cases"]
    assert (len(cases["train"]), len(cases["synthetic"]), len(cases["test"])) == (16, 10, 6)
    assert json.loads((more / RAW / "dataset.json").read_text())["numTraining"] == 26
    assert names_in(more / RAW / "imagesTr", "_0000.nii.gz") == {*cases["train"], *cases["synthetic"]}
    alone = export(tmp_path / "alone", stores.mr, synthetic, count=10, without_real=True)
    assert names_in(alone / RAW / "labelsTr", ".nii.gz") == set(plan_of(alone)["cases"]["synthetic"])


def test_what_the_segmenter_refuses_is_refused(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match="both or neither"):
        export(tmp_path / "export", stores.mr, count=3)
    with pytest.raises(InputError, match="which saw the test patients mr-"):
        export(tmp_path / "export", stores.mr, synthetic, count=3, fold=2)
    with pytest.raises(InputError, match=r"--count 25: 24 synthetic slices"):
        export(tmp_path / "export", stores.mr, synthetic, count=25)
    with pytest.raises(InputError, match="a number from 1 to 999"):
        export_nnunet(tmp_path / "export", real=stores.mr, settings=SegmentSettings(**TINY), dataset=1000)
    assert list(tmp_path.iterdir()) == []


def test_no_patient_is_on_both_sides_of_a_fold(exported: Path) -> None:
    folds = json.loads((exported / "nnUNet_preprocessed" / RAW.name / "splits_final.json").read_text())
    owner = {name: case["patient"] for name, case in plan_of(exported)["cases"]["train"].items()}
    assert len(folds) == 4
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(owner)
        assert not {owner[name] for name in fold["train"]} & {owner[name] for name in fold["val"]}
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(owner)


def test_synthetic_cases_are_never_validated_on_nor_trained_on_beside_their_patient() -> None:
    real, made = {"a": "ann", "b": "bob"}, {"c": "ann", "d": "cleo"}
    folds = cross_validation(real, made, seed=0)
    assert sorted((sorted(fold["train"]), fold["val"]) for fold in folds) == [
        (["a", "c", "d"], ["b"]),
        (["b", "d"], ["a"]),
    ]
    assert cross_validation({}, made, seed=0) != []
    assert cross_validation({"a": "ann"}, made, seed=0) == []


def test_the_same_export_has_the_same_checksum(tmp_path: Path, exported: Path, stores: Stores) -> None:
    assert plan_of(export(tmp_path / "again", stores.mr))["sha256"] == plan_of(exported)["sha256"]
    assert plan_of(export(tmp_path / "other", stores.mr, window=(0, 9)))["sha256"] != plan_of(exported)["sha256"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, exported: Path, stores: Stores) -> None:
    before = sorted(exported.rglob("*"))
    with pytest.raises(InputError, match="a folder with something in it"):
        export(exported, stores.mr)
    assert sorted(exported.rglob("*")) == before
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file"):
        export(tmp_path / "file", stores.mr)
    (tmp_path / "empty").mkdir()
    assert (export(tmp_path / "empty", stores.mr) / "plan.json").is_file()


def test_stopped_on_the_way_it_leaves_nothing_and_killed_nothing_that_stays(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*words: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nnunet_export, "write_nifti", stop)
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / "export", stores.mr)
    assert list(tmp_path.iterdir()) == []
    # A kill leaves the hidden folder, named after a process that is gone.
    with subprocess.Popen(["true"]) as killed:
        pass
    left = tmp_path / f".export.{killed.pid}.partial"
    (left / "nnUNet_raw" / "Dataset501_LiverMR").mkdir(parents=True)
    (left / "plan.json").touch()
    export(tmp_path / "export", stores.mr)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_perfect_predictions_have_dice_1(tmp_path: Path, exported: Path, stores: Stores) -> None:
    card = read_nnunet(tmp_path / "run", export=exported, predictions=predict(tmp_path / "p", exported, stores)).card
    assert (card["kind"], card["settings"]["network"]) == ("segment", "nnunet")
    assert (card["scores"]["patient"]["dice"], card["scores"]["patient"]["iou"]) == (1.0, 1.0)
    assert card["scores"]["slice"] == {"dice": 1.0, "iou": 1.0}
    # Labels have no thresholds to draw a curve of.
    assert card["scores"]["auc"] is None
    assert card["data"]["train_slices"] == 24
    assert not card["leaking"]


def test_shifted_predictions_have_the_dice_of_the_shift(tmp_path: Path, exported: Path, stores: Stores) -> None:
    """Two columns to the left, counted by hand on the stored truth."""
    predictions = predict(tmp_path / "p", exported, stores, lambda truth: np.roll(truth, -2, axis=1))
    run = read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    (patient,) = run.card["data"]["test_patients"]
    labels = volume_of(stores.mr, patient).labels
    assert labels is not None
    both = int((labels[:, :, 2:] & labels[:, :, :-2]).sum())
    assert run.card["scores"]["patient"]["dice"] == pytest.approx(2 * both / (2 * int(labels.sum())))
    assert 0.3 < run.card["scores"]["patient"]["dice"] < 0.9
    stored = Store(run.path / "predictions").tensors(patient)
    np.testing.assert_array_equal(stored["answer"], np.roll(labels, -2, axis=2))
    np.testing.assert_array_equal(stored["label"], labels)


def softmax(predictions: Path, change: Callable[[np.ndarray], np.ndarray] = lambda organ: organ) -> Path:
    for file in predictions.glob("*.nii.gz"):
        image = nibabel.load(file)
        assert isinstance(image, Nifti1Image)
        label = np.asarray(image.dataobj).transpose(2, 1, 0)
        organ = change(np.where(label == 1, 0.8, 0.2)).astype(np.float32)
        np.savez_compressed(predictions / f"{file.name.removesuffix('.nii.gz')}.npz", probabilities=[1 - organ, organ])
    return predictions


def test_probabilities_give_a_curve_and_never_another_label(tmp_path: Path, exported: Path, stores: Stores) -> None:
    # A tie, which nnU-Net calls background.
    predictions = softmax(predict(tmp_path / "p", exported, stores), lambda organ: np.where(organ < 0.5, 0.5, organ))
    card = read_nnunet(tmp_path / "run", export=exported, predictions=predictions).card
    assert card["scores"]["patient"]["dice"] == 1.0
    assert card["scores"]["auc"] == 1.0
    assert card["nnunet"]["probabilities"] == "softmax"
    other = softmax(predict(tmp_path / "q", exported, stores), lambda organ: 1 - organ)
    with pytest.raises(InputError, match="pixels whose label is not the likelier class"):
        read_nnunet(tmp_path / "other", export=exported, predictions=other)
    next(iter(other.glob("*.npz"))).unlink()
    with pytest.raises(InputError, match=r"1 missing: real-.*\.npz"):
        read_nnunet(tmp_path / "other", export=exported, predictions=other)
    for file in other.glob("*.nii.gz"):
        np.savez(other / f"{file.name.removesuffix('.nii.gz')}.npz", softmax=np.zeros(3))
    with pytest.raises(InputError, match="no probabilities"):
        read_nnunet(tmp_path / "other", export=exported, predictions=other)


def test_read_again_it_is_left_alone_and_other_predictions_are_refused(
    tmp_path: Path, exported: Path, stores: Stores
) -> None:
    predictions = predict(tmp_path / "p", exported, stores)
    run = read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    before = (run.path / "card.json").stat().st_mtime_ns
    read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    assert (run.path / "card.json").stat().st_mtime_ns == before
    other = predict(tmp_path / "q", exported, stores, lambda truth: 1 - truth)
    with pytest.raises(InputError, match="a run with another input predictions"):
        read_nnunet(tmp_path / "run", export=exported, predictions=other)


def test_a_report_shows_it_beside_the_unet(tmp_path: Path, exported: Path, stores: Stores) -> None:
    real = segment(tmp_path / "real", stores.mr, steps=4)
    read = read_nnunet(tmp_path / "nnunet", export=exported, predictions=predict(tmp_path / "p", exported, stores))
    build_report([real.path, read.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "24 real, network nnunet" in page
    assert "24 real, network tiny" in page
    # What nnU-Net did not tell is not told as 0.
    assert page.count("not measured") >= 4
    assert "different numbers of training steps" not in page


def test_nnunet_with_synthetic_slices_is_an_arm_against_nnunet_without(
    tmp_path: Path, exported: Path, stores: Stores, synthetic: Path
) -> None:
    more = export(tmp_path / "more", stores.mr, synthetic, count=9)
    paths = [tmp_path / "without", tmp_path / "with"]
    for path, one in zip(paths, (exported, more), strict=True):
        predictions = softmax(predict(path.with_suffix(".predictions"), one, stores))
        read_nnunet(path, export=one, predictions=predictions)
    build_report(paths, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "24 real + 9 EssNet" in page
    # Made-up probabilities of one test patient: nothing can be shown, whatever the reason that comes first.
    assert re.search(r"24 real \+ 9 EssNet[^<]*: 3D Dice not (shown|comparable)", page)


def rewrite(file: Path, change: Callable[[Nifti1Image], Nifti1Image]) -> None:
    image = nibabel.load(file)
    assert isinstance(image, Nifti1Image)
    # The pixels are read before their file is written over.
    nibabel.save(change(Nifti1Image(np.asarray(image.dataobj), image.affine)), file)


def moved(image: Nifti1Image) -> Nifti1Image:
    assert image.affine is not None
    affine = image.affine.copy()
    affine[0, 3] += 3
    return Nifti1Image(np.asarray(image.dataobj), affine)


def flipped(image: Nifti1Image) -> Nifti1Image:
    assert image.affine is not None
    return Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([-1, 1, 1, 1]))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "extra": lambda file: shutil.copy(file, file.with_name("real-mr-9-0000.nii.gz")),
    "shape": lambda file: rewrite(file, lambda image: Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine)),
    "affine": lambda file: rewrite(file, moved),
    "flipped": lambda file: rewrite(file, flipped),
    "value": lambda file: rewrite(
        file, lambda image: Nifti1Image(np.asarray(image.dataobj) + np.uint8(2), image.affine)
    ),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "no gzip": lambda file: file.write_bytes(gzip.decompress(file.read_bytes())),
    "unmarked": lambda file: (file.parent / "dataset.json").write_text("{}"),
    "alone": lambda file: (file.parent / "dataset.json").unlink(),
    "nowhere": lambda file: shutil.rmtree(file.parent),
}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", r"1 missing: real-mr-\d-0000\.nii\.gz"),
        ("extra", r"1 of no test slice of this export: real-mr-9-0000\.nii\.gz"),
        ("shape", r"31 x 32 x 1 pixels\. Expected: 32 x 32 x 1"),
        ("affine", "a slice 3.00 mm away"),
        ("flipped", "mm away from its image"),
        ("value", "the value 2. Expected: 0 and 1 only"),
        ("cut", "not NIfTI, or cut"),
        ("no gzip", "not NIfTI, or cut"),
        ("unmarked", "trained on something else"),
        ("alone", "dataset.json: no such file"),
        ("nowhere", "no such folder"),
    ],
)
def test_bad_predictions_are_refused_before_a_run_is_made(
    name: str, sentence: str, tmp_path: Path, exported: Path, stores: Stores
) -> None:
    predictions = predict(tmp_path / "p", exported, stores)
    DAMAGE[name](sorted(predictions.glob("*.nii.gz"))[0])
    with pytest.raises(InputError, match=sentence):
        read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    assert not (tmp_path / "run").exists()


def test_predictions_of_another_export_are_refused(tmp_path: Path, exported: Path, stores: Stores) -> None:
    """The same names on the same grid: only what nnU-Net copied along tells them apart."""
    other = export(tmp_path / "other", stores.mr, real_slices=12)
    predictions = predict(tmp_path / "p", other, stores)
    with pytest.raises(InputError, match=r"trained on another export \([0-9a-f]{12}\)"):
        read_nnunet(tmp_path / "run", export=exported, predictions=predictions)


@pytest.fixture
def mine(tmp_path: Path) -> tuple[Path, Path]:
    """A store and its export, both of one's own, to be changed."""
    rng = np.random.default_rng(5)
    with writing_store(tmp_path / "mr") as writer:
        for number in range(5):
            writer.add(f"mr-{number}", made_volume(rng, "mr"), patient=f"mr-{number}")
    return tmp_path / "mr", export(tmp_path / "export", tmp_path / "mr")


def test_what_was_changed_since_the_export_is_found_out(tmp_path: Path, mine: tuple[Path, Path]) -> None:
    store, exported = mine
    predictions = predict(tmp_path / "p", exported, Stores(store, store))

    def refused(sentence: str, folder: Path = exported) -> None:
        with pytest.raises(InputError, match=sentence):
            read_nnunet(tmp_path / "run", export=folder, predictions=predictions)
        assert not (tmp_path / "run").exists()

    refused("no such folder", tmp_path / "nowhere")
    refused("no plan.json in it", store)
    plan = (exported / "plan.json").read_text()
    (exported / "plan.json").write_text(re.sub(r'"fold": 0', '"fold": 1', plan))
    refused("a plan that was changed")
    (exported / "plan.json").write_text(plan)
    shutil.move(store, tmp_path / "elsewhere")
    refused(r"the store \.\./mr of the export is not there")
    shutil.move(tmp_path / "elsewhere", store)
    with writing_store(store, append=True) as writer:
        writer.add("mr-9", made_volume(np.random.default_rng(9), "mr"), patient="mr-9")
    refused(r"changed, added or removed since the export \(mr-9\)")


def test_other_slices_from_the_same_stores_are_found_out(tmp_path: Path, exported: Path, stores: Stores) -> None:
    """As another version of crossmod would load them: here a plan whose checksum fits, with one pixel's other."""
    from crossmod.segmentation.nnunet.plan import checksum

    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    plan = plan_of(copy)
    plan["stores"]["real"] = os.path.relpath(stores.mr, copy)
    name = next(iter(plan["cases"]["train"]))
    plan["cases"]["train"][name]["sha256"] = "0" * 64
    plan["sha256"] = checksum(plan)
    (copy / "plan.json").write_text(json.dumps(plan))
    dataset = json.loads((copy / RAW / "dataset.json").read_text())
    (copy / RAW / "dataset.json").write_text(json.dumps({**dataset, "crossmod_export": plan["sha256"]}))
    with pytest.raises(InputError, match=f"would not export today \\({name}\\)"):
        read_nnunet(tmp_path / "run", export=copy, predictions=predict(tmp_path / "p", copy, stores))


def test_from_the_command_line(tmp_path: Path, stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "export"
    main(
        [
            "nnunet",
            "export",
            str(out),
            "--real",
            str(stores.mr),
            "--preset",
            "tiny",
            "--size",
            "32",
            "--frame",
            "stretch",
        ]
    )
    text = capsys.readouterr().out
    for command in (out / "README.txt").read_text().splitlines():
        assert command in text
    assert "nnUNetv2_train 501 2d 3" in text
    predictions = predict(tmp_path / "p", out, stores)
    main(["nnunet", "read", str(tmp_path / "run"), "--export", str(out), "--predictions", str(predictions)])
    assert "Dice 1.000 by patient (3D, 1 patients)" in capsys.readouterr().out
    assert Run(tmp_path / "run").card["settings"]["steps"] == 500
    with pytest.raises(SystemExit) as stop:
        main(["nnunet", "export", str(out), "--real", str(stores.mr), "--epochs", "3"])
    assert stop.value.code == 2


@pytest.mark.nnunet
def test_nnunet_itself_takes_the_export_and_its_predictions_are_read(tmp_path: Path, stores: Stores) -> None:
    """The commands of README.txt, for one epoch of one fold on a CPU."""
    environment = os.environ.get("CROSSMOD_NNUNET")
    if not environment:
        pytest.skip("nnU-Net: CROSSMOD_NNUNET names no environment (the folder above bin/nnUNetv2_train)")
    out = export(tmp_path / "export", stores.mr)
    variables = {f"nnUNet_{name}": str(out / f"nnUNet_{name}") for name in ("raw", "preprocessed", "results")}
    path = f"{Path(environment) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    one = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
    lines = [line for line in (out / "README.txt").read_text().splitlines() if line.startswith("nnUNetv2_")]
    for line in lines:
        if re.match(r"nnUNetv2_train 501 2d [123]", line):
            continue
        line = line.replace("-f 0 1 2 3", "-f 0")
        words = [] if line.startswith("nnUNetv2_plan") else ["-tr", "nnUNetTrainer_1epoch", "-device", "cpu"]
        done = subprocess.run(
            [*line.split(), *words], cwd=out, env={**os.environ, **variables, **one, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    plans = json.loads((out / "nnUNet_preprocessed" / RAW.name / "nnUNetPlans.json").read_text())
    assert list(plans["configurations"]) == ["2d"]
    assert plans["transpose_forward"] == [0, 1, 2]
    card = read_nnunet(tmp_path / "run", export=out, predictions=out / "predictions").card
    assert card["scores"]["patient"]["dice"] > 0.8
    assert card["scores"]["auc"] > 0.95
