from pathlib import Path

import pytest

from crossmod.errors import InputError
from crossmod.files import lock
from crossmod.runs import LOCK, Run, open_run, start_run


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


def checkpointed(run: Run) -> Run:
    (run.path / "checkpoints" / "step-00000001.safetensors").touch()
    return run


def test_other_settings_or_data_are_named(tmp_path: Path) -> None:
    checkpointed(start_run(tmp_path / "run", "train", {"epochs": 3}, {"ct": {"a": "x"}}))
    with pytest.raises(InputError, match=r"another --epochs \(3 then, 4 now\)"):
        start_run(tmp_path / "run", "train", {"epochs": 4}, {"ct": {"a": "x"}})
    with pytest.raises(InputError, match=r"another input ct a \(x then, y now\)"):
        start_run(tmp_path / "run", "train", {"epochs": 3}, {"ct": {"a": "y"}})


def test_a_run_without_a_checkpoint_begins_again_with_other_settings(tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", "train", {"epochs": 3}, {"ct": {"a": "x"}})
    (run.path / "samples" / "epoch-0001.png").touch()
    again = start_run(tmp_path / "run", "train", {"epochs": 4}, {"ct": {"a": "y"}})
    assert again.config == {"kind": "train", "settings": {"epochs": 4}, "inputs": {"ct": {"a": "y"}}}
    assert list((run.path / "samples").iterdir()) == []
    with pytest.raises(InputError, match="a run of `train`"):
        start_run(tmp_path / "run", "segment", {"epochs": 4}, {})
    with lock(run.path / LOCK), pytest.raises(InputError, match="another crossmod command that writes here"):
        start_run(tmp_path / "run", "train", {"epochs": 5}, {})
    assert run.config["settings"] == {"epochs": 4}
    # With a card it is finished, and stays as it is.
    run.finish({"steps": 1, "settings": {}, "data": {}})
    with pytest.raises(InputError, match=r"another --epochs \(4 then, 5 now\)"):
        start_run(tmp_path / "run", "train", {"epochs": 5}, {"ct": {"a": "y"}})


def test_a_setting_that_an_earlier_version_did_not_know_is_what_it_stands_for(tmp_path: Path) -> None:
    run = checkpointed(start_run(tmp_path / "run", "train", {"epochs": 3}, {}))
    meant = {"stack": 1, "window": (0.0, 1.0), "epochs": 9}
    now = {"epochs": 3, "stack": 1, "window": (0.0, 1.0)}
    assert start_run(tmp_path / "run", "train", now, {}, unknown=meant) == run
    with pytest.raises(InputError, match=r"another --stack \(1 then, 3 now\)"):
        start_run(tmp_path / "run", "train", {**now, "stack": 3}, {}, unknown=meant)
    with pytest.raises(InputError, match=r"another --epochs \(3 then, 9 now\)"):
        start_run(tmp_path / "run", "train", {**now, "epochs": 9}, {}, unknown=meant)


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
