"""Bundles: what was trained, whole, alike to the last bit, without a name in it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.cli import main
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.evaluation.run import evaluate_images
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.files import sha256, write_json
from crossmod.inference.bundle import export as bundle_export
from crossmod.inference.bundle.export import export_bundle, scores_of
from crossmod.inference.bundle.load import load_networks
from crossmod.inference.bundle.schema import JSON_FILE, WEIGHTS_FILE
from crossmod.inference.ensemble import load_run
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import Network
from crossmod.runs import start_run
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import train_translator
from tests.support.evaluated_people import make_people
from tests.support.registered import two_sequences
from tests.support.stores import Stores
from tests.support.training import TINY, train
from tests.support.validation import scripted


@pytest.fixture(scope="module")
def essnet(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("essnet") / "run", stores, epochs=1).path


@pytest.fixture(scope="module")
def wide(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    more: dict[str, Any] = {"epochs": 1, "window": (-1000, 1000), "family": "cyclegan", "ema": 0.9}
    return train(tmp_path_factory.mktemp("wide") / "run", stores, **more).path


@pytest.fixture(scope="module")
def two_inputs(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    more = {"family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "epochs": 1, "generator_blocks": 5}
    settings = TranslateSettings(**{**TINY, **more})
    return train_translator(root / "run", ct=stores.ct, mr=two_sequences(root / "mr").path, settings=settings).path


def slices(inputs: int, count: int = 7) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, inputs, 32, 32)).astype(np.float32)


def check_equal(bundle: Network, run: Network) -> None:
    """Bit for bit; 7 slices are a whole batch and a part of one."""
    images = slices(len(run.about.inputs) * run.about.stack)
    made, answers = bundle.translate(images)
    wanted, labels = run.translate(images)
    np.testing.assert_array_equal(made, wanted)
    assert (answers is None) == (labels is None)
    if answers is not None and labels is not None:
        np.testing.assert_array_equal(answers, labels)


def test_it_answers_as_the_run_does(essnet: Path, tmp_path: Path) -> None:
    export_bundle([essnet], tmp_path / "out", licence="CC-BY-4.0")
    bundle, run = load_networks(tmp_path / "out", device="cpu")[0], load_run(essnet, device="cpu")
    assert isinstance(bundle, Network)
    check_equal(bundle, run)
    about = bundle.about
    same = replace(run.about, name=about.name, weights=about.weights, licence=about.licence)
    assert about == same
    assert (about.name, about.licence, about.organs, about.field_mm) == ("out", "CC-BY-4.0", ("liver",), 320.0)


def test_several_windows_are_one_bundle(essnet: Path, wide: Path, tmp_path: Path) -> None:
    export_bundle([essnet, wide], tmp_path / "out")
    networks = load_networks(tmp_path / "out", device="cpu")
    assert [one.about.window for one in networks] == [(-160, 240), (-1000, 1000)]
    for network, path in zip(networks, (essnet, wide), strict=True):
        check_equal(network, load_run(path, device="cpu"))
    assert networks[1].segmentor is None


def test_several_inputs(two_inputs: Path, tmp_path: Path) -> None:
    export_bundle([two_inputs], tmp_path / "out")
    bundle = load_networks(tmp_path / "out", device="cpu")[0]
    assert bundle.about.inputs == ("t1_in", "t1_out")
    check_equal(bundle, load_run(two_inputs, device="cpu"))


@pytest.mark.parametrize(
    ("family", "source", "kind"),
    [("essnet", "ct", "resnet"), ("multi_input", "ct", "spread"), ("multi_input", "mr", "merge")],
)
def test_stacks(stores: Stores, tmp_path: Path, family: str, source: str, kind: str) -> None:
    run = train(tmp_path / "run", stores, family=family, source=source, stack=3, epochs=1)
    made = export_bundle([run.path], tmp_path / "out").networks[0]
    assert (made.architecture.kind, made.architecture.stack, made.stack_mm) == (kind, 3, 5.0)
    assert "3 slices, 5.0 mm apart" in (tmp_path / "out" / "README.md").read_text()
    bundle, own = load_networks(tmp_path / "out", device="cpu")[0], load_run(run.path, device="cpu")
    assert bundle.about.stack == own.about.stack == 3
    check_equal(bundle, own)
    volume = Store(stores.ct if source == "ct" else stores.mr).read(f"{source}-1")
    one, other = (translate_volume([network], [volume]).image.voxels for network in (bundle, own))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("source", "kind"), [("ct", "spread"), ("mr", "merge")])
def test_one_input_of_the_family_of_several(stores: Stores, tmp_path: Path, source: str, kind: str) -> None:
    run = train(tmp_path / "run", stores, family="multi_input", source=source, epochs=1)
    bundle = export_bundle([run.path], tmp_path / "out")
    assert bundle.networks[0].architecture.kind == kind
    check_equal(load_networks(tmp_path / "out", device="cpu")[0], load_run(run.path, device="cpu"))


def test_the_best_epoch(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [1.0, 2.0])
    run = train(tmp_path / "run", stores, select_every=1)
    made = {epoch: export_bundle([run.path], tmp_path / epoch, epoch=epoch).networks[0] for epoch in ("auto", "last")}
    assert {name: one.epoch for name, one in made.items()} == {"auto": "best", "last": "last"}
    assert made["auto"].run_weights == run.card["best"]["weights_sha256"]
    assert made["last"].run_weights == run.card["weights_sha256"]
    assert made["auto"].weights != made["last"].weights


WITHOUT_TRAINING = """
import sys
from pathlib import Path
import numpy as np
from crossmod.inference.bundle.load import load_networks
events, watching = [], False
sys.addaudithook(lambda event, given: events.append((event, given)) if watching else None)
for path in sys.argv[1:]:
    watching = True
    network = load_networks(Path(path), device="cpu")[0]
    watching = False
    assert events
    for event, given in events:
        assert not event.startswith(("pickle", "os.", "shutil", "subprocess", "socket", "ctypes")), (event, given)
        assert event != "open" or not given[2] & 3, given
    network.translate(np.zeros((1, len(network.about.inputs), 32, 32), np.float32))
    print(*sorted(name for name in sys.modules if name.startswith(("crossmod", "lightning"))))
