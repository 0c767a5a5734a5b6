import logging
import math
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossmod.engine import logger as room
from crossmod.engine.alarms import Alarm
from crossmod.engine.distributed import Distributed
from crossmod.engine.logger import journal
from crossmod.engine.memory import peak_bytes
from crossmod.engine.state import Losses, TrainerState, ValidationResult
from crossmod.errors import InputError
from crossmod.runs import Run, start_run

CPU = torch.device("cpu")
ALONE = Distributed(CPU)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(room, "time", made)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return start_run(tmp_path / "run", "train", {}, {})


def taken(*values: float) -> list[Losses]:
    return [{"cycle": torch.tensor(float(value)), "adversarial": torch.tensor(float(-value))} for value in values]


def test_a_reading_is_the_mean_since_the_last_with_speed_and_memory(run: Run, clock: Clock) -> None:
    at = TrainerState(step=4, seconds=12.3456)
    with journal(run, ALONE, 0) as notes:
        notes.restart_timer()
        clock.now += 2
        note = notes.read(taken(1, 2, 3, 6), at, 0)
        clock.now += 0.5
        at.step = 5
        notes.read(taken(10), at, 1)
    first, second = run.metrics()
    memory = first.pop("memory_gb")
    assert first == {
        "step": 4, "epoch": 0, "seconds": 12.346, "cycle": 3.0, "adversarial": -3.0, "steps_per_second": 2.0
    }  # fmt: skip
    assert second["cycle"] == 10
    assert second["steps_per_second"] == 2.0
    assert 0.01 < memory <= peak_bytes(CPU) / 1e9 + 0.001
    assert note.startswith("2 steps/s")
    assert "cycle 3.000  adversarial -3.000" in note
    # And to the epoch's means, by the number of steps.
    assert at.sums == {"cycle": 22.0, "adversarial": -22.0}
    assert at.summed == 5


def test_what_was_no_training_does_not_count_for_the_speed(run: Run, clock: Clock) -> None:
    with journal(run, ALONE, 0) as notes:
        clock.now += 1000
        notes.restart_timer()
        clock.now += 2
        notes.read(taken(1), TrainerState(step=1), 0)
    assert [reading["steps_per_second"] for reading in run.metrics()] == [0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_named_and_not_written(run: Run, bad: float) -> None:
    losses = [{"cycle": torch.tensor(1.0), "segmentation": torch.tensor(value)} for value in (1.0, bad, 1.0)]
    with journal(run, ALONE, 0) as notes, pytest.raises(InputError, match=r"a segmentation loss .* at step 3") as error:
        notes.read(losses, TrainerState(step=3), 0)
    assert "cycle" not in error.value.found
    assert list(run.metrics()) == []


def test_the_advice_fits_the_training_and_what_is_there(run: Run) -> None:
    bad = {"square": torch.tensor(math.nan)}
    with journal(run, ALONE, 0) as notes, pytest.raises(InputError) as error:
        notes.read([bad], TrainerState(step=3), 0)
    assert error.value.do == (
        "Lower --learning-rate, use --precision fp32, or try another --seed, "
        "in the same folder, which has no checkpoint yet."
    )
    (run.path / "checkpoints" / "step-00000003.safetensors").touch()
    with journal(run, ALONE, 0) as notes, pytest.raises(InputError) as error:
        notes.read([{**bad, "discriminator_mr": torch.tensor(0.5)}], TrainerState(step=6), 0)
    assert error.value.do.startswith("Lower --learning-rate and --discriminator-learning-rate, use")
    assert error.value.do.endswith("in another folder; the last good checkpoint is kept.")


def test_losses_in_bf16_are_averaged_and_told(run: Run) -> None:
    with journal(run, ALONE, 0) as notes:
        notes.read([{"cycle": torch.tensor(0.5, dtype=torch.bfloat16)}] * 3, TrainerState(step=3), 0)
    assert next(run.metrics())["cycle"] == 0.5


def sight(tmp_path: Path) -> ValidationResult:
    picture = tmp_path / "samples" / "epoch-0001.png"
    picture.parent.mkdir()
    Image.new("L", (4, 3)).save(picture)
    return ValidationResult({"select_score": 0.5}, 0.5, [Alarm("flat", "seen", "Look.")], picture)


def test_what_was_seen_goes_everywhere_and_an_alarm_once(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at, seen = TrainerState(step=6), sight(tmp_path)
    with journal(run, ALONE, 0) as notes, caplog.at_level(logging.WARNING):
        notes.read(taken(1), at, 0)
        notes.saw(seen, at, 0)
        at.step = 12
        notes.saw(seen, at, 1)
    assert list(run.metrics())[1:] == [
        {"step": 6, "epoch": 0, "select_score": 0.5},
        {"step": 6, "epoch": 0, "alarm": "flat", "seen": "seen", "advice": "Look."},
        {"step": 12, "epoch": 1, "select_score": 0.5},
    ]
    assert caplog.text.count("Alarm. flat: seen. Look.") == 1
    curves = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert {"loss/cycle", "loss/adversarial", "select_score", "steps_per_second"} <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("select_score")] == [6, 12]
    assert len(curves.Images("samples")) == 2


def test_a_score_that_is_no_number_is_left_out(run: Run) -> None:
    with journal(run, ALONE, 0) as notes:
        notes.saw(ValidationResult({"select_score": float("inf"), "select_cycle": 0.5}), TrainerState(step=1), 0)
    assert (run.path / "metrics.jsonl").read_text() == '{"step": 1, "epoch": 0, "select_cycle": 0.5}\n'


def test_nothing_seen_writes_nothing(run: Run) -> None:
    with journal(run, ALONE, 0) as notes:
        notes.saw(ValidationResult(), TrainerState(step=1), 0)
    assert list(run.metrics()) == []


def test_only_the_first_process_writes_but_all_keep_count(run: Run, tmp_path: Path) -> None:
    at = TrainerState(step=2)
    # Alone in its world, though not the first: nothing is to be asked of others here.
    with journal(run, Distributed(CPU, rank=1), 0) as notes:
        notes.read(taken(1, 3), at, 0)
        notes.saw(sight(tmp_path), at, 0)
    assert not (run.path / "metrics.jsonl").exists()
    assert not (run.path / "tensorboard").exists()
    assert at.sums["cycle"] == 4.0
    assert [alarm["alarm"] for alarm in at.alarms] == ["flat"]


def test_after_a_restart_curves_show_no_step_twice(run: Run) -> None:
    for start, steps in ((0, (5, 10, 15)), (10, (15, 20))):
        run.rewind_metrics(start)
        with journal(run, ALONE, start) as notes:
            for step in steps:
                notes.read(taken(step), TrainerState(step=step), 0)
        # TensorBoard orders files by the second in their names; two sittings of a training never share one.
        time.sleep(1.1)
    assert [reading["step"] for reading in run.metrics()] == [5, 10, 15, 20]
    curves = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("loss/cycle")] == [5, 10, 15, 20]
