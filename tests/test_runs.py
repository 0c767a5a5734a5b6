from pathlib import Path

import pytest

from crossmod.errors import InputError
from crossmod.runs import Run, open_run, start_run


def test_the_same_command_opens_the_same_run(tmp_path: Path) -> None:
    first = start_run(tmp_path / "run", "train", {"epochs": 3, "window": (1.0, 2.0)}, {"ct": {"a": "hash"}})
    assert not first.finished
    again = start_run(tmp_path / "run", "train", {"epochs": 3, "window": (1.0, 2.0)}, {"ct": {"a": "hash"}})
    assert again == first
    first.finish({"steps": 1, "settings": {}, "data": {}})
    assert again.finished
    assert again.card == {"kind": "train", "steps": 1, "settings": {}, "data": {}}


def test_a_card_or_config_that_is_none(tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", "train", {}, {})
    (run.path / "card.json").write_text("{}")
    with pytest.raises(InputError, match=r"card\.json: other content"):
        _ = run.card
    (run.path / "config.yaml").write_text("a: 1")
    with pytest.raises(InputError, match=r"config\.yaml: other content"):
        open_run(run.path)


def test_a_run_of_another_command_is_named(tmp_path: Path) -> None:
    start_run(tmp_path / "run", "train", {"epochs": 3}, {})
    with pytest.raises(InputError, match="a run of `train`"):
        start_run(tmp_path / "run", "segment", {"steps": 3}, {})


def test_killed_before_its_first_line_a_run_can_be_given_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.yaml.77.partial").write_text("half")
    start_run(tmp_path / "run", "train", {}, {})
    (tmp_path / "run" / "checkpoints").rmdir()
    start_run(tmp_path / "run", "train", {}, {})
    assert (tmp_path / "run" / "checkpoints").is_dir()


def test_other_settings_or_data_are_named(tmp_path: Path) -> None:
    start_run(tmp_path / "run", "train", {"epochs": 3}, {"ct": {"a": "x"}})
    with pytest.raises(InputError, match=r"another --epochs \(3 then, 4 now\)"):
        start_run(tmp_path / "run", "train", {"epochs": 4}, {"ct": {"a": "x"}})
    with pytest.raises(InputError, match=r"another input ct a \(x then, y now\)"):
        start_run(tmp_path / "run", "train", {"epochs": 3}, {"ct": {"a": "y"}})


def test_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        start_run(tmp_path, "train", {}, {})
    with pytest.raises(InputError, match="a file"):
        start_run(tmp_path / "thesis.txt", "train", {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_run(tmp_path / "nowhere")
    run = start_run(tmp_path / "run", "segment", {}, {})
    with pytest.raises(InputError, match="a run of `segment`"):
        open_run(run.path, "train")
    with pytest.raises(InputError, match="not finished"):
        _ = run.card


def test_metrics_forget_a_torn_line_and_what_will_be_done_again(tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", "train", {}, {})
    for step in (10, 20, 30):
        run.log({"step": step, "loss": 1 / 3})
    with (run.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 40, "lo')
    assert [reading["step"] for reading in run.metrics()] == [10, 20, 30]
    run.rewind_metrics(20)
    assert list(Run(run.path).metrics()) == [{"step": 10, "loss": 1 / 3}, {"step": 20, "loss": 1 / 3}]
