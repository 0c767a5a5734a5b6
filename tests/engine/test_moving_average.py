import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from crossmod.engine import checkpoint
from crossmod.engine.checkpoint import restore, snapshot
from crossmod.engine.device import Compute, accelerate
from crossmod.engine.distributed import Distributed
from crossmod.engine.optimizers import adam, averaged
from crossmod.engine.state import Batch, Losses, TrainerState, TrainingTask
from crossmod.runs import start_run

CPU = torch.device("cpu")
LAST = torch.channels_last


def set_by_hand(values: list[float]) -> TrainingTask:
    """Each step sets every weight and statistic to the next number."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    numbers = iter(values)

    def step(batch: Batch) -> Losses:
        value = next(numbers)
        with torch.no_grad():
            for part in _floats(network):
                part.fill_(value)
        return {"loss": torch.tensor(value)}

    with torch.no_grad():
        for part in _floats(network):
            part.fill_(0.5)
    return TrainingTask({"G1": network, "D1": nn.Linear(1, 1)}, {}, step)


def _floats(network: nn.Module) -> list[torch.Tensor]:
    return [part for part in (*network.parameters(), *network.buffers()) if part.is_floating_point()]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("decay", [0.9, 0.25])
def test_the_average_is_the_closed_form(decay: float, compiled: bool) -> None:
    """decay^n w_0 + (1 - decay) sum_i decay^(n-i) w_i; laid out anew after the average was set up."""
    values = [2.0, -1.0, 4.0, 8.0, 0.0]
    trainee = accelerate(averaged(set_by_hand(values), ("G1",), decay), Compute(CPU))
    if compiled:
        for network in (*trainee.networks.values(), *trainee.averages.values()):
            network.to(memory_format=LAST)  # pyright: ignore[reportCallIssue]
    for number in range(1, len(values) + 1):
        losses = trainee.step({})
        assert losses["loss"].item() == values[number - 1]
        wanted = decay**number * 0.5
        wanted += (1 - decay) * sum(decay ** (number - i) * values[i - 1] for i in range(1, number + 1))
        # Weight and bias of both layers, running mean and variance.
        assert len(_floats(trainee.averages["G1"])) == 6
        for part in _floats(trainee.averages["G1"]):
            torch.testing.assert_close(part, torch.full_like(part, wanted))
        assert all((part == values[number - 1]).all() for part in _floats(trainee.networks["G1"]))


def test_what_is_used_is_the_average_and_what_is_trained_is_not() -> None:
    plain = set_by_hand([1.0])
    trainee = averaged(plain, ("G1",), 0.5)
    assert trainee.model["G1"] is trainee.averages["G1"]
    assert trainee.model["G1"] is not trainee.networks["G1"]
    assert trainee.model["D1"] is trainee.networks["D1"]
    assert trainee.networks["G1"] is plain.networks["G1"]
    assert not any(weight.requires_grad for weight in trainee.averages["G1"].parameters())
    assert all(weight.requires_grad for weight in trainee.networks["G1"].parameters())
    assert not trainee.averages["G1"].training
    assert trainee.networks["G1"].training


def test_without_a_decay_there_is_none() -> None:
    plain = set_by_hand([1.0])
    trainee = averaged(plain, ("G1",), 0.0)
    assert trainee is plain
    assert trainee.model["G1"] is trainee.networks["G1"]


def learning() -> TrainingTask:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    optimizer = adam(network.parameters(), 0.05, (0.5, 0.999), CPU)

    def step(batch: Batch) -> Losses:
        loss = network(batch["x"]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"square": loss.detach()}

    trainee = averaged(TrainingTask({"G1": network}, {"G1": optimizer}, step), ("G1",), 0.8)
    for part in (network, trainee.averages["G1"]):
        part.to(memory_format=LAST)  # pyright: ignore[reportCallIssue]
    return trainee


def take(trainee: TrainingTask, steps: range) -> dict[str, Any]:
    for step in steps:
        trainee.step({"x": torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(step))})
    return copy.deepcopy(
        {f"{name} {key}": part for name, of in (("net", trainee.networks), ("average", trainee.averages))
         for key, part in of["G1"].state_dict().items()}
    )  # fmt: skip


def test_over_a_restart_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    world, run = Distributed(CPU), start_run(tmp_path / "run", "train", {}, {})
    whole = learning()
    take(whole, range(3))
    at = TrainerState(step=3)
    checkpoint.save(run.path / "checkpoints", 3, snapshot(whole, at, world))
    wanted = take(whole, range(3, 6))
    again = learning()
    assert restore(again, run, world) == at
    found = take(again, range(3, 6))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not torch.equal(wanted["net 0.weight"], wanted["average 0.weight"])
    # That the average was restored, and not begun anew.
    begun_anew = learning()
    begun_anew.networks["G1"].load_state_dict(whole.networks["G1"].state_dict())
    assert not torch.equal(begun_anew.averages["G1"].state_dict()["0.weight"], wanted["average 0.weight"])
