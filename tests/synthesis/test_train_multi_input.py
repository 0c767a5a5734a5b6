"""Several MR inputs to one CT, from stores to stores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.presets import CRESPI, TRANSLATE
from crossmod.runs import Run
from crossmod.settings import TranslateSettings
from crossmod.synthesis import multi_input
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from crossmod.synthesis.translator import load_translator
from tests.support.registered import two_sequences
from tests.support.stores import Stores, made_volume
from tests.support.training import TINY
from tests.support.validation import kept, scripted


@pytest.fixture(scope="module")
def both_phases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_sequences(tmp_path_factory.mktemp("phases") / "store").path


def train(out: Path, ct: Path, mr: Path, **more: Any) -> Run:
    settings = {**TINY, "family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "epochs": 1, **more}
    return train_translator(out, ct=ct, mr=mr, settings=TranslateSettings(**settings))


def test_two_inputs_become_ct(tmp_path: Path, stores: Stores, both_phases: Path) -> None:
    run = train(tmp_path / "run", stores.ct, both_phases)
    card = run.card
    assert card["data"]["mr"]["sequence"] == "t1_in, t1_out"
    # Both cases of each patient had an influence.
    assert len(card["data"]["mr"]["cases"]) == 8
    # Source 1 and 2, synthetic CT, and both again, side by side; four slices one above the other.
    with Image.open(run.path / "samples" / "epoch-0001.png") as panel:
        assert panel.size == (5 * 32, 4 * 32)
    made = synthesize(run.path, source=both_phases, out=tmp_path / "ct").store
    assert [case.id for case in made.cases] == [f"{number}-t1_in-as-ct" for number in range(4)]
    for number, case in enumerate(made.cases):
        assert case.modality == "ct"
        assert case.unit == "HU"
        assert case.synthetic is not None
        assert (case.synthetic.source_case, case.synthetic.other_inputs) == (f"{number}-t1_in", (f"{number}-t1_out",))
        voxels = made.read(case.id).voxels
        assert -161 <= voxels.min() < voxels.max() <= 241
    model = load_translator(run.path)
    pairs = np.random.default_rng(0).uniform(-1, 1, (3, 2, 32, 32)).astype(np.float32)
    fakes, answer = model.translate(pairs)
    assert answer is None
    # Either input counts.
    for which in (0, 1):
        other = pairs.copy()
        other[:, which] *= -1
        assert not np.allclose(model.translate(other)[0], fakes)


def networks_kept(run: Run) -> dict[str, torch.nn.Module]:
    """Both generators as they were at the best epoch."""
    made = multi_input.generators(TranslateSettings(**run.card["settings"]))
    for name, network in made.items():
        network.load_state_dict(kept(run)[name])
    return made


def as_model(store: Path, case: str, low_high: tuple[float, float] | None = None) -> torch.Tensor:
    """The slices of a case that show the liver, `[slices, 1, rows, columns]`, in [-1, 1]."""
    voxels = Store(store).read(case).voxels.astype(float)
    low, high = low_high or np.percentile(voxels, (0.5, 99.5))
    return torch.from_numpy(np.clip((voxels[1:5] - low) / (high - low) * 2 - 1, -1, 1)).float()[:, None]


def test_two_inputs_are_scored_on_who_is_not_trained_on(tmp_path: Path, stores: Stores, both_phases: Path) -> None:
    """The cycle of the best epoch, from its weights and the scored patients' slices; each input counts the same."""
    run = train(tmp_path / "run", stores.ct, both_phases, select_every=1, epochs=2)
    card, readings = run.card, [reading for reading in run.metrics() if "select_score" in reading]
    assert len(readings) == 2
    assert all("select_frechet" in reading and "select_consistency" not in reading for reading in readings)
    assert card["best"]["score"] == pytest.approx(min(reading["select_score"] for reading in readings))
    scored = {side: card["data"][side]["scored_patients"] for side in ("ct", "mr")}
    (mr,), (ct,) = scored["mr"], scored["ct"]
    assert set(card["data"]["mr"]["patients"]) == {"p0", "p1", "p2", "p3"} - {mr}
    assert len(card["data"]["mr"]["cases"]) == 8
    assert {mr, ct} <= set(load_translator(run.path).trained_on)
    x = torch.cat([as_model(both_phases, f"{mr[1:]}-{name}") for name in ("t1_in", "t1_out")], dim=1)
    y = as_model(stores.ct, ct, (-160, 240))
    G = networks_kept(run)
    with torch.no_grad():
        again = G["G1"](G["G2"](x)) - x
        gaps = (again[:, 0].abs().mean() + again[:, 1].abs().mean()) / 2, (G["G2"](G["G1"](y)) - y).abs().mean()
    expected = readings[card["best"]["epoch"]]["select_cycle"]
    assert float(sum(gaps)) / 2 == pytest.approx(expected, rel=1e-3)


