import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossmod.engine import checkpoint
from crossmod.engine.alarms import Alarm
from crossmod.engine.checkpoint import best, restore, snapshot
from crossmod.engine.distributed import Distributed
from crossmod.engine.loop import fit
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import TrainerState, TrainingTask, ValidationResult
from crossmod.errors import InputError
from tests.support.loops import ALONE, PLAN, Numbers, new_run, regression, weights

# Five epochs that are scored, the best in the middle.
SCORES = [5.0, 3.0, 4.0, 4.0, 6.0]


class Killed(BaseException):
    """What no `except` of the loop sees, as a SIGKILL is not seen."""


class Counter:
    """Something of a process that must survive."""

    def __init__(self) -> None:
        self.kept = torch.zeros(2)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept.clone()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.kept = state["kept"].clone()


def scored(epoch: int, at: TrainerState) -> ValidationResult:
    return ValidationResult(numbers={"select_score": SCORES[epoch]}, score=SCORES[epoch])


PATIENT = replace(PLAN, epochs=5, minutes=99.0)


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    """Weights, averages, moments, memory, random state and standing, in another process's objects."""
    run, counter = new_run(tmp_path / "run"), Counter()
    trainee = averaged(replace(regression(), memory={"counter": counter}), ("net",), 0.9)
    for step in range(3):
        trainee.step({**Numbers().batch(0, step), "drawn": torch.tensor(0.5)})
    counter.kept += 7
    at = TrainerState(
        3, 1.5, False, {"score": 2.0, "step": 2, "epoch": 0}, 1, [], {"square": [1.0]}, {"square": 3.0}, 2
    )
    checkpoint.save(run.path / "checkpoints", 3, snapshot(trainee, at, ALONE))
    drawn, expected = torch.rand(4), snapshot(trainee, at, ALONE)

    again = Counter()
    other = averaged(replace(regression(), memory={"counter": again}), ("net",), 0.9)
    assert restore(other, run, ALONE) == at
    assert torch.equal(torch.rand(4), drawn)
    assert again.kept.tolist() == [7, 7]
    found = snapshot(other, at, ALONE)
    for part in ("networks", "averages"):
        assert all(torch.equal(found[part]["net"][key], expected[part]["net"][key]) for key in expected[part]["net"])
    moments = [state["optimizers"]["net"]["state"] for state in (found, expected)]
    assert all(torch.equal(moments[0][i][name], moments[1][i][name]) for i in moments[1] for name in moments[1][i])


def test_nothing_there_is_a_beginning(tmp_path: Path) -> None:
    assert restore(regression(), new_run(tmp_path / "run"), ALONE) == TrainerState()


def test_other_networks_and_another_number_of_processes_are_refused(tmp_path: Path) -> None:
    run, trainee = new_run(tmp_path / "run"), regression()
    state = snapshot(trainee, TrainerState(), ALONE)
    checkpoint.save(run.path / "checkpoints", 1, {**state, "ranks": [*state["ranks"], *state["ranks"]]})
    with pytest.raises(InputError, match="a run of 2 processes, continued with 1"):
        restore(trainee, run, ALONE)
    checkpoint.save(run.path / "checkpoints", 2, state)
    other = replace(trainee, networks={"net": torch.nn.Linear(2, 2)})
    with pytest.raises(InputError, match="another architecture"):
        restore(other, run, ALONE)


def test_what_was_best_is_what_is_looked_at(tmp_path: Path) -> None:
    trainee = averaged(regression(), ("net",), 0.9)
    trainee.step({**Numbers().batch(0, 0), "drawn": torch.tensor(0.5)})
    kept = best(trainee, TrainerState(best={"score": 1.0, "step": 1, "epoch": 0}))
    assert kept["best"] == {"score": 1.0, "step": 1, "epoch": 0}
    assert torch.equal(kept["networks"]["net"]["0.weight"], trainee.averages["net"].state_dict()["0.weight"])
    assert not torch.equal(kept["networks"]["net"]["0.weight"], trainee.networks["net"].state_dict()["0.weight"])


