"""Exports and predictions of several organs, read and written here with nibabel, json and numpy alone."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.segmentation.nnunet.export import export_nnunet
from crossmod.segmentation.nnunet.import_predictions import read_nnunet
from crossmod.settings import SegmentSettings
from tests.support.segmenting import TINY
from tests.support.several_organs import ORGANS, write_stores

RAW = Path("nnUNet_raw") / "Dataset501_LiverSpleenMR"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nnunet")
    both = write_stores(root)
    export_nnunet(root / "export", real=both.mr, settings=SegmentSettings(**{**TINY, "organs": ORGANS}))
    return root / "export"


def predict(out: Path, exported: Path, *, softmax: bool = False, swapped: bool = False) -> Path:
    """The truth in the order of the organs, shifted by two columns; with `swapped` probabilities of another label."""
    out.mkdir()
    shutil.copy(exported / RAW / "dataset.json", out)
    store = Store(exported.parent / "mr")
    for name, case in json.loads((exported / "plan.json").read_text())["cases"]["test"].items():
        image = nibabel.load(exported / RAW / "imagesTs" / f"{name}_0000.nii.gz")
        labels = store.read(case["case"]).labels
        assert labels is not None
        truth = np.select([labels[case["slice"]] == 1, labels[case["slice"]] == 4], [1, 2]).astype(np.uint8)
        label = np.roll(truth, 2, axis=1)
        values = np.ascontiguousarray(label[None].transpose(2, 1, 0))
        nibabel.save(Nifti1Image(values, image.affine), out / f"{name}.nii.gz")  # pyright: ignore[reportAttributeAccessIssue]
        if softmax:
            every = np.where(label == np.arange(3)[:, None, None], 0.4, 0.3)[:, None]
            np.savez(out / f"{name}.npz", probabilities=(every[::-1] if swapped else every).astype(np.float16))
    return out


def test_labels_of_all_organs_are_exported(exported: Path) -> None:
    content = json.loads((exported / RAW / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    files = [nibabel.load(path) for path in sorted((exported / RAW / "labelsTr").iterdir())]
    assert set(np.unique([np.asarray(file.dataobj) for file in files])) == {0, 1, 2}  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("softmax", [False, True])
def test_predictions_of_all_organs_are_scored(exported: Path, tmp_path: Path, softmax: bool) -> None:
    predictions = predict(tmp_path / "predictions", exported, softmax=softmax)
    run = read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    (patient,) = run.card["data"]["test_patients"]
    scores = run.card["scores"]
    tensors = Store(run.path / "predictions").tensors(patient)
    np.testing.assert_array_equal(tensors["answer"], np.roll(tensors["label"], 2, axis=2))
    by_hand = []
    for number, organ in enumerate(ORGANS, start=1):
        answer, truth = tensors["answer"] == number, tensors["label"] == number
        by_hand.append(2 * (answer & truth).sum() / (answer.sum() + truth.sum()))
        assert scores["organs"][organ]["patient"]["dice"] == pytest.approx(by_hand[-1])
        assert (scores["organs"][organ]["auc"] is None) != softmax
    assert scores["patient"]["dice"] == pytest.approx(np.mean(by_hand))
    assert (scores["auc"] is None) != softmax


def test_probabilities_of_another_label_and_values_of_no_organ_are_refused(exported: Path, tmp_path: Path) -> None:
    predictions = predict(tmp_path / "swapped", exported, softmax=True, swapped=True)
    with pytest.raises(InputError, match="whose label is not the likelier class"):
        read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
    predictions = predict(tmp_path / "labels", exported)
    file = next(iter(sorted(predictions.glob("*.nii.gz"))))
    image = nibabel.load(file)
    values = np.full((32, 32, 1), 3, np.uint8)
    nibabel.save(Nifti1Image(values, image.affine), file)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=r"the value 3\. Expected: whole numbers from 0 to 2"):
        read_nnunet(tmp_path / "run", export=exported, predictions=predictions)
