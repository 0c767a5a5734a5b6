import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from crossmod.engine.logger import alarms, loss_histories, losses, score_histories
from crossmod.report.build import build_report
from crossmod.report.figures import loss_curves
from crossmod.report.info import describe
from crossmod.runs import Run, start_run
from tests.support.report_tables import made_run
from tests.support.stores import Stores
from tests.support.training import train

ALARM = {"step": 20, "epoch": 1, "alarm": "constant output", "seen": "deviation 0.0012 < 0.02", "advice": "Try again."}
SCORES = {"step": 20, "epoch": 1, "select_score": 0.7, "select_cycle": 0.2}


def reading(step: int, **losses_now: float) -> dict[str, Any]:
    return {"step": step, "epoch": 0, "seconds": 1.5, "steps_per_second": 9.0, "memory_gb": 3.0, **losses_now}


def run_with(path: Path, readings: list[dict[str, Any]]) -> Run:
    run = start_run(path, "train", {"epochs": 2}, {})
    for one in readings:
        run.log(one)
    return run


def shown(path: Path) -> str:
    stream = io.StringIO()
    Console(file=stream, width=300).print(describe(path))
    return stream.getvalue()


def test_only_losses_are_losses() -> None:
    assert losses(reading(10, cycle_ct=0.5, discriminator_mr=0)) == {"cycle_ct": 0.5, "discriminator_mr": 0.0}
    assert losses(ALARM) == {}
    assert losses(SCORES) == {}


def test_a_loss_is_followed_through_readings_without_it() -> None:
    """The first reading has none, and one loss begins late."""
    readings = [ALARM, reading(10, cycle=0.5), SCORES, reading(20, cycle=0.4, late=2.0), reading(30, cycle=0.3)]
    assert loss_histories(readings) == {"cycle": [(10, 0.5), (20, 0.4), (30, 0.3)], "late": [(20, 2.0)]}


def test_curves_are_those_of_the_losses_and_scores_alone(tmp_path: Path) -> None:
    plain = run_with(tmp_path / "plain", [{"step": s, "epoch": 0, "seconds": 1.0, "cycle": s / 9} for s in (10, 20)])
    mixed = [ALARM, reading(10, cycle=10 / 9), reading(20, cycle=20 / 9), ALARM]
    assert loss_curves(run_with(tmp_path / "mixed", mixed)) == loss_curves(plain)
    assert loss_curves(run_with(tmp_path / "scored", [*mixed, SCORES])) != loss_curves(plain)
    other = run_with(tmp_path / "other", [reading(10, cycle=10 / 9), reading(20, cycle=21 / 9)])
    assert loss_curves(other) != loss_curves(plain)
    assert loss_curves(run_with(tmp_path / "none", [ALARM, SCORES])) is None


def test_alarms_come_from_the_card_or_before_that_from_the_metrics(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", [reading(10, cycle=0.5), ALARM])
    ((step, alarm),) = alarms(run)
    assert (step, alarm.name, alarm.seen, alarm.advice) == (20, *(ALARM[key] for key in ("alarm", "seen", "advice")))
    card = {"settings": {}, "data": {}, "steps": 20}
    run.finish({**card, "alarms": [ALARM, {**ALARM, "alarm": "other"}]})
    assert [alarm.name for _, alarm in alarms(run)] == ["constant output", "other"]
    # A card from before there were alarms.
    run.finish(card)
    assert alarms(run) == []


def test_a_run_is_described_with_its_alarms_and_last_losses(tmp_path: Path) -> None:
    run_with(tmp_path / "run", [reading(10, cycle=0.5), ALARM, {**SCORES, "step": 30}])
    text = shown(tmp_path / "run")
    assert "stopped after step 30" in text
    assert "cycle 0.5" in text
    assert "memory_gb" not in text
    assert "at step 20, constant output: deviation 0.0012 < 0.02. Try again." in text


@pytest.mark.slow
def test_the_report_warns_at_its_head_and_beside_the_curves(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "essnet", stores, family="essnet", epochs=1)
    build_report([run.path], tmp_path / "before.html")
    assert "raised alarms" not in (tmp_path / "before.html").read_text()
    card = json.loads((run.path / "card.json").read_text())
    run.log(ALARM)
    (run.path / "card.json").write_text(json.dumps({**card, "alarms": [ALARM]}))
    build_report([run.path], tmp_path / "after.html")
    page = (tmp_path / "after.html").read_text()
    head, training = page.split('<h2 id="training">')
    assert '<p class="warning">essnet: the training raised alarms (constant output), see Training.</p>' in head
    told = "At step 20, constant output: deviation 0.0012 &lt; 0.02. Try again."
    assert f'<p class="warning">{told}</p>' in training
    assert f'<img src="{loss_curves(run)}"' in training
    # Also where the metrics were taken away.
    (run.path / "metrics.jsonl").unlink()
    build_report([run.path], tmp_path / "without.html")
    assert told in (tmp_path / "without.html").read_text()


def test_alarms_of_a_segmenter_are_told_too(tmp_path: Path) -> None:
    run = made_run(tmp_path / "unet", {"a": 0.5, "b": 0.6}, alarms=[ALARM])
    assert [alarm.name for _, alarm in alarms(run)] == ["constant output"]


def test_scores_on_held_out_patients_have_curves_of_their_own() -> None:
    readings = [
        {"step": 5, "epoch": 0, "cycle": 0.5},
        {"step": 5, "epoch": 0, "select_score": 0.25, "select_cycle": 0.5},
    ]
    assert score_histories(readings) == {"held out: score": [(5, 0.25)], "held out: cycle": [(5, 0.5)]}
    assert loss_histories(readings) == {"cycle": [(5, 0.5)]}
