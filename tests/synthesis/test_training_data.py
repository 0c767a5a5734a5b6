import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.segmentation.train import train_segmenter
from crossmod.settings import SegmentSettings, TranslateSettings
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.training_data import TrainingData, divide, scored_slices, training_slices
from crossmod.synthesis.translator import load_translator
from tests.support.registered import two_sequences
from tests.support.stores import Stores
from tests.support.training import TINY, train

SIDES: tuple[Modality, Modality] = ("ct", "mr")


def divided(stores: Stores, **more: Any) -> TrainingData:
    return divide({"ct": Store(stores.ct), "mr": Store(stores.mr)}, TranslateSettings(**{**TINY, **more}))


def patients(data: TrainingData, which: str, side: Modality) -> set[str]:
    return {group.first.patient for group in getattr(data, which)[side]}


@pytest.mark.parametrize("source", SIDES)
@pytest.mark.parametrize("count", [1, 2])
def test_everybody_is_in_one_place(stores: Stores, source: Modality, count: int) -> None:
    data = divided(stores, select_every=1, select_patients=count, source=source)
    everybody = {side: {case.patient for case in Store(getattr(stores, side)).cases} for side in SIDES}
    for side in SIDES:
        train_side, scored = patients(data, "train", side), patients(data, "scored", side)
        assert len(scored) == count
        assert not train_side & scored
        assert train_side | scored == everybody[side] - data.held_out
        assert not (train_side | scored) & data.held_out
        assert set(data.inputs[side]) == {
            case.id for case in Store(getattr(stores, side)).cases if case.patient not in data.held_out
        }
    # Held out is a fold of the target side, a fifth of five or of six, rounded up.
    target = "mr" if source == "ct" else "ct"
    assert data.held_out < everybody[target]
    assert len(data.held_out) == {"mr": 1, "ct": 2}[target]


@pytest.mark.parametrize("source", SIDES)
def test_source_patients_are_all_that_is_trained_on_and_the_others_are_held_out(
    stores: Stores, source: Modality
) -> None:
    everybody = divided(stores, source=source)
    names = sorted(patients(everybody, "train", source))[1:3]
    data = divided(stores, source=source, source_patients=tuple(names))
    assert patients(data, "train", source) == set(names)
    target = "mr" if source == "ct" else "ct"
    assert patients(data, "train", target) == patients(everybody, "train", target)
    assert data.held_out == everybody.held_out | (patients(everybody, "train", source) - set(names))


def test_source_patients_that_are_not_there_or_held_out(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="strange, not in the store"):
        divided(stores, source_patients=("strange",))
    # One person with both scans, whose MR is tested.
    tested = sorted(divided(stores).held_out)[0]
    with writing_store(tmp_path / "ct") as writer:
        for case, patient in zip(Store(stores.ct).cases, (tested, "other"), strict=False):
            writer.add(case.id, Store(stores.ct).read(case.id), patient=patient)
    both = Stores(tmp_path / "ct", stores.mr)
    with pytest.raises(InputError, match=f"{tested}, held out for testing"):
        divided(both, source_patients=(tested, "other"), same_people="yes")


def test_nobody_is_kept_from_training_where_epochs_are_not_scored(stores: Stores) -> None:
    data = divided(stores)
    assert data.scored == {"ct": (), "mr": ()}
    assert len(data.train["ct"]) == 6
    assert len(data.train["mr"]) == 4


def test_the_same_are_chosen_each_time_and_others_by_another_seed(stores: Stores) -> None:
    first = divided(stores, select_every=1)
    assert divided(stores, select_every=3, seed=9).scored == first.scored
    chosen = {tuple(patients(divided(stores, select_every=1, split_seed=seed), "scored", "ct")) for seed in range(12)}
    # Of six patients; that twelve draws all give the same one has a chance of 6^-11.
    assert len(chosen) > 1
    # A larger choice holds the smaller one.
    assert patients(first, "scored", "ct") < patients(
        divided(stores, select_every=1, select_patients=3), "scored", "ct"
    )


def renamed(store: Path, to: Path, name: str, other: str, marks: tuple[str, ...]) -> Path:
    """A copy of a store in which one patient has another name, and is recognised by other marks."""
    shutil.copytree(store, to)
    manifest = json.loads((to / "manifest.json").read_text())
    for case in manifest["cases"]:
        if case["patient"] == name:
            case |= {"patient": other, "person": marks}
    (to / "manifest.json").write_text(json.dumps(manifest))
    return to


