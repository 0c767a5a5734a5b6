import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossmod.engine.logger import TensorBoardWriter, board, write_panel


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def test_what_is_written_is_what_tensorboard_reads(tmp_path: Path) -> None:
    with board(tmp_path / "board", 0) as open_board:
        for step in (25, 50):
            open_board.scalars(step, {"loss/cycle": step / 100, "memory_gb": 2.0})
    assert curve(tmp_path / "board", "loss/cycle") == [(25, 0.25), (50, 0.5)]
    assert curve(tmp_path / "board", "memory_gb") == [(25, 2.0), (50, 2.0)]


def test_a_continued_run_shows_no_step_twice(tmp_path: Path) -> None:
    """Killed after step 50, continued from the checkpoint of step 30: the reading of step 30 stays, 40 and 50 go."""
    with board(tmp_path, 0) as first:
        for step in (10, 20, 30, 40, 50):
            first.scalars(step, {"loss": float(step)})
    with board(tmp_path, 30) as second:
        for step in (40, 50, 60):
            second.scalars(step, {"loss": 1000.0 + step})
    assert curve(tmp_path, "loss") == [(10, 10), (20, 20), (30, 30), (40, 1040), (50, 1050), (60, 1060)]


def test_begun_anew_nothing_of_before_is_left(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        with board(tmp_path, 0) as open_board:
            open_board.scalars(1, {"loss": value})
    assert curve(tmp_path, "loss") == [(1, 2.0)]


def test_a_killed_run_leaves_what_it_read(tmp_path: Path) -> None:
    with board(tmp_path, 0) as open_board:
        open_board.scalars(1, {"loss": 0.5})
        assert curve(tmp_path, "loss") == [(1, 0.5)]


def test_an_error_in_the_block_closes_the_board_and_goes_on(tmp_path: Path) -> None:
    opened: list[TensorBoardWriter] = []

    def train() -> None:
        with board(tmp_path, 0) as open_board:
            opened.append(open_board)
            open_board.scalars(1, {"loss": 0.5})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert opened[0].writer.file_writer is None
    assert curve(tmp_path, "loss") == [(1, 0.5)]


def test_pictures_keep_their_pixels(tmp_path: Path) -> None:
    gray, colour = tmp_path / "samples" / "gray.png", tmp_path / "colours" / "colour.png"
    for path in (gray, colour):
        path.parent.mkdir()
    write_panel(gray, [[np.linspace(-1, 1, 9).reshape(3, 3)]])
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3)).save(colour)
    with board(tmp_path / "board", 0) as open_board:
        open_board.picture(7, gray)
        open_board.picture(8, colour)
    events = read(tmp_path / "board")
    for path, step, width in ((gray, 7, 3), (colour, 8, 4)):
        (event,) = events.Images(path.parent.name)
        assert (event.step, event.width, event.height) == (step, width, 3)
        (tmp_path / "back.png").write_bytes(event.encoded_image_string)
        back, meant = (np.asarray(Image.open(p).convert("RGB")) for p in (tmp_path / "back.png", path))
        np.testing.assert_array_equal(back, meant)


def test_nobody_waits_for_tensorboard_who_does_not_use_it() -> None:
    code = "import sys, crossmod.engine.logger; sys.exit('tensorboard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