def best_file(run: Any) -> dict[str, Any]:
    (path,) = (run.path / "checkpoints").glob("best-*")
    return checkpoint.load(path)


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    run, trainee, seen = new_run(tmp_path / "run"), regression(), []

    def look(epoch: int, at: TrainerState) -> ValidationResult:
        seen.append(copy.deepcopy(trainee.networks["net"].state_dict()))
        return scored(epoch, at)

    at = fit(trainee, Numbers(), run, PATIENT, ALONE, look)
    assert at.best == best_file(run)["best"] == {"score": 3.0, "step": 10, "epoch": 1}
    assert all(torch.equal(best_file(run)["networks"]["net"][key], seen[1][key]) for key in seen[1])
    assert not torch.equal(seen[1]["0.weight"], seen[4]["0.weight"])
    assert at.waited == 3


def test_patience_ends_it_early_and_it_stays_ended(tmp_path: Path) -> None:
    run, taken = new_run(tmp_path / "run"), []
    plan = replace(PATIENT, patience=2)
    at = fit(regression(), Numbers(), run, plan, ALONE, scored)
    assert (at.step, at.over, at.waited) == (20, True, 2)
    assert checkpoint.checkpoints(run.path / "checkpoints")[-1].name == "step-00000020.safetensors"
    again = regression()
    counted = replace(again, step=lambda batch: taken.append(1) or again.step(batch))
    assert fit(counted, Numbers(), run, plan, ALONE, scored) == at
    assert taken == []
    # What it ended with is what is there.
    state = checkpoint.newest(run.path / "checkpoints")
    assert state is not None
    assert torch.equal(again.networks["net"].state_dict()["0.weight"], state["networks"]["net"]["0.weight"])


def test_without_patience_all_epochs_are_taken(tmp_path: Path) -> None:
    at = fit(regression(), Numbers(), new_run(tmp_path / "run"), PATIENT, ALONE, scored)
    assert (at.step, at.over) == (25, False)


@pytest.mark.parametrize("moment", ["before the best is written", "between the best and the checkpoint", "after both"])
@pytest.mark.parametrize("at_best", [1, 2])
def test_a_kill_around_a_best_epoch_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, at_best: int
) -> None:
    whole = new_run(tmp_path / "whole")
    plan = replace(PATIENT, patience=2)
    expected = fit(regression(), Numbers(), whole, plan, ALONE, scored)

    run, count = new_run(tmp_path / "cut"), []
    write, save = checkpoint.write, checkpoint.save

    def writing(path: Path, state: dict[str, Any]) -> None:
        count.extend([1] * path.name.startswith("best-"))
        if len(count) == at_best and path.name.startswith("best-") and moment.startswith("before"):
            raise Killed
        write(path, state)

    def saving(folder: Path, step: int, state: dict[str, Any], *, keep: int = 2, best: int | None = None) -> Path:
        if len(count) == at_best and moment.startswith("between"):
            raise Killed
        path = save(folder, step, state, keep=keep, best=best)
        if len(count) == at_best and moment.startswith("after"):
            raise Killed
        return path

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", writing)
        patch.setattr(checkpoint, "save", saving)
        with pytest.raises(Killed):
            fit(regression(), Numbers(), run, plan, ALONE, scored)
    again = regression()
    found = fit(again, Numbers(), run, plan, ALONE, scored)
    assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    assert found.best == best_file(run)["best"]
    pairs = [best_file(one)["networks"]["net"] for one in (run, whole)]
    assert all(torch.equal(pairs[0][key], pairs[1][key]) for key in pairs[1])
    readings = [[{k: v for k, v in r.items() if k not in MACHINE} for r in one.metrics()] for one in (run, whole)]
    assert readings[0] == readings[1]


MACHINE = ("seconds", "steps_per_second", "memory_gb")


def test_alarms_are_raised_once_over_all_sittings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = new_run(tmp_path / "run")
    asked = []

    def look(epoch: int, at: TrainerState) -> ValidationResult:
        asked.append(epoch)
        if len(asked) == 3:
            raise Killed
        return ValidationResult(alarms=[Alarm("flat", f"in epoch {epoch}", "Look.")])

    plan = replace(PLAN, minutes=0.0)
    with pytest.raises(Killed):
        fit(regression(), Numbers(), run, plan, ALONE, look)
    at = fit(regression(), Numbers(), run, plan, ALONE, look)
    assert [alarm["seen"] for alarm in at.alarms] == ["in epoch 0"]
    assert caplog.text.count("Alarm. flat: in epoch 0. Look.") == 1
    assert [reading["seen"] for reading in run.metrics() if "alarm" in reading] == ["in epoch 0"]
    assert at.history.keys() == {"square"}
    assert len(at.history["square"]) == 4


