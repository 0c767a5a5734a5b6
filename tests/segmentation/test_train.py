import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossmod.config import build
from crossmod.data.batches import UnpairedBatches
from crossmod.data.slices import SliceKey, SliceSet, to_pixels
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.networks.unet import tiny_unet
from crossmod.runs import Run
from crossmod.segmentation.predict import predict
from crossmod.settings import SegmentSettings
from crossmod.synthesis import train as translate_train
from crossmod.synthesis.synthesize import synthesize
from tests.support.segmenting import segment
from tests.support.stores import Stores
from tests.support.training import train


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    root = tmp_path_factory.mktemp("made")
    synthesize(train(root / "run", stores).path, source=stores.ct, out=root / "store")
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
    with pytest.raises(InputError, match=r"--count 25: 24 synthetic slices .* Expected: a count up to 24"):
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


def test_a_test_case_under_another_name_is_found_out(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    """The same files under other pseudonyms: the checksums tell."""
    other = tmp_path / "other"
    shutil.copytree(stores.mr, other)
    text = (other / "manifest.json").read_text().replace('"patient": "mr-', '"patient": "somebody-')
    (other / "manifest.json").write_text(text)
    refused = 0
    for fold in range(5):
        with contextlib.suppress(InputError):
            segment(tmp_path / f"run-{fold}", other, synthetic, count=3, fold=fold, steps=1)
            continue
        refused += 1
    # The translator saw four of the five.
    assert refused == 4


def test_the_source_patient_of_a_slice_counts_as_seen(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    """A person with both scans: her CT made the slices, so her MR cannot be tested on."""
    other = tmp_path / "other"
    shutil.copytree(stores.mr, other)
    held = segment(tmp_path / "plain", stores.mr, steps=1).card["data"]["test_patients"][0]
    hers = next(case.person for case in Store(stores.ct).cases if case.patient == "ct-3")
    content = json.loads((other / "manifest.json").read_text())
    for case in content["cases"]:
        case["person"] = hers if case["patient"] == held else case["person"]
    (other / "manifest.json").write_text(json.dumps(content))
    unseen = tmp_path / "unseen"
    shutil.copytree(synthetic, unseen)
    manifest = json.loads((unseen / "manifest.json").read_text())
    for case in manifest["cases"]:
        case["synthetic"]["trained_on"] = []
    (unseen / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"which saw the test patients {held}"):
        segment(tmp_path / "run", other, unseen, count=3, test_patients=(held,), steps=1)


def test_by_slice_another_split_of_the_translator_is_refused(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match="trained by another split"):
        segment(tmp_path / "run", stores.mr, synthetic, count=3, split="slice", test_slices=4)


def test_by_slice_the_translator_sees_no_slice_that_is_tested_on(tmp_path: Path, stores: Stores) -> None:
    by_slice: dict[str, Any] = {"split": "slice", "test_slices": 4, "split_seed": 3}
    seen: list[SliceSet] = []

    def watch(ct: SliceSet, mr: tuple[SliceSet, ...], *rest: Any, **more: Any) -> UnpairedBatches:
        seen.append(mr[0])
        return UnpairedBatches(ct, mr, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translate_train, "UnpairedBatches", watch)
        translator = train(tmp_path / "run", stores, mr_slices=0, **by_slice)
    synthesize(translator.path, source=stores.ct, out=tmp_path / "store")
    run = segment(tmp_path / "seg", stores.mr, tmp_path / "store", count=3, steps=1, **by_slice)
    trained = {(key.case, key.slice) for key in seen[0].keys}
    tested = {(case, index) for case, rows in run.card["tested"].items() for index in rows}
    assert len(trained) == 16
    assert len(tested) == 4
    assert not trained & tested


def test_by_slice_it_is_labelled(tmp_path: Path, stores: Stores) -> None:
    run = segment(tmp_path / "run", stores.mr, split="slice", test_slices=4, epochs=1)
    assert run.card["leaking"]
    assert run.card["data"]["test_slices"] == 4
    tested = run.card["tested"]
    store = Store(run.path / "predictions")
    assert {case.id: case.shape[0] for case in store.cases} == {case: len(rows) for case, rows in tested.items()}


def test_real_cases_are_no_synthetic_ones(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match=r"real cases\. Expected: synthetic mr"):
        segment(tmp_path / "run", stores.mr, stores.mr, count=1)


def test_synthetic_cases_are_no_real_ones(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    with pytest.raises(InputError, match="synthetic cases"):
        segment(tmp_path / "run", synthetic)
    with pytest.raises(InputError, match="synthetic cases"):
        train(tmp_path / "run", Stores(stores.ct, synthetic))
    assert not (tmp_path / "run").exists()


def test_folds_are_the_translators_where_few_are_labelled(tmp_path: Path, stores: Stores) -> None:
    """Two of the five MR patients have labels: every fold must hold out who the translator held out."""
    some = tmp_path / "some"
    with writing_store(some) as writer:
        for number, case in enumerate(Store(stores.mr).cases):
            volume = Store(stores.mr).read(case.id)
            writer.add(case.id, volume if number < 2 else volume.with_labels(None, {}), patient=case.patient)
    tested = []
    for fold in range(5):
        held = train(tmp_path / f"t{fold}", Stores(stores.ct, some), epochs=1, ct_slices=2, mr_slices=2, fold=fold).card
        try:
            card = segment(tmp_path / f"s{fold}", some, steps=1, fold=fold).card
        except InputError as error:
            assert "no test slice that shows" in str(error)  # noqa: PT017 - the other folds must go through
            continue
        assert set(card["data"]["test_patients"]) <= set(held["held_out"])
        tested += card["data"]["test_patients"]
    assert sorted(tested) == ["mr-0", "mr-1"]


def test_only_consistent_slices_are_used(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    scores = [o.consistency or 0.0 for c in Store(synthetic).cases if c.synthetic for o in c.synthetic.slices]
    limit = sorted(scores)[10]
    good = sum(score >= limit for score in scores)
    segment(tmp_path / "run", stores.mr, synthetic, count=good, min_consistency=limit, steps=1)
    with pytest.raises(InputError, match=f"{good} synthetic slices"):
        segment(tmp_path / "other", stores.mr, synthetic, count=good + 1, min_consistency=limit, steps=1)


def test_settings_reach_the_training(tmp_path: Path, stores: Stores) -> None:
    """Each setting changes the outcome, or what was trained on."""
    plain = segment(tmp_path / "plain", stores.mr, steps=4).card
    assert plain["steps"] == 4
    assert plain["data"]["train_slices"] == 24
    organ = segment(tmp_path / "organ", stores.mr, steps=4, train_on="organ", test_on="organ").card
    assert (organ["data"]["train_slices"], organ["data"]["test_slices"]) == (16, 4)
    for name, more in {"augment": {"augment": True}, "percentiles": {"percentiles": (5, 95)}}.items():
        other = segment(tmp_path / name, stores.mr, steps=4, **more).card
        assert other["scores"]["auc"] != plain["scores"]["auc"], name


def test_prediction_is_without_dropout_and_with_the_learnt_statistics() -> None:
    network = tiny_unet().train()
    images = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16)).astype(np.float32)
    first, again = (predict(network, images, torch.device("cpu")).probability for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not network.training
    # A slice alone is judged as in a batch.
    alone = predict(network, images[1:2], torch.device("cpu")).probability
    np.testing.assert_allclose(alone[0], first[1], atol=1e-6)


def test_a_set_is_predicted_like_its_images_and_never_whole() -> None:
    """Seen by the network: batches of at most so many slices, in order, all of them, as float32 in [-1, 1]."""
    seen: list[torch.Tensor] = []

    class Watching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return 3 * images

    images = np.random.default_rng(0).uniform(-1, 1, (7, 16, 16)).astype(np.float32)
    keys = tuple(SliceKey("c", "p", i) for i in range(7))
    slices = SliceSet(to_pixels(images), None, np.ones(7, bool), np.ones(7, bool), keys, {})
    found = predict(Watching(), slices, torch.device("cpu"), batch=3).probability
    assert [tuple(batch.shape) for batch in seen] == [(3, 1, 16, 16), (3, 1, 16, 16), (1, 1, 16, 16)]
    assert {batch.dtype for batch in seen} == {torch.float32}
    np.testing.assert_allclose(torch.cat(seen)[:, 0].numpy(), images, atol=1.6e-5)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-3 * images)), atol=3e-5)


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


def test_synthetic_slices_alone(tmp_path: Path, stores: Stores, synthetic: Path) -> None:
    """No real slice is trained on, and all held-out real ones are tested on."""
    run = segment(tmp_path / "run", stores.mr, synthetic, count=16, without_real=True, epochs=2)
    data = run.card["data"]
    assert (data["train_slices"], data["train_patients"]) == (0, [])
    assert run.card["steps"] == 2 * 16 // 8
    assert run.card["scores"]["test_slices"] == 6
    with pytest.raises(InputError, match="nothing to train on"):
        build(SegmentSettings, {"without_real": True}, subject="")
