import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossmod.cli import main
from crossmod.errors import InputError
from crossmod.experiment.design import read_design
from crossmod.experiment.executors import base as executor
from crossmod.experiment.executors.options import ExecutorOptions, executor_of
from crossmod.experiment.jobs import Job, execute_job
from crossmod.settings import Machine
from tests.support.small_design import small_design
from tests.support.stores import Stores


@pytest.fixture
def design(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(small_design().model_dump(mode="json", exclude_defaults=True)))
    return path


def words(design: Path, stores: Stores, out: Path, *more: str) -> list[str]:
    data = ["--data", str(stores.ct), str(stores.mr)]
    return ["experiment", str(design), *data, "--out", str(out), "--device", "cpu", *more]


def test_a_preset_is_printed_to_be_copied(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["experiment", "few_labels", "--show"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(capsys.readouterr().out)
    assert read_design(str(copy)) == read_design("few_labels")


def test_a_dry_run_tells_and_makes_nothing(
    design: Path, stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(design, stores, tmp_path / "x", "--dry-run", "--seeds", "0", "1", "2", "--jobs", "2"))
    text = capsys.readouterr().out
    for line in (
        "2 arms x 2 folds by patient x 3 seeds; 2 to 3 patients tested in each fold:",
        "real + 4 essnet (4 synthetic slices), against real: 6 runs",
        "Effects that 5 patients, 2 folds, 3 seeds show with 80 % power: 3D Dice by 0.",
        "16 runs in all. Left:",
        "2 translators to train, about",
        "12 segmenters to train, about",
        "with 2 side by side",
    ):
        assert line in text, text
    assert not (tmp_path / "x").exists()


def test_it_ends_with_sentences_and_a_page(
    design: Path, stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(design, stores, tmp_path / "x"))
    text = capsys.readouterr().out
    assert re.match(r"(One run after another|\d+ runs at once) with one thread each: they are small", text)
    assert "real + 4 essnet: " in text
    assert "3D Dice" in text
    page = (tmp_path / "x" / "report.html").read_text()
    assert "Does synthetic data help?" in page
    # The same page again, of what is there.
    main(["report", str(tmp_path / "x"), "--out", str(tmp_path / "again.html")])
    assert "Does synthetic data help?" in (tmp_path / "again.html").read_text()


@pytest.mark.slow
def test_a_failed_run_is_exit_code_1(
    design: Path,
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(job: Job, root: Path, machine: Machine) -> None:
        if job.title == "real, fold 0, seed 0":
            raise RuntimeError("out of memory")
        execute_job(job, root, machine)

    monkeypatch.setattr(executor, "execute_job", failing)
    with pytest.raises(SystemExit) as stop:
        main(words(design, stores, tmp_path / "x", "--jobs", "1"))
    assert stop.value.code == 1
    assert "1 of 12 runs failed" in capsys.readouterr().out
    assert "out of memory" in (tmp_path / "x" / "report.html").read_text()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["tiny"], "--out: nothing. Expected: a folder."),
        (["nothing", "--out", "x"], "Expected: a YAML file or dg_abdomen, few_labels"),
        (["liver_patients", "--out", "x"], "--data: nothing."),
        (["tiny", "--out", "x", "--executor", "cloud"], "executor"),
        (["tiny", "--out", "x", "--executor", "slurm", "--gpus", "0.5"], "whole GPUs with SLURM"),
    ],
)
def test_a_mistake_is_a_sentence(
    typed: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["experiment", *typed])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_where_runs_are_made(tmp_path: Path) -> None:
    assert executor_of(tmp_path, ExecutorOptions()).slots == 1
    assert executor_of(tmp_path, ExecutorOptions(jobs=3)).slots == 3
    if shutil.which("srun") is None:
        with pytest.raises(InputError, match="a SLURM cluster"):
            executor_of(tmp_path, ExecutorOptions(executor="slurm", gpus=1.0))


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    heavy = {"torch", "scipy", "matplotlib", "nibabel", "numpy"}
    program = (
        f"import sys, crossmod.cli as c; c.main(['experiment', '--help']); print(sorted({heavy} & set(sys.modules)))"
    )
    environment = {"COLUMNS": "400", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    *lines, last = done.stdout.splitlines()
    assert last == "[]"
    options = [line.strip(" │*") for line in lines if "--" in line and line.startswith("│")]
    assert len(options) == 21