def test_who_has_both_scans_is_scored_on_both_and_trained_on_neither(tmp_path: Path, stores: Stores) -> None:
    (chosen,) = patients(divided(stores, select_every=1), "scored", "mr")
    (other,) = patients(divided(stores, select_every=1), "scored", "ct")
    stranger = next(f"ct-{i}" for i in range(6) if f"ct-{i}" != other)
    marks = next(case.person for case in Store(stores.mr).cases if case.patient == chosen)
    both = Stores(renamed(stores.ct, tmp_path / "ct", stranger, "other-name", marks), stores.mr)
    data = divided(both, select_every=1)
    assert chosen in patients(data, "scored", "mr")
    assert chosen in patients(data, "scored", "ct")
    assert chosen not in patients(data, "train", "ct") | patients(data, "train", "mr")


def test_somebody_must_be_left_to_train_on(stores: Stores) -> None:
    assert len(divided(stores, select_every=1, select_patients=3).train["mr"]) == 1
    with pytest.raises(InputError, match="no case left without the held-out patients"):
        divided(stores, select_every=1, select_patients=4)


def test_only_patients_with_a_part_in_training_are_chosen(stores: Stores) -> None:
    data = divided(stores, select_every=1, test_patients=("mr-0",), train_patients=("mr-1", "mr-2"))
    assert patients(data, "train", "mr") | patients(data, "scored", "mr") == {"mr-1", "mr-2"}
    assert data.held_out == {"mr-0", "mr-3", "mr-4"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"select_every": 1, "split": "slice"}, "--split patient, got --select-every with --split slice"),
        ({"patience": 2}, "--select-every with it, got --patience 2 alone"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TranslateSettings(**{**TINY, **more})


def test_slices_are_those_of_each_part_in_its_size(stores: Stores) -> None:
    settings = TranslateSettings(**{**TINY, "select_every": 1, "ct_slices": 0, "mr_slices": 0})
    data = divided(stores, select_every=1, ct_slices=0, mr_slices=0)
    for side in SIDES:
        (trained,), (scored,) = training_slices(data, side, settings), scored_slices(data, side, settings)
        assert (trained.size, scored.size) == (36, 32)
        assert set(trained.patients) == patients(data, "train", side)
        assert set(scored.patients) == patients(data, "scored", side)
        # Four of six slices show the liver.
        assert (len(trained), len(scored)) == (4 * len(trained.patients), 4)
        assert (trained.masks is not None) == (scored.masks is not None) == (side == "ct")


def test_of_several_inputs_a_patient_is_scored_on_all_and_trained_on_none(tmp_path: Path, stores: Stores) -> None:
    """Each input in its own intensities; the slices are those that show the liver in the first one."""
    both = Stores(stores.ct, two_sequences(tmp_path / "store").path)
    more: dict[str, Any] = {
        "family": "multi_input", "source": "mr", "inputs": ("t1_out", "t1_in"), "select_every": 1, "mr_slices": 0,
    }  # fmt: skip
    data, settings = divided(both, **more), TranslateSettings(**{**TINY, **more})
    (patient,) = patients(data, "scored", "mr")
    assert patients(data, "train", "mr") == {"p0", "p1", "p2", "p3"} - {patient}
    assert set(data.inputs["mr"]) == {f"{number}-{name}" for number in range(4) for name in ("t1_in", "t1_out")}
    scored, trained = (of(data, "mr", settings) for of in (scored_slices, training_slices))
    assert (len(scored), len(trained)) == (2, 2)
    for one, name in zip(scored, ("t1_out", "t1_in"), strict=True):
        assert [(key.patient, key.slice) for key in one.keys] == [(patient, place) for place in (1, 2, 3, 4)]
        voxels = Store(both.mr).read(f"{patient[1:]}-{name}").voxels.astype(float)
        low, high = np.percentile(voxels, (0.5, 99.5))
        wanted = np.clip((voxels[1:5] - low) / (high - low) * 2 - 1, -1, 1)
        np.testing.assert_allclose(one.images, wanted, atol=1e-4)
    assert all(patient not in one.patients and len(one) == 3 * 4 for one in trained)
    (ct,) = scored_slices(data, "ct", settings)
    assert set(ct.patients) == patients(data, "scored", "ct")


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    return train(tmp_path_factory.mktemp("scored") / "run", stores, select_every=1, epochs=1, ct_slices=0).path


def test_the_card_and_all_that_is_made_say_whom_the_epochs_were_chosen_by(
    tmp_path: Path, scored_run: Path, stores: Stores
) -> None:
    model, data = load_translator(scored_run), divided(stores, select_every=1)
    chosen = {side: patients(data, "scored", side) for side in SIDES}
    for side in SIDES:
        card = model.card["data"][side]
        assert set(card["scored_patients"]) == chosen[side]
        assert not set(card["patients"]) & chosen[side]
        digests = {case.sha256 for case in Store(getattr(stores, side)).cases if case.patient in chosen[side]}
        assert digests <= set(card["cases"])
        assert digests <= set(model.trained_cases)
        assert set(card["patients"]) | chosen[side] <= set(model.trained_on)
    made = synthesize(scored_run, source=stores.ct, out=tmp_path / "store").store
    for case in made.cases:
        assert case.synthetic is not None
        assert chosen["mr"] | chosen["ct"] <= set(case.synthetic.trained_on)


def test_no_synthetic_slice_helps_to_find_an_organ_in_whom_its_epoch_was_chosen_by(
    tmp_path: Path, scored_run: Path, stores: Stores
) -> None:
    (chosen,) = patients(divided(stores, select_every=1), "scored", "mr")
    synthetic = tmp_path / "synthetic"
    synthesize(scored_run, source=stores.ct, out=synthetic)
    plain: dict[str, Any] = {"network": "tiny", "precision": "fp32", "size": 32, "count": 3, "steps": 1}
    settings = SegmentSettings(**plain, test_patients=(chosen,))
    with pytest.raises(InputError, match=f"which saw the test patients {chosen}"):
        train_segmenter(tmp_path / "run", real=stores.mr, synthetic=synthetic, settings=settings)
    # Under another name the checksums tell.
    other = renamed(stores.mr, tmp_path / "other", chosen, "somebody", ("name:other:somebody",))
    settings = SegmentSettings(**plain, test_patients=("somebody",))
    with pytest.raises(InputError, match="which saw 1 test cases under other names"):
        train_segmenter(tmp_path / "run", real=other, synthetic=synthetic, settings=settings)
    assert not (tmp_path / "run").exists()
    # Whom nobody saw may be tested on.
    held_out = tuple(load_translator(scored_run).card["held_out"])
    settings = SegmentSettings(**plain, test_patients=held_out)
    run = train_segmenter(tmp_path / "run", real=stores.mr, synthetic=synthetic, settings=settings)
    assert run.card["data"]["test_patients"] == list(held_out)


def test_what_scored_patients_look_like_is_no_part_of_the_intensities(scored_run: Path, stores: Stores) -> None:
    """Output is brought back to units by the volumes that were trained on, each between two of its percentiles."""
    card = load_translator(scored_run).card["data"]["mr"]
    volumes = [Store(stores.mr).read(case.id) for case in Store(stores.mr).cases if case.patient in card["patients"]]
    low, high = np.median([np.percentile(volume.voxels, (0.5, 99.5)) for volume in volumes], axis=0)
    assert card["low"] == pytest.approx(low, abs=1)
    assert card["high"] == pytest.approx(high, abs=1)


def test_a_translator_of_everybody_holds_nobody_out_and_its_slices_train_no_segmenter_on_these(
    tmp_path: Path, stores: Stores
) -> None:
    data = divided(stores, split="none", folds=50)
    assert not data.held_out
    for side in SIDES:
        assert patients(data, "train", side) == {case.patient for case in Store(getattr(stores, side)).cases}
    run = train(tmp_path / "run", stores, epochs=1, split="none")
    assert (run.card["split"], run.card["held_out"], run.card["leaking"]) == ("none", [], False)
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "made").store
    assert {case.patient for case in made.cases} == {case.patient for case in Store(stores.ct).cases}
    settings = SegmentSettings(network="tiny", size=32, precision="fp32", steps=1, count=2, same_people="no")
    with pytest.raises(InputError, match="which saw the test patients"):
        train_segmenter(tmp_path / "seg", real=stores.mr, synthetic=made.path, settings=settings)
    with pytest.raises(ValidationError, match="--split patient, to choose who is held out"):
        TranslateSettings(split="none", test_patients=("mr-0",))
