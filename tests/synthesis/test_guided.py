"""The family `guided`: its step against the formulas, a segmentor that is trained before, and its runs."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from pydantic import ValidationError

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.engine import checkpoint
from crossmod.errors import InputError
from crossmod.inference.bundle.export import export_bundle
from crossmod.inference.bundle.load import load_networks
from crossmod.runs import Run
from crossmod.segmentation.predict import Prediction
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis import guided
from crossmod.synthesis import train_segmentor as room
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.translator import load_translator
from tests.support.stores import Stores
from tests.support.training import train

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "family": "guided", "size": 16, "generator_filters": 2, "generator_blocks": 1, "discriminator_filters": 2,
    "discriminator_layers": 1, "pool_size": 0, "batch_size": 2,
}  # fmt: skip
OPTIONS: dict[str, Any] = {"family": "guided", "segmentor_steps": 3}


def moved(image: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """An image moved by rows and columns; its edges are repeated."""
    rows, columns = (
        torch.arange(size).add(int(by)).clamp(0, size - 1) for size, by in zip((16, 16), step, strict=True)
    )
    return image[..., rows, :][..., columns]


def reference_step(n: dict[str, Any], adams: tuple[Any, Any], batch: dict[str, torch.Tensor], source: Modality) -> None:
    """What the docstring of the family says, written down once more; lambda = 1, 1, 10, 10, 1."""
    x, y, mask, steps = batch["ct"], batch["mr"], batch["mask"], batch["moves"]
    mr, ct = n["G1"](x), n["G2"](y)
    fake = mr if source == "ct" else ct
    total = ((n["D1"](moved(mr, steps[0])) - 1) ** 2).mean() + ((n["D2"](moved(ct, steps[1])) - 1) ** 2).mean()
    total = total + 10 * (n["G2"](mr) - x).abs().mean() + 10 * (n["G1"](ct) - y).abs().mean()
    logits = n["S"](fake[:, :1])
    p = torch.softmax(logits, 1)
    total = total - torch.log(p.gather(1, mask[:, None])).mean()
    for organ in (1, 2):
        g = (mask == organ).double()
        total = total + (1 - (2 * (p[:, organ] * g).sum() + 1e-5) / (p[:, organ].sum() + g.sum() + 1e-5)) / 2
    adams[0].zero_grad()
    total.backward()
    adams[0].step()
    adams[1].zero_grad()
    loss = 0.5 * ((n["D1"](moved(y, steps[2])) - 1) ** 2).mean()
    loss = loss + 0.5 * (n["D1"](moved(mr.detach(), steps[3])) ** 2).mean()
    loss = loss + 0.5 * ((n["D2"](moved(x, steps[4])) - 1) ** 2).mean()
    loss = loss + 0.5 * (n["D2"](moved(ct.detach(), steps[5])) ** 2).mean()
    loss.backward()
    adams[1].step()


@pytest.mark.parametrize(("source", "stack"), [("ct", 1), ("mr", 1), ("ct", 3)])
def test_three_steps_leave_the_weights_of_the_formulas(source: Modality, stack: int) -> None:
    settings = TranslateSettings(source=source, stack=stack, organs=("liver", "spleen"), **SMALL)
    trainee = guided.build(settings, CPU)
    for network in trainee.networks.values():
        network.double()
    plain = {name: copy.deepcopy(network) for name, network in trainee.networks.items()}
    generators = [p for name in ("G1", "G2") for p in plain[name].parameters()]
    judges = [p for name in ("D1", "D2") for p in plain[name].parameters()]
    adams = (torch.optim.Adam(generators, 1e-4, (0.5, 0.999)), torch.optim.Adam(judges, 2e-4, (0.5, 0.999)))
    g = torch.Generator().manual_seed(5)
    for _ in range(3):
        x, y = (torch.rand(2, stack, 16, 16, generator=g, dtype=torch.float64) * 2 - 1 for _ in range(2))
        batch = {"ct": x, "mr": y, "mask": torch.randint(0, 3, (2, 16, 16), generator=g)}
        batch = {**batch, **trainee.draw(np.random.default_rng(3))}
        assert batch["moves"].abs().max() == 1  # a sixteenth of the side
        trainee.step(batch)
        reference_step(plain, adams, batch, source)
    for name, network in trainee.networks.items():
        for ours, theirs in zip(network.parameters(), plain[name].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_of_one_organ_the_background_has_logit_0() -> None:
    S = guided.segmentor(TranslateSettings(**SMALL)).eval()
    x = torch.rand(2, 1, 16, 16)
    logits = S(x)
    assert logits.shape == (2, 2, 16, 16)
    torch.testing.assert_close(F.softmax(logits, 1)[:, 1], torch.sigmoid(S.network(x))[:, 0])


def test_s_is_trained_before_and_stays_as_it_is(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, **OPTIONS, ema=0.5)
    own = Run(run.path / room.FOLDER)
    assert own.card["steps"] == 3
    assert own.card["settings"]["augmentation"] == "random_contrast"
    assert not set(own.card["data"]["patients"]) & set(run.card["held_out"])
    # Of all labelled source slices, also those without the organ.
    assert own.card["data"]["slices"] > run.card["data"]["ct"]["slices"]
    first = checkpoint.trained_weights(own.path, 3, own.card["weights_sha256"])["segmenter"]
    last = checkpoint.trained_weights(run.path, run.card["steps"], run.card["weights_sha256"])["S"]
    assert {f"network.{name}" for name in first} == set(last)
    assert all(torch.equal(values, last[f"network.{name}"]) for name, values in first.items())
    translator = load_translator(run.path)
    assert translator.segmentor is not None
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic")
    assert all(origin.consistency is not None for case in made.store.cases for origin in case.synthetic.slices)  # type: ignore[union-attr]


def test_a_bundle_translates_as_its_run_does(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, **OPTIONS)
    export_bundle([run.path], tmp_path / "bundle", licence="none")
    (shared,) = load_networks(tmp_path / "bundle", device="cpu")
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32)).astype(np.float32)
    expected, answers = load_translator(run.path).translate(images)
    made, found = shared.translate(images[:, None])
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert answers is not None
    assert found is not None
    assert (answers == found).mean() > 0.999


def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", stores, **OPTIONS)
    once = Machine(checkpoint_minutes=0)
    for name in ("fit", "accelerate"):
        with monkeypatch.context() as patch:
            patch.setattr(f"crossmod.synthesis.train.{name}", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "cut", stores, machine=once, **OPTIONS)
    assert Run(tmp_path / "cut" / room.FOLDER).finished
    assert train(tmp_path / "cut", stores, **OPTIONS).card["weights_sha256"] == whole.card["weights_sha256"]


def test_it_needs_labels_of_the_source_and_one_input(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="no ct case with spleen labels"):
        train(tmp_path / "run", stores, **OPTIONS, organs=("spleen",))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValidationError, match="--family multi_input for several inputs"):
        TranslateSettings(family="guided", source="mr", inputs=("t1_in", "t1_out"))


def _finds(*showing: int, pixels: int = 60) -> Any:
    """A stand-in for predictions of S: it marks a square in the slices with these numbers, and specks in all."""

    def found(network: object, images: np.ndarray, device: object, *, quiet: bool) -> Prediction:
        answer = np.zeros(images.shape, np.uint8)
        answer[:, 0, 0] = 1
        for index in showing:
            answer[index].flat[:pixels] = 1
        return Prediction(answer.astype(np.float32), answer, 1.0)

    return found


def _unlabelled(tmp_path: Path, stores: Stores) -> Stores:
    with writing_store(tmp_path / "mr") as writer:
        for case in Store(stores.mr).cases:
            writer.add(case.id, Store(stores.mr).read(case.id).with_labels(None, {}), patient=case.patient)
    return replace(stores, mr=tmp_path / "mr")


@pytest.mark.parametrize(("slices", "labelled"), [("source", True), ("organ", False), ("source", False)])
def test_without_target_labels_s_chooses_the_target_slices(
    tmp_path: Path,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    slices: str,
    labelled: bool,
) -> None:
    monkeypatch.setattr(room, "predict", _finds(2, 5))
    caplog.set_level("INFO")
    used = stores if labelled else _unlabelled(tmp_path, stores)
    run = train(tmp_path / "run", used, **OPTIONS, slices=slices, mr_slices=0)
    assert run.card["data"]["mr"]["slices"] == 2
    # Six of each of four patients.
    assert "S finds organs in 2 of 24 unlabelled MR slices" in caplog.text


def test_labels_choose_the_target_slices_where_they_may(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "predict", _finds())
    run = train(tmp_path / "run", stores, **OPTIONS, mr_slices=0)
    assert run.card["data"]["mr"]["slices"] == 4 * len(run.card["data"]["mr"]["patients"])
    every = train(tmp_path / "every", stores, **OPTIONS, mr_slices=0, slices="all")
    assert every.card["data"]["mr"]["slices"] == 6 * len(run.card["data"]["mr"]["patients"])


def test_an_s_that_finds_nothing_chooses_nothing(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "predict", _finds(pixels=1))
    run = train(tmp_path / "run", stores, **OPTIONS, slices="source", mr_slices=0)
    assert run.card["data"]["mr"]["slices"] == 6 * len(run.card["data"]["mr"]["patients"])
    assert "S finds no liver in" in caplog.text


@pytest.mark.parametrize("family", ["essnet", "cyclegan"])
def test_of_the_source_alone_labels_choose(tmp_path: Path, stores: Stores, family: str) -> None:
    run = train(tmp_path / "run", stores, family=family, slices="source", ct_slices=0, mr_slices=0)
    sides = run.card["data"]
    assert sides["ct"]["slices"] == 4 * len(sides["ct"]["patients"])
    assert sides["mr"]["slices"] == 6 * len(sides["mr"]["patients"])
