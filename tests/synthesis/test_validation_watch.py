import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from crossmod import registry
from crossmod.config import Modality
from crossmod.data.slices import SliceKey, SliceSet, spread, to_pixels
from crossmod.data.store import Store
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import Batch, Losses, TrainerState, TrainingTask
from crossmod.errors import InputError
from crossmod.networks.blocks import ResNet
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis import validation as room
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.translator import load_translator
from crossmod.synthesis.validation import Validator
from tests.support.stores import Stores
from tests.support.training import TINY, train
from tests.support.validation import best_file, kept, scripted

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("total", "most", "wanted"),
    [(5, 8, [0, 1, 2, 3, 4]), (8, 8, list(range(8))), (1, 3, [0]), (9, 3, [0, 4, 8]), (100, 2, [0, 99])],
)
def test_spread_evenly_from_the_first_to_the_last(total: int, most: int, wanted: list[int]) -> None:
    assert spread(total, most) == wanted


class Does(nn.Module):
    """A network that is a function, and that counts."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.function, self.dtypes = function, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        self.dtypes.append(x.dtype)
        return self.function(x)


def nothing(batch: Batch) -> Losses:
    return {}


def slices(count: int, size: int, value: float = 0.0, *, labelled: bool = False) -> SliceSet:
    """Noise around a value, with a frame of air that a cut through the middle leaves away."""
    images = np.random.default_rng(count).uniform(-0.3, 0.3, (count, size, size)).astype(np.float32) + value
    images[:, [0, -1]] = images[:, :, [0, -1]] = -1
    return SliceSet(
        pixels=to_pixels(images.clip(-1, 1)),
        masks=(images > value).astype(np.uint8) if labelled else None,
        shows=np.ones(count, bool),
        known=np.full(count, labelled),
        keys=tuple(SliceKey("case", "patient", i) for i in range(count)),
        intensities={},
    )


def watch(tmp_path: Path, trainee: TrainingTask, *, scored: bool = True, **more: Any) -> Validator:
    settings = TranslateSettings(**{**TINY, "load_size": 34, "epochs": 6, **more})
    held_out: dict[Modality, tuple[SliceSet, ...]] = {
        "ct": (slices(3, 32, 0.2, labelled=True),),
        "mr": (slices(4, 32, -0.2),),
    }
    (tmp_path / "samples").mkdir()
    training: dict[Modality, tuple[SliceSet, ...]] = {
        "ct": (slices(9, 34, 0.2, labelled=True),),
        "mr": (slices(5, 34, -0.2),),
    }
    return Validator(trainee, settings, Compute(CPU), tmp_path / "samples", training, held_out if scored else {})


def translator(forth: float = -1.0, back: float = -1.0) -> TrainingTask:
    networks: dict[str, nn.Module] = {
        "G1": Does(lambda x: forth * x), "G2": Does(lambda x: back * x), "S": Does(lambda x: torch.cat([x, -x], 1)),
    }  # fmt: skip
    return TrainingTask(networks, {}, nothing)


def test_it_looks_when_it_is_asked_to_and_after_the_last_epoch(tmp_path: Path) -> None:
    looks = watch(tmp_path, translator(), sample_every=4, select_every=2, epochs=5)
    seen = [looks(epoch, TrainerState()) for epoch in range(5)]
    assert [sight.picture is not None for sight in seen] == [False, False, False, True, True]
    assert [sight.score is not None for sight in seen] == [False, True, False, True, True]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["epoch-0004.png", "epoch-0005.png"]
    assert all(bool(sight.numbers) == (sight.score is not None) for sight in seen)


def test_without_held_out_slices_there_is_no_score(tmp_path: Path) -> None:
    looks = watch(tmp_path, translator(), scored=False)
    assert all(looks(epoch, TrainerState()).score is None for epoch in range(6))


@pytest.mark.parametrize(("source", "forth"), [("ct", "G1"), ("mr", "G2")])
def test_a_panel_shows_source_fake_and_cycle_cut_from_the_middle(tmp_path: Path, source: Any, forth: str) -> None:
    """Forth gives the negative, back halves it."""
    trainee = translator(*((-1.0, 0.5) if forth == "G1" else (0.5, -1.0)))
    looks = watch(tmp_path, trainee, source=source, scored=False)
    sight = looks(5, TrainerState())
    assert sight.picture is not None
    with Image.open(sight.picture) as picture:
        shown = np.asarray(picture).astype(float) / 127.5 - 1
    images = looks.slices[source][0].images
    # Of eight spread over nine or five the first four.
    wanted = images[:4, 1:-1, 1:-1]
    assert shown.shape == (4 * 32, 3 * 32)
    np.testing.assert_allclose(shown[:, :32].reshape(4, 32, 32), wanted, atol=0.005)
    np.testing.assert_allclose(shown[:, 32:64].reshape(4, 32, 32), -wanted, atol=0.005)
    np.testing.assert_allclose(shown[:, 64:].reshape(4, 32, 32), -wanted / 2, atol=0.005)


def test_scores_are_of_held_out_slices_and_in_the_right_direction(tmp_path: Path) -> None:
    """G1 halves and turns about, G2 quarters: |-x/8 - x| and |-y/8 - y|; S sees what is dark in what G1 makes."""
    looks = watch(tmp_path, translator(-0.5, 0.25), select_every=1)
    numbers = looks(0, TrainerState()).numbers
    ct, mr = (looks.held_out[side][0].images for side in ("ct", "mr"))
    assert numbers["select_cycle"] == pytest.approx(9 / 8 * (np.abs(ct).mean() + np.abs(mr).mean()) / 2, rel=1e-5)
    masks = looks.held_out["ct"][0].masks
    assert masks is not None
    dark = -ct < 0
    dices = [2 * (d & (m > 0)).sum() / (d.sum() + m.sum()) for d, m in zip(dark, masks, strict=True)]
    assert numbers["select_consistency"] == pytest.approx(np.mean(dices))
    assert numbers["select_frechet"] > 0


def of_images(images: np.ndarray) -> SliceSet:
    return replace(slices(len(images), 32), pixels=to_pixels(images.astype(np.float32)))


@pytest.mark.parametrize("source", ["mr", "ct"])
def test_of_several_inputs_the_same_slices_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, source: Any
) -> None:
    """To CT is the mean of both inputs; back adds 0.1 for the first and takes 0.2 away for the second."""
    monkeypatch.setattr(room, "MOST_SCORED", 3)
    networks: dict[str, nn.Module] = {
        "G1": Does(lambda y: torch.cat([y + 0.1, y - 0.2], 1)), "G2": Does(lambda x: x.mean(1, keepdim=True)),
    }  # fmt: skip
    a, b, y = rng.uniform(-0.7, 0.7, (3, 5, 32, 32))
    # The target is what is made, so that there is no distance.
    if source == "mr":
        y = (a + b) / 2
    else:
        a, b = y + 0.1, y - 0.2
    looks = watch(tmp_path, TrainingTask(networks, {}, nothing), source=source, select_every=1, sample_every=9)
    looks = replace(looks, held_out={"ct": (of_images(y),), "mr": (of_images(a), of_images(b))})
    numbers = looks(0, TrainerState()).numbers
    assert set(numbers) == {"select_cycle", "select_frechet", "select_score"}
    # Three of five, evenly spread. The mean of both inputs comes back 0.05 lower.
    a, b = a[[0, 2, 4]], b[[0, 2, 4]]
    gaps = np.abs((a + b) / 2 + 0.1 - a).mean(), np.abs((a + b) / 2 - 0.2 - b).mean()
    assert numbers["select_cycle"] == pytest.approx((sum(gaps) / 2 + 0.05) / 2, rel=1e-3)
    assert numbers["select_frechet"] == pytest.approx(0, abs=1e-6)


def test_no_more_slices_are_scored_than_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_SCORED", 2)
    looks = watch(tmp_path, translator(), select_every=1, sample_every=9)
    looks(0, TrainerState())
    # Each side goes forth and back, one slice at a time.
    assert [len(looks.trainee.networks[name].dtypes) for name in ("G1", "G2", "S")] == [4, 4, 2]  # pyright: ignore[reportArgumentType]


def test_what_is_looked_at_is_what_will_be_used(tmp_path: Path) -> None:
    trainee, averages = translator(), translator(0.9, 0.9).networks
    looks = watch(tmp_path, TrainingTask(trainee.networks, {}, nothing, averages=averages), select_every=1)
    looks(5, TrainerState())
    assert all(network.dtypes == [] for network in trainee.networks.values())  # pyright: ignore[reportAttributeAccessIssue]
    assert all(network.dtypes for network in averages.values())  # pyright: ignore[reportAttributeAccessIssue]


def test_in_bf16_pictures_and_scores_are_what_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {
        "G1": ResNet(1, 2, 1), "G2": ResNet(1, 2, 1), "S": ResNet(2, 2, 1, "linear"),
    }  # fmt: skip
    found = []
    for number, compute in enumerate((Compute(CPU), Compute(CPU, bf16=True))):
        folder = tmp_path / str(number)
        folder.mkdir()
        looks = watch(folder, TrainingTask(networks, {}, nothing), select_every=1)
        looks = Validator(looks.trainee, looks.settings, compute, looks.samples, looks.slices, looks.held_out)
        found.append(looks(5, TrainerState()).numbers)
    assert found[1]["select_cycle"] == pytest.approx(found[0]["select_cycle"], rel=0.05)
    assert found[1] != found[0]


def test_alarms_are_of_the_pictures_and_of_the_losses(tmp_path: Path) -> None:
    """A network that copies, and a discriminator that is never fooled."""
    looks = watch(tmp_path, translator(1.0, 1.0), scored=False, sample_every=1, adversarial="least_squares")
    history = {"discriminator_mr": [0.0001] * 5, "discriminator_ct": [0.1] * 5}
    assert [alarm.name for alarm in looks(0, TrainerState(history=history)).alarms] == [
        "discriminator mr at zero", "output equals input",
    ]  # fmt: skip
    good = watch(tmp_path / "samples", translator(-0.5, -2.0), scored=False, sample_every=1)
    assert "output equals input" not in [alarm.name for alarm in good(0, TrainerState()).alarms]


def test_an_added_loss_has_no_levels_and_no_alarms_of_the_discriminators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {kind: {} for kind in registry._BUILT_IN})
    registry.register("adversarial_loss", "hinge", torch.nn.functional.hinge_embedding_loss)
    looks = watch(tmp_path, translator(-0.5, -2.0), scored=False, adversarial="hinge")
    alarms = looks(0, TrainerState(history={"discriminator_mr": [0.0] * 5})).alarms
    assert not any(alarm.name.startswith("discriminator") for alarm in alarms)


def test_the_best_epoch_is_used_unless_the_last_is_asked_for(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [3.0, 1.0, 2.0])
    run = train(tmp_path / "run", stores, epochs=3, select_every=1)
    card = run.card
    assert (card["best"]["score"], card["best"]["epoch"], card["best"]["step"]) == (1.0, 1, 12)
    assert card["best"]["weights_sha256"] != card["weights_sha256"]
    models = {epoch: load_translator(run.path, epoch=epoch) for epoch in ("auto", "best", "last")}
    assert models["auto"].weights == models["best"].weights == card["best"]["weights_sha256"]
    for name, network in (("G1", models["best"].generator), ("S", models["best"].segmentor)):
        assert network is not None
        assert all(torch.equal(part, kept(run)[name][key]) for key, part in network.state_dict().items())
    assert models["last"].weights == card["weights_sha256"]
    assert (models["auto"].best, models["best"].best, models["last"].best) == (True, True, False)
    # Another choice of the epoch is no matter of chance.
    assert models["auto"].recipe == models["best"].recipe != models["last"].recipe

    made = {
        epoch: synthesize(run.path, source=stores.ct, out=tmp_path / epoch, epoch=epoch).store
        for epoch in ("best", "last")
    }
    hashes = {epoch: {case.synthetic.model for case in store.cases if case.synthetic} for epoch, store in made.items()}
    assert hashes == {"best": {card["best"]["weights_sha256"]}, "last": {card["weights_sha256"]}}
    images = [Store(tmp_path / epoch).read("ct-0-as-mr").voxels for epoch in ("best", "last")]
    assert not np.array_equal(images[0], images[1])


def test_without_scores_there_is_no_best(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, epochs=1)
    with pytest.raises(InputError, match="a run that did not score its epochs"):
        load_translator(run.path, epoch="best")
    assert load_translator(run.path).weights == load_translator(run.path, epoch="last").weights
    assert not list((run.path / "checkpoints").glob("best-*"))


def test_other_weights_than_those_of_the_best_are_refused(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [1.0, 2.0])
    run = train(tmp_path / "run", stores, select_every=1)
    path = best_file(run)
    state = checkpoint.load(path)
    state["networks"]["G1"]["encode.1.bias"] += 1
    checkpoint.write(path, state)
    with pytest.raises(InputError, match="other weights than the run had at its best"):
        load_translator(run.path)
    assert load_translator(run.path, epoch="last").weights == run.card["weights_sha256"]
    path.unlink()
    with pytest.raises(InputError, match="damaged checkpoint"):
        load_translator(run.path)


def test_patience_stops_early_and_says_so(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [3.0, 1.0, 2.0, 1.0, 0.0])
    run = train(tmp_path / "run", stores, epochs=5, select_every=1, patience=2)
    card = run.card
    assert card["stopped_early"]
    assert card["steps"] == 4 * 6
    assert card["best"]["epoch"] == 1
    assert [r["select_score"] for r in run.metrics() if "select_score" in r] == pytest.approx([3.0, 1.0, 2.0, 1.0])
    assert load_translator(run.path, epoch="last").weights == card["weights_sha256"]


def test_a_translator_that_never_had_a_finite_score_ends_well(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [math.inf, math.inf])
    run = train(tmp_path / "run", stores, select_every=1)
    assert run.card["best"] is None
    assert load_translator(run.path).weights == run.card["weights_sha256"]


def test_averages_are_what_is_kept_and_used(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held against the average of the weights that each step left, computed here."""
    decay, seen, began = 0.75, [], {}
    real = Validator.__call__

    def note(self: Validator, epoch: int, at: TrainerState) -> Any:
        state = {name: copy.deepcopy(network.state_dict()) for name, network in self.trainee.networks.items()}
        seen.append((at.step, state))
        return real(self, epoch, at)

    def begin(trainee: TrainingTask, names: tuple[str, ...], by: float) -> TrainingTask:
        began.update({name: copy.deepcopy(trainee.networks[name].state_dict()) for name in names})
        return averaged(trainee, names, by)

    monkeypatch.setattr(Validator, "__call__", note)
    monkeypatch.setattr("crossmod.synthesis.train.averaged", begin)
    # One step an epoch.
    run = train(tmp_path / "run", stores, epochs=3, ct_slices=1, mr_slices=1, ema=decay, sample_every=9)
    assert [step for step, _ in seen] == [1, 2, 3]
    model = load_translator(run.path)
    assert model.segmentor is not None
    for name, network in (("G1", model.generator), ("S", model.segmentor)):
        wanted = began[name]
        for _, state in seen:
            wanted = {key: decay * wanted[key] + (1 - decay) * state[name][key] for key in wanted}
        for key, part in network.state_dict().items():
            torch.testing.assert_close(part, wanted[key])
        assert not torch.equal(network.state_dict()["encode.1.weight"], seen[-1][1][name]["encode.1.weight"])
    state = checkpoint.newest(run.path / "checkpoints")
    assert state is not None
    assert model.weights == checkpoint.weights_hash({**state["networks"], **state["averages"]})
    assert model.weights != checkpoint.weights_hash(state["networks"])


@pytest.mark.parametrize("more", [{"ema": 0.9}, {"select_every": 1, "ema": 0.9}])
def test_interrupted_it_ends_with_the_same_averages_and_the_same_best(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    whole = train(tmp_path / "whole", stores, epochs=3, **more)
    real, looked = Validator.__call__, []

    def stop(self: Validator, epoch: int, at: TrainerState) -> Any:
        looked.append(epoch)
        if len(looked) == 2:
            raise KeyboardInterrupt
        return real(self, epoch, at)

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", stores, epochs=3, machine=Machine(checkpoint_minutes=0), **more)
    cut = train(tmp_path / "cut", stores, epochs=3, **more)
    assert cut.card["weights_sha256"] == whole.card["weights_sha256"]
    assert cut.card["best"] == whole.card["best"]
