"""A run folder used a second time: after too little memory, a NaN, or a newer version of crossmod."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from crossmod.engine.logger import write_panel
from crossmod.errors import InputError
from crossmod.runs import CONFIG, Run
from crossmod.settings import Machine
from crossmod.synthesis import train as room
from tests.support.stores import Stores
from tests.support.training import train


def stopped(out: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Trained for an epoch and a half, with a checkpoint."""
    epochs = iter(range(9))

    def stop(path: Path, rows: Any) -> None:
        if next(epochs) == 1:
            raise KeyboardInterrupt
        write_panel(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr("crossmod.synthesis.validation.write_panel", stop)
        with pytest.raises(KeyboardInterrupt):
            train(out, stores, machine=Machine(checkpoint_minutes=0))
    return Run(out)


def test_an_unfinished_run_of_a_version_that_knew_fewer_settings_goes_on(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", stores)
    run = stopped(tmp_path / "cut", stores, monkeypatch)
    config = run.config
    del config["settings"]["stack"], config["settings"]["window"]
    (run.path / CONFIG).write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"another --stack \(1 then, 3 now\)"):
        train(run.path, stores, stack=3)
    assert train(run.path, stores).card["weights_sha256"] == whole.card["weights_sha256"]


def test_an_unfinished_run_of_stretched_slices_is_not_continued_with_millimetres(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there were frames the whole field was stretched: the default of today would be another training."""
    run = stopped(tmp_path / "cut", stores, monkeypatch)
    config = run.config
    del config["settings"]["frame"], config["settings"]["pixel_mm"]
    (run.path / CONFIG).write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"another --frame \(stretch then, field now\)"):
        train(run.path, stores)


def test_after_too_little_memory_the_folder_is_used_again(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    with monkeypatch.context() as patch:
        patch.setattr(room, "fit", fails)
        with pytest.raises(InputError, match="for --batch-size 3 with --size 32"):
            train(tmp_path / "run", stores, batch_size=3)
    run = train(tmp_path / "run", stores, epochs=1)
    assert run.finished
    assert run.config["settings"]["batch_size"] == 1


def test_after_a_nan_the_advice_can_be_followed(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError) as error:
        train(tmp_path / "run", stores, learning_rate=1e38)
    assert "Lower --learning-rate and --discriminator-learning-rate" in error.value.do
    assert "in the same folder, which has no checkpoint yet" in error.value.do
    assert train(tmp_path / "run", stores, epochs=1).finished
