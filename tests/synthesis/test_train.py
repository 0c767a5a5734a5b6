import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.engine import checkpoint
from crossmod.engine.logger import write_panel
from crossmod.errors import InputError
from crossmod.runs import Run
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis.families import family_of
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.translator import load_translator
from tests.support.stores import Stores
from tests.support.training import TINY, train


def test_a_run_folder_holds_what_it_promises(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores)
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert {"config.yaml", "environment.json", "metrics.jsonl", "card.json"} <= names
    assert {"samples/epoch-0001.png", "samples/epoch-0002.png"} <= names
    assert run.config["settings"]["epochs"] == 2
    card = run.card
    assert card["steps"] == 12
    assert card["parameters"] == {name: sum(p.numel() for p in net.parameters()) for name, net in networks().items()}
    assert [reading["step"] for reading in run.metrics()] == [6, 12]
    with Image.open(run.path / "samples" / "epoch-0002.png") as picture:
        assert picture.size == (3 * 32, 4 * 32)


def networks() -> dict[str, torch.nn.Module]:
    return family_of("essnet").build(TranslateSettings(**TINY), torch.device("cpu")).networks


def test_no_held_out_patient_is_seen(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = Store.read
    monkeypatch.setattr(Store, "read", lambda self, case: (read.append(case), real(self, case))[1])
    card = train(tmp_path / "run", stores, epochs=1, fold=3).card
    assert len(card["held_out"]) == 1
    assert not set(card["held_out"]) & set(read)
    assert not set(card["held_out"]) & set(card["data"]["mr"]["patients"])
    assert set(card["data"]["mr"]["patients"]) | set(card["held_out"]) == {f"mr-{i}" for i in range(5)}


def test_the_same_command_again_does_nothing_and_another_seed_is_refused(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    train(tmp_path / "run", stores)
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    with pytest.raises(InputError, match=r"--seed \(0 then, 1 now\)"):
        train(tmp_path / "run", stores, seed=1)


def test_same_seed_same_weights_and_another_seed_others(tmp_path: Path, stores: Stores) -> None:
    cards = [train(tmp_path / str(i), stores, seed=seed).card for i, seed in enumerate((4, 4, 5))]
    assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"] != cards[2]["weights_sha256"]


def test_interrupted_between_epochs_it_ends_with_the_same_weights(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", stores, pool_size=3)
    steps = iter(range(99))

    def stop(path: Path, rows: Any) -> None:
        if next(steps) == 1:
            raise KeyboardInterrupt
        write_panel(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr("crossmod.synthesis.validation.write_panel", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", stores, pool_size=3, machine=Machine(checkpoint_minutes=0))
    assert list((tmp_path / "cut" / "checkpoints").iterdir())
    assert not Run(tmp_path / "cut").finished
    assert train(tmp_path / "cut", stores, pool_size=3).card["weights_sha256"] == whole.card["weights_sha256"]


def test_a_held_out_patients_other_scan_is_not_seen_either(tmp_path: Path, stores: Stores) -> None:
    """One person with CT and MR: held out on one side, she is trained on on neither, nor are slices made of her."""
    held = train(tmp_path / "plain", stores, epochs=1).card["held_out"]
    both, mr = tmp_path / "ct", tmp_path / "mr"
    for whole, copy, patient in ((stores.ct, both, "ct-2"), (stores.mr, mr, held[0])):
        shutil.copytree(whole, copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        for case in manifest["cases"]:
            case["person"] = ["id:key:she"] if case["patient"] == patient else case["person"]
        (copy / "manifest.json").write_text(json.dumps(manifest))
    run = train(tmp_path / "run", Stores(both, mr), epochs=1, ct_slices=0, same_people="no")
    assert held[0] not in run.card["data"]["ct"]["patients"]
    assert len(run.card["data"]["ct"]["patients"]) == 5
    made = synthesize(run.path, source=both, out=tmp_path / "store")
    assert [case.id for case in made.store.cases] == [f"ct-{i}-as-mr" for i in (0, 1, 3, 4, 5)]


def test_cyclegan_needs_no_labels(tmp_path: Path, stores: Stores) -> None:
    bare = tmp_path / "bare"
    with writing_store(bare) as writer:
        for case in Store(stores.ct).cases:
            writer.add(case.id, Store(stores.ct).read(case.id).with_labels(None, {}), patient=case.patient)
    card = train(tmp_path / "run", Stores(bare, stores.mr), family="cyclegan", ct_slices=0, epochs=1).card
    assert card["data"]["ct"]["slices"] == 36
    with pytest.raises(InputError, match="no ct case with liver labels"):
        train(tmp_path / "other", Stores(bare, stores.mr))


@pytest.mark.parametrize(
    "more", [{"window": (-1000, 1000)}, {"percentiles": (5, 95)}, {"decay": 1.0}, {"flip": True}, {"slices": "all"}]
)
def test_settings_reach_the_training(tmp_path: Path, stores: Stores, more: dict[str, Any]) -> None:
    plain = train(tmp_path / "plain", stores).card["weights_sha256"]
    assert train(tmp_path / "other", stores, **more).card["weights_sha256"] != plain


def test_the_order_of_a_manifest_changes_nothing(tmp_path: Path, stores: Stores) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(stores.ct, turned)
    manifest = json.loads((turned / "manifest.json").read_text())
    manifest["cases"].reverse()
    (turned / "manifest.json").write_text(json.dumps(manifest))
    hashes = [
        train(tmp_path / f"run-{p.name}", Stores(p, stores.mr)).card["weights_sha256"] for p in (stores.ct, turned)
    ]
    assert hashes[0] == hashes[1]


def test_only_the_weights_that_the_card_names_are_used(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, epochs=1)
    state = checkpoint.newest(run.path / "checkpoints")
    assert state is not None
    state["networks"]["G1"]["encode.1.bias"] += 1
    path = checkpoint.save(run.path / "checkpoints", run.card["steps"], state)
    with pytest.raises(InputError, match="other weights than the run ended with"):
        load_translator(run.path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="a damaged checkpoint"):
        load_translator(run.path)


def test_by_slice_is_labelled_as_leaking(tmp_path: Path, stores: Stores) -> None:
    card = train(tmp_path / "run", stores, split="slice", test_slices=4).card
    assert card["leaking"]
    assert len(card["data"]["mr"]["patients"]) == 5


@pytest.mark.parametrize(("source", "shape"), [("ct", "G1"), ("mr", "G2")])
def test_both_directions(tmp_path: Path, stores: Stores, source: Modality, shape: str) -> None:
    run = train(tmp_path / "run", stores, source=source, epochs=1)
    model = load_translator(run.path)
    state = checkpoint.newest(run.path / "checkpoints")
    assert state is not None
    assert torch.equal(model.generator.state_dict()["encode.1.weight"], state["networks"][shape]["encode.1.weight"])
    assert model.target == ("mr" if source == "ct" else "ct")
    fakes, answers = model.translate(np.zeros((3, 32, 32), dtype=np.float32))
    assert fakes.shape == (3, 32, 32)
    assert answers is not None
    assert set(np.unique(answers)) <= {0, 1}


def test_a_store_of_the_wrong_modality(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match=r"a store of ct\. Expected: mr cases"):
        train(tmp_path / "run", Stores(stores.ct, stores.ct))
    assert not (tmp_path / "run").exists()


def test_an_organ_that_no_label_knows(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="no ct case with spleen labels"):
        train(tmp_path / "run", stores, organs=("spleen",))


def test_a_checkpoint_of_another_architecture(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, epochs=1)
    card = json.loads((run.path / "card.json").read_text())
    card["settings"]["generator_filters"] = 3
    (run.path / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="weights of another architecture"):
        load_translator(run.path)


def test_an_unfinished_run_cannot_be_used(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, epochs=1)
    (run.path / "card.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        load_translator(run.path)
