"""A training that is killed with SIGKILL, and the same command given again: as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crossmod.runs import Run
from tests.support.paths import SUPPORT
from tests.support.stores import Stores

SCRIPT = str(SUPPORT / "kill_script.py")
SETTINGS = (
    "--preset tiny --size 32 --load-size 36 --generator-filters 2 --generator-blocks 1 --discriminator-filters 2 "
    "--discriminator-layers 1 --ct-slices 6 --mr-slices 6 --epochs 3 --sample-every 1 --pool-size 4 --ema 0.9 "
    "--select-every 1 --precision bf16 --decay 0.5 --checkpoint-minutes {minutes}"
)


def train(out: Path, stores: Stores, moment: str, count: int, *, minutes: float = 0) -> int:
    words = ["train", str(out), "--ct", str(stores.ct), "--mr", str(stores.mr)]
    command = [sys.executable, SCRIPT, moment, str(count), *words, *SETTINGS.format(minutes=minutes).split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Run:
    """A run that nobody disturbed, and that never saved before its end."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(out, stores, "never", 0, minutes=99) == 0
    return Run(out)


@pytest.mark.parametrize(
    ("moment", "count", "minutes"),
    [
        pytest.param("step", 1, 0, marks=pytest.mark.slow),  # before there is any checkpoint
        pytest.param("step", 9, 0, marks=pytest.mark.slow),
        pytest.param("step", 9, 99, marks=pytest.mark.slow),  # nine steps that were never saved
        pytest.param("write", 5, 0, marks=pytest.mark.slow),
        pytest.param("rename", 8, 0, marks=pytest.mark.slow),
        ("metrics", 7, 0),
        pytest.param("card", 1, 0, marks=pytest.mark.slow),
    ],
)
def test_killed_and_given_again_it_ends_bit_for_bit_the_same(
    tmp_path: Path, stores: Stores, whole: Run, moment: str, count: int, minutes: float
) -> None:
    out = tmp_path / "run"
    assert train(out, stores, moment, count, minutes=minutes) == -signal.SIGKILL
    assert not Run(out).finished
    assert train(out, stores, "never", 0, minutes=minutes) == 0
    card, expected = Run(out).card, whole.card
    assert card["weights_sha256"] == expected["weights_sha256"]
    assert card["best"] == expected["best"]
    assert card["steps"] == expected["steps"] == 18
    left = [path.name for path in (out / "checkpoints").iterdir()]
    assert not [name for name in left if "partial" in name or "whole" in name]
    assert len(left) <= 3
    scores = [[r["select_score"] for r in run.metrics() if "select_score" in r] for run in (Run(out), whole)]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 3
