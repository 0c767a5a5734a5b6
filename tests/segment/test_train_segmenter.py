from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Stores
from test_train_translator import train

from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.runs import Run
from crossmod.segment.train import train_segmenter
from crossmod.settings import SegmentSettings
from crossmod.translate.synthesize import synthesize

TINY: dict[str, Any] = {"network": "tiny", "size": 32, "learning_rate": 5e-3, "batch_size": 8, "epochs": 25}


def segment(out: Path, real: Path, synthetic: Path | None = None, **more: Any) -> Run:
    return train_segmenter(
        out, real=real, synthetic=synthetic, settings=SegmentSettings(**{**TINY, **more}), device="cpu"
    )


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    root = tmp_path_factory.mktemp("made")
    synthesize(train(root / "run", stores).path, source=stores.ct, out=root / "store", device="cpu")
    return root / "store"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Run:
    return segment(tmp_path_factory.mktemp("real") / "run", stores.mr)


def test_it_learns_what_is_easy(run: Run) -> None:
    scores = run.card["scores"]
    assert scores["patient"]["dice"] > 0.8
    assert scores["auc"] > 0.98
    assert not scores["constant"]
    assert scores["test_slices"] == 6
    assert scores["test_slices_with_organ"] == 4


def test_scores_are_those_of_the_stored_predictions(run: Run, stores: Stores) -> None:
    store = Store(run.path / "predictions")
    for patient in run.card["data"]["test_patients"]:
        tensors = store.tensors(patient)
        truth = Store(stores.mr).read(patient).labels
        assert truth is not None
        np.testing.assert_array_equal(tensors["label"], truth)
        both = (tensors["answer"] & truth).sum()
        expected = 2 * both / (tensors["answer"].sum() + truth.sum())
        assert run.card["scores"]["patient_values"]["dice"][patient] == pytest.approx(expected)
        by_slice = [row for row in run.card["scores"]["slice_values"] if row["case"] == patient]
        assert [row["slice"] for row in by_slice] == [1, 2, 3, 4]
        for row in by_slice:
            a, t = tensors["answer"][row["slice"]], truth[row["slice"]]
            assert row["dice"] == pytest.approx(2 * (a & t).sum() / (a.sum() + t.sum()))


def test_train_and_test_share_no_patient(run: Run) -> None:
    data = run.card["data"]
    assert not set(data["train_patients"]) & set(data["test_patients"])
    assert len(data["train_patients"]) == 4


def test_with_synthetic_slices(tmp_path: Path, stores: Stores, synthetic: Path, run: Run) -> None:
    more = segment(tmp_path / "run", stores.mr, synthetic, count=10, epochs=2)
    assert more.card["data"]["synthetic_family"] == "essnet"
    assert more.card["data"]["test_patients"] == run.card["data"]["test_patients"]
    # 24 real + 10 synthetic in batches of 8, twice.
    assert more.card["steps"] == 10


def test_more_than_there_is(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match=r"--count 25: 24 synthetic slices .* Wanted: a count up to 24"):
        segment(tmp_path / "run", stores.mr, synthetic, count=25)
    assert not (tmp_path / "run").exists()


def test_count_and_store_go_together(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match="both or neither"):
        segment(tmp_path / "run", stores.mr, count=3)
    with pytest.raises(InputError, match="both or neither"):
        segment(tmp_path / "run", stores.mr, synthetic)


def test_a_translator_that_saw_a_test_patient_is_refused(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match="which saw the test patients mr-"):
        segment(tmp_path / "run", stores.mr, synthetic, count=3, fold=2)


def test_by_slice_it_is_let_through_and_labelled(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    run = segment(tmp_path / "run", stores.mr, synthetic, count=3, split="slice", test_slices=4, epochs=1)
    assert run.card["leaking"]
    assert run.card["data"]["test_slices"] == 4
    tested = run.card["tested"]
    store = Store(run.path / "predictions")
    assert {case.id: case.shape[0] for case in store.cases} == {case: len(rows) for case, rows in tested.items()}


def test_real_cases_are_no_synthetic_ones(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="synthetic cases only"):
        segment(tmp_path / "run", stores.mr, stores.mr, count=1)


def test_few_real_slices_are_drawn_from_all_patients(tmp_path: Path, stores: Stores) -> None:
    run = segment(tmp_path / "run", stores.mr, real_slices=4, train_on="organ", epochs=1)
    assert run.card["data"]["train_slices"] == 4
    assert len(run.card["data"]["train_patients"]) == 4


def test_killed_while_writing_predictions_it_starts_them_anew(tmp_path: Path, stores: Stores) -> None:
    run = segment(tmp_path / "run", stores.mr, epochs=1)
    before = run.card["scores"]
    (run.path / "card.json").unlink()
    (run.path / "predictions" / "manifest.json").unlink()
    assert segment(tmp_path / "run", stores.mr, epochs=1).card["scores"] == before


def test_two_organs_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="one organ, got liver, spleen"):
        SegmentSettings(organs=("liver", "spleen"))