"""
TRAINING = {
    "crossmod.synthesis.train",
    "crossmod.synthesis.translator",
    "crossmod.synthesis.training_data",
    "crossmod.engine.loop",
    "crossmod.data.batches",
    "lightning_fabric",
}
# Those of several inputs stand in one module with the step of their training, which is then defined and not used.
BESIDE_SEVERAL = {"crossmod.synthesis.cyclegan", "crossmod.synthesis.image_pool"}


def test_it_loads_without_training_code_or_pickle_and_writes_nothing(
    essnet: Path, two_inputs: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    for run, path in zip((essnet, two_inputs), paths, strict=True):
        export_bundle([run], path)
    command = [sys.executable, "-c", WITHOUT_TRAINING, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (set(line.split()) for line in done.stdout.splitlines())
    assert "crossmod.inference.bundle.load" in one
    assert not one & (TRAINING | BESIDE_SEVERAL)
    assert not two & TRAINING


def test_nobody_is_named(stores: Stores, tmp_path: Path) -> None:
    named = tmp_path / "the-ward"
    for side in ("ct", "mr"):
        (named / side).mkdir(parents=True)
        for path in (stores.ct if side == "ct" else stores.mr).iterdir():
            (named / side / path.name).write_bytes(path.read_bytes())
        manifest = named / side / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"patient": "', '"patient": "JANE-'))
    theirs = Stores(named / "ct", named / "mr")
    run = train(tmp_path / "of-jane", theirs, epochs=1, test_patients=("JANE-mr-1",), same_people="no")
    assert run.card["data"]["ct"]["patients"][0].startswith("JANE")
    out = tmp_path / "out"
    bundle = export_bundle([run.path], out)
    assert bundle.networks[0].trained_on["mr"].patients == 4
    cases = [case.sha256 for side in ("ct", "mr") for case in Store(named / side).cases]
    for path in out.iterdir():
        content = path.read_bytes()
        for word in ("jane", "the-ward", str(tmp_path), *cases):
            assert word.encode() not in content.lower(), (path.name, word)


def test_the_card(essnet: Path, tmp_path: Path) -> None:
    bundle = export_bundle([essnet], tmp_path / "my model", licence="CC-BY-4.0\x1b[2J")
    plain = json.loads((tmp_path / "my model" / JSON_FILE).read_text())
    assert plain["format"] == 1
    assert plain["card"]["licence"] == "CC-BY-4.0 [2J"
    assert plain["card"]["notice"] == "synthetic, not for diagnosis"
    for name, told in plain["files"].items():
        path = tmp_path / "my model" / name
        assert (path.stat().st_size, sha256(path)) == (told["bytes"], told["sha256"])
    assert {*plain["files"], JSON_FILE} == {path.name for path in (tmp_path / "my model").iterdir()}
    text = (tmp_path / "my model" / "README.md").read_text()
    told = ("**synthetic, not for diagnosis**", "-160 to 240 HU", "32 x 32", "Rafiq", "CC-BY-4.0", "6 CT patients")
    for words in (*told, "320 mm", bundle.networks[0].weights, plain["files"][WEIGHTS_FILE]["sha256"]):
        assert words in text


def test_whole_or_not_at_all(essnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bundle_export, "readme_of", broken)
        with pytest.raises(InputError, match="the disk is full"):
            export_bundle([essnet], tmp_path / "out")
    assert not list(tmp_path.iterdir())
    export_bundle([essnet], tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="a folder with something in it"):
        export_bundle([essnet], tmp_path / "out")
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_runs_that_do_not_belong_together(essnet: Path, two_inputs: Path, stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a second run of CT window -160\+240"):
        export_bundle([essnet, essnet], tmp_path / "out")
    other = train(tmp_path / "run", stores, source="mr", window=(-1000, 1000), epochs=1)
    with pytest.raises(InputError, match="source mr"):
        export_bundle([essnet, other.path], tmp_path / "out")
    with pytest.raises(InputError, match="inputs"):
        export_bundle([two_inputs, other.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_too_large_is_not_written(essnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmod.inference.bundle.load.MOST_PARAMETERS", 100)
    with pytest.raises(InputError, match="networks of more than 100 numbers"):
        export_bundle([essnet], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_scores_come_from_results_about_the_model(tmp_path: Path) -> None:
    people = make_people(tmp_path)
    few = EvaluationSettings(draws=20)
    judged = evaluate_images(people.mr, [people.good], tmp_path / "result", source=[people.ct], settings=few)
    card = judged.card
    (name,) = card["models"]
    (weights,) = card["data"]["models"][name]["weights"]
    scores = scores_of([judged.path], {weights: "net"})
    by_metric = {score.metric: score for score in scores}
    value, low, high = card["models"][name]["scores"]["average"]["kid"]
    kid = by_metric["kernel distance"]
    assert (kid.network, kid.value, kid.low, kid.high) == ("net", value, low, high)
    assert any("Fréchet" in metric for metric in by_metric)
    assert by_metric["label consistency, 3D Dice of liver"].value == 1
    # Label consistency is by the model's own segmentor: that of another one is named otherwise.
    card["models"][name]["organs"]["liver"]["found_by"] = "total_mr (label maps)"
    write_json(judged.path / "card.json", card)
    names = [score.metric for score in scores_of([judged.path], {weights: "net"})]
    assert "by another segmenter, 3D Dice of liver" in names
    assert not any("consistency" in metric for metric in names)
    assert not any(patient in score.on for score in scores for patient in card["data"]["real"]["held"]["patients"])
    with pytest.raises(InputError, match="scores of other models"):
        scores_of([judged.path], {"1" * 64: "net"})
    with pytest.raises(InputError, match="no result"):
        scores_of([people.mr], {weights: "net"})


def test_scores_of_an_experiment_and_of_its_segmenters(tmp_path: Path) -> None:
    """One arm with slices of this model, one with slices of another, and the baseline."""
    for name, models in (("real", []), ("mine", ["1" * 64]), ("other", ["2" * 64])):
        run = start_run(tmp_path / "runs" / name, "segment", {}, {})
        dice = {"mr-1": 0.5, "mr-2": 0.75, "mr-3": None}
        scores = {"patient_values": {"dice": dice}, "patient_interval": [0.25, 1.0]}
        run.finish({"settings": {}, "steps": 1, "data": {"synthetic_models": models}, "scores": scores})
    effect = {"mean": 0.03, "low": 0.01, "high": 0.05, "patients": 7, "seeds": 2}
    arms = [
        {"name": "real", "count": "0", "runs": [{"run": "real"}], "effects": {"dice": None}},
        {"name": "mine", "count": "354", "runs": [{"run": "mine"}, {"run": "lost"}], "effects": {"dice": effect}},
        {"name": "other", "count": "354", "runs": [{"run": "other"}], "effects": {"dice": {**effect, "mean": 0.9}}},
    ]
    write_json(tmp_path / "findings.json", {"organ": "liver", "arms": arms})
    (gain,) = scores_of([tmp_path], {"1" * 64: "net"})
    assert (gain.metric, gain.value, gain.low, gain.high) == ("change of 3D Dice of liver", 0.03, 0.01, 0.05)
    assert gain.on == "7 patients, 354 synthetic slices against none, 2 seeds"
    (dice,) = scores_of([tmp_path / "runs" / "mine"], {"1" * 64: "net"})
    assert (dice.metric, dice.value, dice.low, dice.high) == ("3D Dice", 0.625, 0.25, 1.0)
    assert dice.on.startswith("2 held-out patients")
    with pytest.raises(InputError, match="scores of other models, or none"):
        scores_of([tmp_path / "runs" / "real"], {"1" * 64: "net"})


def test_on_the_command_line(essnet: Path, wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(essnet), str(wide), str(tmp_path / "out"), "--licence", "CC0-1.0"])
    assert "ct-160+240, ct-1000+1000; CT to MR" in capsys.readouterr().out
    assert load_networks(tmp_path / "out", device="cpu")[0].about.licence == "CC0-1.0"
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(essnet)])
    assert "RUN... OUT" in capsys.readouterr().err


def test_info_shows_the_card_of_a_bundle(essnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_bundle([str(essnet)], str(tmp_path / "out"), licence="CC0")
    page = (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out" / "README.md").write_text("what anybody wrote")
    main(["info", str(tmp_path / "out")])
    assert capsys.readouterr().out.strip() == page.strip()