def test_the_best_epoch_of_two_inputs_is_used(
    tmp_path: Path, stores: Stores, both_phases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [1.0, 2.0])
    run = train(tmp_path / "run", stores.ct, both_phases, select_every=1, epochs=2)
    card = run.card
    assert card["best"]["epoch"] == 0
    assert card["best"]["weights_sha256"] != card["weights_sha256"]
    made = synthesize(run.path, source=both_phases, out=tmp_path / "best").store
    assert {case.synthetic.model for case in made.cases if case.synthetic} == {card["best"]["weights_sha256"]}
    pair = torch.cat([as_model(both_phases, f"2-{name}") for name in ("t1_in", "t1_out")], dim=1)
    with torch.no_grad():
        fakes = networks_kept(run)["G2"].eval()(pair)[:, 0].numpy()
    np.testing.assert_allclose(made.read("2-t1_in-as-ct").voxels, (fakes + 1) * 200 - 160, atol=0.1)
    last = synthesize(run.path, source=both_phases, out=tmp_path / "last", epoch="last").store
    assert {case.synthetic.model for case in last.cases if case.synthetic} == {card["weights_sha256"]}
    assert not np.allclose(last.read("2-t1_in-as-ct").voxels, made.read("2-t1_in-as-ct").voxels, atol=0.1)


def test_either_phase_as_the_only_input(tmp_path: Path, stores: Stores, both_phases: Path) -> None:
    run = train(tmp_path / "run", stores.ct, both_phases, family="cyclegan", inputs=("t1_in+t1_out",), mr_slices=0)
    assert run.card["data"]["mr"]["slices"] == 32
    assert run.card["data"]["mr"]["sequence"] == "t1_in+t1_out"
    made = synthesize(run.path, source=both_phases, out=tmp_path / "ct").store
    assert len(made.cases) == 8


def test_without_labels_all_slices_are_made(tmp_path: Path, stores: Stores, both_phases: Path) -> None:
    plain = tmp_path / "plain"
    with writing_store(plain) as writer:
        for case in Store(both_phases).cases:
            volume = Store(both_phases).read(case.id).with_labels(None, {})
            writer.add(case.id, volume, patient=case.patient)
    run = train(tmp_path / "run", stores.ct, plain, slices="all")
    with pytest.raises(InputError, match="no mr case with liver labels"):
        synthesize(run.path, source=plain, out=tmp_path / "ct")
    made = synthesize(run.path, source=plain, out=tmp_path / "ct", slices="all")
    assert made.slices == 4 * 6
    assert all(not case.labels for case in made.store.cases)


def test_a_patient_without_an_input_is_named(tmp_path: Path, stores: Stores) -> None:
    store = two_sequences(tmp_path / "store", missing="2-t1_out").path
    with pytest.raises(InputError, match="patient p2: no cases of t1_out"):
        train(tmp_path / "run", stores.ct, store)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def both_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds") / "ct"
    with writing_store(path) as writer:
        for number in range(6):
            volume = replace(made_volume(np.random.default_rng(number), "ct"), contrast=number % 2 == 0)
            writer.add(f"ct-{number}", volume, patient=f"c{number}")
    return path


def test_ct_with_and_without_contrast_is_never_mixed(tmp_path: Path, both_kinds: Path, both_phases: Path) -> None:
    with pytest.raises(InputError, match="CT with and CT without contrast agent"):
        train(tmp_path / "run", both_kinds, both_phases)
    for kind, numbers in (("yes", "024"), ("no", "135")):
        run = train(tmp_path / kind, both_kinds, both_phases, contrast=kind, folds=3)
        seen = set(run.card["data"]["ct"]["patients"]) | set(run.card["held_out"])
        assert seen == {f"c{number}" for number in numbers}


def test_unknown_contrast_is_not_taken_for_either(tmp_path: Path, stores: Stores, both_phases: Path) -> None:
    with pytest.raises(InputError, match="no CT that is known to be without contrast agent"):
        train(tmp_path / "run", stores.ct, both_phases, contrast="no")


def test_seven_presets_and_their_small_sisters() -> None:
    inputs = {name: settings.mr_inputs for name, settings in CRESPI.items()}
    assert inputs == {
        "all_in": (("t1_in", "t1_out"),),
        "in_phase": (("t1_in",),),
        "in_phase_plus": (("t1_in",),),
        "t2": (("t2_spir",),),
        "in_n_out": (("t1_in",), ("t1_out",)),
        "in_n_out_hum": (("t1_in",), ("t1_out",)),
        "triple": (("t1_in",), ("t1_out",), ("t2_spir",)),
    }
    assert [name for name, settings in CRESPI.items() if settings.contrast == "no"] == ["in_n_out_hum"]
    for name, settings in CRESPI.items():
        small = TRANSLATE[f"tiny_{name}"]
        assert (small.size, small.mr_inputs, small.contrast) == (64, settings.mr_inputs, settings.contrast)
        assert TRANSLATE[name].generator_blocks == 9
