import json
import math

import pytest

from crossmod.engine.alarms import Alarm
from crossmod.engine.state import EPOCHS_REMEMBERED, TrainerState


def again(at: TrainerState) -> TrainerState:
    """As a checkpoint gives it back."""
    return TrainerState(**json.loads(json.dumps(at.state_dict())))


def test_history_is_the_mean_over_steps_not_over_readings() -> None:
    """25, 25 and 2 steps: as if each step had been added by itself."""
    at = TrainerState()
    losses = {"cycle": [*range(25), *range(100, 125), 7, 9], "segmentation": [0.5] * 52}
    for begin, end in ((0, 25), (25, 50), (50, 52)):
        at.count({name: sum(values[begin:end]) / (end - begin) for name, values in losses.items()}, end - begin)
    at.end_epoch()
    assert at.history["cycle"] == [pytest.approx(sum(losses["cycle"]) / 52)]
    assert at.history["segmentation"] == [pytest.approx(0.5)]
    at.count({"cycle": 3.0, "segmentation": 1.0}, 1)
    at.end_epoch()
    assert at.history == {
        "cycle": [pytest.approx(sum(losses["cycle"]) / 52), 3.0],
        "segmentation": [pytest.approx(0.5), 1.0],
    }


def test_an_epoch_that_was_cut_in_two_has_one_mean() -> None:
    at = TrainerState()
    at.count({"cycle": 1.0}, 3)
    at = again(at)
    at.count({"cycle": 5.0}, 1)
    at.end_epoch()
    assert at.history == {"cycle": [2.0]}
    assert (at.sums, at.summed) == ({}, 0)


def test_only_the_last_epochs_are_remembered() -> None:
    at = TrainerState()
    for epoch in range(EPOCHS_REMEMBERED + 3):
        at.count({"cycle": float(epoch)}, 2)
        at.end_epoch()
    assert at.history["cycle"] == [float(epoch) for epoch in range(3, EPOCHS_REMEMBERED + 3)]


def test_an_epoch_without_readings_adds_nothing() -> None:
    at = TrainerState()
    at.end_epoch()
    assert at.history == {}


def test_the_best_is_the_lowest_the_first_of_equals_and_scores_since_are_counted() -> None:
    at, better, waited = TrainerState(), [], []
    for epoch, score in enumerate([3.0, None, 4.0, 2.0, 2.0, None, 5.0, 1.0]):
        at.step = 10 * (epoch + 1)
        better.append(at.is_best(score, epoch))
        waited.append(at.waited)
        at = again(at)
    assert better == [True, False, False, True, False, False, False, True]
    # A look without a score is none that was no better.
    assert waited == [0, 0, 1, 0, 1, 1, 2, 0]
    assert at.best == {"score": 1.0, "step": 80, "epoch": 7}


@pytest.mark.parametrize("score", [math.inf, math.nan])
def test_what_diverged_is_never_the_best_and_is_waited_for(score: float) -> None:
    at = TrainerState()
    assert not at.is_best(score, 0)
    assert (at.best, at.waited) == ({}, 1)
    assert at.is_best(9.0, 1)
    assert not at.is_best(score, 2)
    assert (at.best["score"], at.waited) == (9.0, 1)


def alarm(name: str, seen: str = "") -> Alarm:
    return Alarm(name, seen, "advice")


def test_an_alarm_is_raised_once_also_over_a_restart() -> None:
    at = TrainerState(step=5)
    assert at.new([alarm("flat", "first"), alarm("flat", "second")], 0) == [alarm("flat", "first")]
    at = again(at)
    at.step = 9
    assert at.new([alarm("flat"), alarm("same")], 1) == [alarm("same")]
    assert at.new([alarm("same"), alarm("flat")], 2) == []
    assert at.alarms == [
        {"step": 5, "epoch": 0, "alarm": "flat", "seen": "first", "advice": "advice"},
        {"step": 9, "epoch": 1, "alarm": "same", "seen": "", "advice": "advice"},
    ]


def test_what_a_checkpoint_gives_back_is_what_it_was_given() -> None:
    at = TrainerState(
        7,
        1.5,
        True,
        {"score": 0.25, "step": 5, "epoch": 1},
        2,
        [Alarm("x", "seen", "advice").record(5, 1)],
        {"a": [1.0]},
        {"a": 2.0},
        3,
    )
    assert again(at) == at
    # Plain data of its own, that later steps do not change.
    state = at.state_dict()
    at.history["a"].append(2.0)
    assert state["history"] == {"a": [1.0]}