def test_means_of_epochs_are_those_of_all_their_steps(tmp_path: Path) -> None:
    """Also of an epoch that is read more than once and interrupted on the way."""

    class Long(Numbers):
        steps = 30

    def collecting(trainee: TrainingTask, losses: list[float], kill_at: int = -1) -> TrainingTask:
        def step(batch: Any) -> Any:
            if len(losses) == kill_at:
                raise Killed
            taken = trainee.step(batch)
            losses.append(taken["square"].item())
            return taken

        return replace(trainee, step=step)

    run, first, plan = new_run(tmp_path / "run"), [], replace(PLAN, epochs=2, minutes=0.0)
    with pytest.raises(Killed):
        fit(collecting(regression(), first, 40), Long(), run, plan, ALONE)
    second: list[float] = []
    at = fit(collecting(regression(), second), Long(), run, plan, ALONE)
    losses = [*first, *second]
    assert len(losses) == 60
    assert at.history["square"] == pytest.approx([sum(losses[:30]) / 30, sum(losses[30:]) / 30])


def test_resumed_readings_have_no_doubles_and_no_holes(tmp_path: Path) -> None:
    run, steps = new_run(tmp_path / "run"), []
    trainee = regression()

    def step(batch: Any) -> Any:
        steps.append(1)
        if len(steps) == 18:
            raise Killed
        return trainee.step(batch)

    def saving_seldom(epoch: int, at: TrainerState) -> ValidationResult:
        # A best epoch is saved, and only such a one.
        return ValidationResult(numbers={"select_score": 1.0}, score=1.0 if epoch == 1 else None)

    plan = replace(PLAN, minutes=99.0)
    with pytest.raises(Killed):
        fit(replace(trainee, step=step), Numbers(), run, plan, ALONE, saving_seldom)
    assert [r["step"] for r in run.metrics() if "square" in r] == [5, 10, 15]
    fit(regression(), Numbers(), run, plan, ALONE, saving_seldom)
    assert [r["step"] for r in run.metrics() if "square" in r] == [5, 10, 15, 20]
    assert [r["step"] for r in run.metrics() if "select_score" in r] == [5, 10, 15, 20]


def test_rates_that_fell_fall_on_from_where_they_began(tmp_path: Path) -> None:
    """A checkpoint holds rates that have fallen already: they are not multiplied once more."""
    run, seen = new_run(tmp_path / "run"), []

    def watched(kill_at: int) -> TrainingTask:
        trainee = regression()

        def step(batch: Any) -> Any:
            if len(seen) == kill_at:
                raise Killed
            seen.append(trainee.optimizers["net"].param_groups[0]["lr"])
            return trainee.step(batch)

        return replace(trainee, step=step)

    plan = replace(PLAN, minutes=0.0)
    with pytest.raises(Killed):
        fit(watched(17), Numbers(), run, plan, ALONE)
    fit(watched(-1), Numbers(), run, plan, ALONE)
    # The last two of four epochs fall to two thirds and one third.
    expected = [0.05] * 10 + [0.05 * 2 / 3] * 5 + [0.05 / 3] * 5
    assert seen == pytest.approx(expected)


def test_weights_are_not_shared_with_what_was_saved(tmp_path: Path) -> None:
    """The best file holds what was, also when training goes on: it is written at once."""
    run, trainee = new_run(tmp_path / "run"), regression()
    before = weights(trainee).clone()
    path = tmp_path / "kept.safetensors"
    checkpoint.write(path, best(trainee, TrainerState()))
    fit(trainee, Numbers(), run, PLAN, Distributed(torch.device("cpu")))
    kept = torch.cat([part.flatten() for part in checkpoint.load(path)["networks"]["net"].values()])
    assert torch.equal(kept, before)
    assert not torch.equal(weights(trainee), before)
