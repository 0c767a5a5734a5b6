"""`benchmarks/gpu.sh` on a CPU, so that its first run on a GPU is not its first run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.sh"

# In place of Python: the parts are known by their words. The summary is Python's own.
STAND_IN = """#!/usr/bin/env bash
case "$*" in
    *"gpu_report.py summary"*) exec {python} "$@" ;;
    *doctor*) echo "doctor was here"; exit 3 ;;
    *"-m pytest"*) sleep 600 ;;
    *paths.py*) touch "$0.paths"; exit 0 ;;
    *"bench train"*"--batch-size 4"*) trap "" TERM; sleep 600 ;;
esac
"""


def start(out: Path, work: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(SCRIPT), str(out)],
        env={**os.environ, "GPU": "no", "WORK": str(work), "PYTHON": sys.executable, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        # A suite in the background of a shell ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def rows(out: Path) -> dict[str, str]:
    """Exit codes of the parts, in words, as the table has them."""
    lines = (out / "summary.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {name: code for name, code, *rest in cells if len(rest) == 2 and name not in ("part", "---")}


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "python"
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_a_part_that_fails_or_hangs_is_recorded_and_the_next_is_run(tmp_path: Path, stand_in: Path) -> None:
    out = tmp_path / "the results"
    running = start(out, stand_in.parent / "work", PYTHON=str(stand_in), TOTAL="50", PARTS="doctor tests paths train-1")
    said, _ = running.communicate(timeout=300)
    # The tests hang until the time that is the training's begins: after ten seconds.
    assert (running.returncode, rows(out)) == (
        0,
        {"doctor": "3", "tests": "124, out of time", "paths": "skipped", "train-1": "skipped"},
    ), said
    assert "doctor was here" in (out / "output.txt").read_text(encoding="utf-8")
    assert "doctor: 3" in said
    parts = json.loads((out / "summary.json").read_text(encoding="utf-8"))["parts"]
    assert [part[:2] for part in parts] == [
        ["doctor", "3"],
        ["tests", "124"],
        ["paths", "skipped"],
        ["train-1", "skipped"],
    ]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_it_still_sums_up(tmp_path: Path, stand_in: Path, stop: signal.Signals) -> None:
    out = tmp_path / "out"
    running = start(out, tmp_path / "work", PYTHON=str(stand_in), TOTAL="3000", PARTS="doctor paths tests")
    end = time.monotonic() + 120
    while "==== tests" not in (
        (out / "output.txt").read_text(encoding="utf-8") if (out / "output.txt").exists() else ""
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    # What is there should it be killed at once.
    assert rows(out) == {"doctor": "3"}
    running.send_signal(stop)
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 128 + stop, said
    assert rows(out) == {"doctor": "3", "interrupted": str(128 + stop)}
    assert not Path(f"{stand_in}.paths").exists()


def test_a_summary_that_fails_leaves_the_table(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(out, tmp_path / "work", PYTHON="false", PARTS="doctor paths")
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert rows(out) == {"doctor": "1", "paths": "1"}


MEASURED = "machine tests paths train-1 train-4 synthesize segment"
TRAINED = "phantom ct-store mr-store short-training translate training weights pictures synthetic scores"


@pytest.mark.slow
def test_what_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(out, tmp_path / "work", TOTAL="3000", PARTS=MEASURED, CROSSMOD_REAL_DATA="")
    said, _ = running.communicate(timeout=3000)
    assert (running.returncode, rows(out)) == (0, dict.fromkeys(MEASURED.split(), "0")), said
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert found["machine"]["cuda available"] in (True, False)
    assert all(one["good"] and one["loss"] is not None for one in found["paths"])
    assert [one["loss"] < 1e-5 for one in found["paths"] if one["path"] == "plain again"] == [True]
    assert [len(found[name]["comparisons"]) for name in ("train-1", "train-4", "synthesize", "segment")] == [1, 1, 1, 2]
    page = (out / "summary.md").read_text(encoding="utf-8")
    for section in ("head", "table", "tests", "equality", "fallbacks", "speed"):
        assert f"({section}: not available" not in page
    assert "Tests marked gpu: " in page


@pytest.mark.slow
def test_what_is_trained(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(out, tmp_path / "work", TOTAL="3000", PARTS=TRAINED, EPOCHS="2", CROSSMOD_REAL_DATA="")
    said, _ = running.communicate(timeout=3000)
    assert (running.returncode, rows(out)) == (0, dict.fromkeys(TRAINED.split(), "0")), said
    page = (out / "summary.md").read_text(encoding="utf-8")
    for section in ("fallbacks", "translation", "training", "scores"):
        assert f"({section}: not available" not in page
    assert "Training: " in page
    parts = [load_file(path) for path in sorted(out.glob("G1-fp16-*.safetensors"))]
    assert all(tensor.dtype == "float16" for part in parts for tensor in part.values())
    assert {path.name for path in out.iterdir()} >= {"summary.md", "summary.json", "output.txt", "pictures.png"}
    assert len(list(out.iterdir())) <= 8
    # What is large stays in the other folder.
    assert (tmp_path / "work" / "run" / "card.json").is_file()
