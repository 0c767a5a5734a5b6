from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.metrics.segmentation import label_consistency as consistency
from crossmod.report.build import build_report
from crossmod.synthesis.synthesize import shift_of, synthesize
from crossmod.synthesis.translator import Translator, load_translator
from tests.support.stores import Stores
from tests.support.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    return train(tmp_path_factory.mktemp("run") / "essnet", stores).path


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory, run: Path, stores: Stores) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "store"
    synthesize(run, source=stores.ct, out=out)
    return out


def test_every_labelled_slice_becomes_one(synthetic: Path, stores: Stores) -> None:
    """Six patients, four of their six slices with liver."""
    store, source = Store(synthetic), Store(stores.ct)
    store.verify()
    assert [case.id for case in store.cases] == [f"ct-{i}-as-mr" for i in range(6)]
    for case in store.cases:
        assert (case.modality, case.sequence, case.patient) == ("mr", "t2_spir", case.id[:4])
        assert case.synthetic is not None
        assert [origin.source_slice for origin in case.synthetic.slices] == [1, 2, 3, 4]
        made, was = store.read(case.id), source.read(case.synthetic.source_case)
        assert was.labels is not None
        assert made.labels is not None
        np.testing.assert_array_equal(made.labels, was.labels[1:5])
        np.testing.assert_allclose(made.affine @ [0, 3, 5, 1], was.affine @ [1, 3, 5, 1])


def test_the_image_is_what_the_generator_says_brought_back_to_units(synthetic: Path, run: Path, stores: Stores) -> None:
    model = load_translator(run)
    source = Store(stores.ct).read("ct-2").voxels[1:5].astype(np.float32)
    fakes, _ = model.translate(np.clip((source + 160) / 200 - 1, -1, 1).astype(np.float32))
    side = model.card["data"]["mr"]
    expected = (fakes + 1) / 2 * (side["high"] - side["low"]) + side["low"]
    np.testing.assert_allclose(Store(synthetic).read("ct-2-as-mr").voxels, expected, atol=1e-2)


def test_the_score_is_the_dice_of_answer_and_mask(synthetic: Path) -> None:
    store = Store(synthetic)
    tensors, synthetic_record = store.tensors("ct-1-as-mr"), store.record("ct-1-as-mr").synthetic
    assert synthetic_record is not None
    for place, origin in enumerate(synthetic_record.slices):
        answer, mask = tensors["answer"][place] == 1, tensors["label"][place] == 1
        assert origin.consistency == pytest.approx(2 * (answer & mask).sum() / (answer.sum() + mask.sum()))


