import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crossmod.engine.checkpoint import checkpoints, newest
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.state import Batch, Losses, TrainerState, ValidationResult
from crossmod.errors import InputError
from crossmod.files import lock
from crossmod.runs import Run
from tests.support.loops import ALONE, PLAN, Numbers, new_run, regression, weights


def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(tmp_path: Path) -> None:
    plan = replace(PLAN, minutes=0.0)
    whole = regression()
    fit(whole, Numbers(), new_run(tmp_path / "whole"), plan, ALONE)

    def stop(epoch: int, at: TrainerState) -> ValidationResult:
        if epoch == 1:
            raise KeyboardInterrupt
        return ValidationResult()

    with pytest.raises(KeyboardInterrupt):
        fit(regression(), Numbers(), new_run(tmp_path / "cut"), plan, ALONE, stop)
    again = regression()
    fit(again, Numbers(), new_run(tmp_path / "cut"), plan, ALONE)
    assert torch.equal(weights(whole), weights(again))
    done = [fit(regression(), Numbers(), Run(tmp_path / name), plan, ALONE).step for name in ("whole", "cut")]
    assert done == [20, 20]
    losses = [[reading["square"] for reading in Run(tmp_path / name).metrics()] for name in ("whole", "cut")]
    assert len(losses[0]) == 20
    assert losses[0] == losses[1]


def test_a_finished_plan_takes_no_further_step(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    first = regression()
    fit(first, Numbers(), run, PLAN, ALONE)
    again = regression()
    fit(again, Numbers(), run, PLAN, ALONE)
    assert torch.equal(weights(first), weights(again))
    assert len(checkpoints(run.path / "checkpoints")) == 1


def test_learning_rates_stay_and_then_fall_in_a_straight_line() -> None:
    factors = [TrainingPlan("", epochs=6, seed=0, decay=0.5).learning_rate_factor(epoch) for epoch in range(6)]
    assert factors == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    assert [TrainingPlan("", epochs=3, seed=0).learning_rate_factor(epoch) for epoch in range(3)] == [1, 1, 1]


def test_learning_rates_of_a_plan_of_steps_stay_what_they_were_in_its_last_epoch() -> None:
    assert [TrainingPlan("", epochs=2, seed=0, steps=99).learning_rate_factor(epoch) for epoch in range(9)] == [1] * 9
    falling = [
        TrainingPlan("", epochs=2, seed=0, steps=99, decay=0.5).learning_rate_factor(epoch) for epoch in range(4)
    ]
    assert falling == [1, 0.5, 0.5, 0.5]


def test_steps_in_place_of_epochs_may_end_within_one(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    fit(regression(), Numbers(), run, TrainingPlan("", epochs=9, seed=0, steps=7), ALONE)
    state = newest(run.path / "checkpoints")
    assert state is not None
    assert state["standing"]["step"] == 7
    fit(regression(), Numbers(), new_run(tmp_path / "longer"), TrainingPlan("", epochs=1, seed=0, steps=12), ALONE)
    longer = newest(tmp_path / "longer" / "checkpoints")
    assert longer is not None
    assert longer["standing"]["step"] == 12


def test_no_number_that_is_none_gets_into_a_checkpoint(tmp_path: Path) -> None:
    trainee, steps = regression(), iter(range(99))

    def step(batch: Batch) -> Losses:
        losses = trainee.step(batch)
        return losses if next(steps) < 2 else {"square": losses["square"] * float("nan")}

    with pytest.raises(InputError, match="at step 3"):
        fit(replace(trainee, step=step), Numbers(), new_run(tmp_path / "run"), replace(PLAN, minutes=0.0), ALONE)
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")][-1] == "step-00000002.safetensors"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_finishes_the_step_and_saves(tmp_path: Path, number: signal.Signals) -> None:
    whole = regression()
    fit(whole, Numbers(), new_run(tmp_path / "whole"), PLAN, ALONE)
    trainee, steps = regression(), iter(range(99))

    def step(batch: Batch) -> Losses:
        if next(steps) == 6:
            signal.raise_signal(number)
        return trainee.step(batch)

    before = signal.getsignal(number)
    run = new_run(tmp_path / "cut")
    with pytest.raises(TrainingInterrupted, match="stopped at step 7 of 20; rerun the command to resume") as stopped:
        fit(replace(trainee, step=step), Numbers(), run, PLAN, ALONE)
    assert stopped.value.number == number
    assert signal.getsignal(number) is before
    assert [path.name for path in checkpoints(run.path / "checkpoints")] == ["step-00000007.safetensors"]
    again = regression()
    fit(again, Numbers(), run, PLAN, ALONE)
    assert torch.equal(weights(whole), weights(again))


def test_asked_twice_it_stops_at_once(tmp_path: Path) -> None:
    def step(batch: Batch) -> Losses:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one must not come back")

    trainee = regression()
    with pytest.raises(KeyboardInterrupt):
        fit(replace(trainee, step=step), Numbers(), new_run(tmp_path / "run"), PLAN, ALONE)


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with lock(run.path / ".lock"), pytest.raises(InputError, match="another crossmod command that writes here"):
        fit(regression(), Numbers(), run, PLAN, ALONE)
    fit(regression(), Numbers(), run, PLAN, ALONE)


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (run.path / "checkpoints" / ".step-00000001.safetensors.123.partial").write_text("half")
    fit(regression(), Numbers(), run, PLAN, ALONE)
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-00000020.safetensors"]


def test_a_loss_that_is_no_number_stops_and_says_where(tmp_path: Path) -> None:
    trainee = regression()
    broken = replace(trainee, step=lambda batch: {"square": torch.tensor(float("nan"))})
    with pytest.raises(InputError, match="a square loss that is not finite at step 5"):
        fit(broken, Numbers(), new_run(tmp_path / "run"), PLAN, ALONE)