def test_a_generator_that_shifts_is_found_out(
    tmp_path: Path, run: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that gives back its input three rows lower: labels then lie three rows too high."""

    def shifted(self: Translator, images: np.ndarray) -> tuple[np.ndarray, None]:
        return np.roll(images[:, 0], 3, axis=1), None

    monkeypatch.setattr(Translator, "translate", shifted)
    made = synthesize(run, source=stores.ct, out=tmp_path / "store")
    shift = shift_of(made.store)
    assert shift is not None
    assert (shift.rows, shift.columns) == pytest.approx((30.0, 0.0), abs=1)  # three pixels of 10 mm
    assert shift.mm == pytest.approx(30.0, abs=1)
    assert "shifted by 30." in caplog.text
    build_report([tmp_path / "store"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"Shift of the edges from their source: {shift}." in page
    assert "The edges of the synthetic slices are shifted by 30." in page


def test_consistency_of_several_organs_by_hand() -> None:
    truth = np.array([[1, 1, 2, 2]], dtype=np.uint8)
    answer = np.array([[1, 0, 2, 2]], dtype=np.uint8)
    assert consistency(answer, truth) == pytest.approx((2 / 3 + 1) / 2)
    assert consistency(np.array([[3, 0, 0, 0]], dtype=np.uint8), truth) == 0.0
    empty = np.zeros((1, 4), dtype=np.uint8)
    assert consistency(empty, empty) == 1.0


def test_labels_that_the_model_does_not_know_are_kept(tmp_path: Path, run: Path, stores: Stores) -> None:
    """With their own values; the answer has the model's classes, which the record names."""
    volume = Store(stores.ct).read("ct-0")
    assert volume.labels is not None
    labels = np.where(volume.labels > 0, 6, 0).astype(np.uint8)
    labels[2, :4, :4] = 1
    with writing_store(tmp_path / "ct") as writer:
        writer.add("one", volume.with_labels(labels, {1: "spleen", 6: "liver"}), patient="one")
    made = synthesize(run, source=tmp_path / "ct", out=tmp_path / "store").store
    record = made.cases[0]
    assert record.labels == {1: "spleen", 6: "liver"}
    assert record.slices_with == {"spleen": 1, "liver": 4}
    np.testing.assert_array_equal(made.tensors(record.id)["label"], labels[1:5])
    assert record.synthetic is not None
    assert record.synthetic.organs == ("liver",)
    same = synthesize(run, source=stores.ct, out=tmp_path / "same").store.record("ct-0-as-mr").synthetic
    assert same is not None
    assert [origin.consistency for origin in record.synthetic.slices] == [o.consistency for o in same.slices]


@pytest.mark.parametrize("contrast", [True, False, None])
def test_synthetic_ct_is_of_the_kind_that_was_trained_on(tmp_path: Path, stores: Stores, contrast: bool | None) -> None:
    """The two kinds are never mixed: not among real cases, and not when synthetic ones are held against them."""
    with writing_store(tmp_path / "ct") as writer:
        for record in Store(stores.ct).cases:
            volume = replace(Store(stores.ct).read(record.id), contrast=contrast)
            writer.add(record.id, volume, patient=record.patient)
    ct = Stores(tmp_path / "ct", stores.mr)
    run = train(tmp_path / "run", ct, family="cyclegan", source="mr", epochs=1).path
    made = synthesize(run, source=stores.mr, out=tmp_path / "store").store
    assert {case.contrast for case in made.cases} == {contrast}


def test_the_filter_keeps_what_is_good_enough(tmp_path: Path, run: Path, synthetic: Path, stores: Stores) -> None:
    scores = [o.consistency for c in Store(synthetic).cases if c.synthetic for o in c.synthetic.slices]
    known = sorted(score for score in scores if score is not None)
    limit = (known[7] + known[8]) / 2
    wanted = sum(score >= limit for score in known)
    made = synthesize(run, source=stores.ct, out=tmp_path / "store", min_consistency=limit)
    kept = [o.consistency for c in made.store.cases if c.synthetic for o in c.synthetic.slices]
    assert len(kept) == made.slices == wanted
    assert made.left_out == 24 - wanted
    assert all(score is not None and score >= limit for score in kept)


def test_nothing_left_leaves_nothing_behind(tmp_path: Path, run: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match=r"none with a consistency of 1\.0 or more"):
        synthesize(run, source=stores.ct, out=tmp_path / "store", min_consistency=1.0)
    assert list(tmp_path.iterdir()) == []


def test_all_slices(tmp_path: Path, run: Path, stores: Stores) -> None:
    made = synthesize(run, source=stores.ct, out=tmp_path / "store", slices="all")
    assert made.slices == 36


def test_a_store_without_the_source_modality(tmp_path: Path, run: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="Expected: ct cases"):
        synthesize(run, source=stores.mr, out=tmp_path / "store")


def test_cyclegan_has_no_score_and_says_so(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, family="cyclegan").path
    made = synthesize(run, source=stores.ct, out=tmp_path / "store")
    assert all(o.consistency is None for c in made.store.cases if c.synthetic for o in c.synthetic.slices)
    assert "answer" not in made.store.tensors("ct-0-as-mr")
    with pytest.raises(InputError, match="neither a segmentor nor a judge to score slices with"):
        synthesize(run, source=stores.ct, out=tmp_path / "other", min_consistency=0.5)


def test_provenance_names_everyone_the_model_saw(synthetic: Path, run: Path) -> None:
    card = load_translator(run).card
    for case in Store(synthetic).cases:
        assert case.synthetic is not None
        assert set(case.synthetic.trained_on) == {*card["data"]["ct"]["patients"], *card["data"]["mr"]["patients"]}
        assert not set(case.synthetic.trained_on) & set(card["held_out"])
        assert case.synthetic.model == card["weights_sha256"]
