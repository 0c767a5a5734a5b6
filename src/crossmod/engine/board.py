"""TensorBoard next to metrics.jsonl: the same numbers, and the pictures, for whoever watches a training.

Notable:
- A run that continues says where, and TensorBoard drops what an earlier sitting wrote after that: no step shows twice.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Board:
    """An open TensorBoard folder; `board` makes it.

    Args:
        writer: torch's SummaryWriter. Its type stays unnamed, since naming it imports it, and that is slow.
    """

    writer: Any

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one value to each curve, and write it out.

        Args:
            step: steps taken.
            values: by the name of the curve; `loss/cycle_ct` puts a curve into the group `loss`.
        """
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        # As soon as metrics.jsonl has them: a killed run must not have a hole where it is continued.
        self.writer.flush()

    def picture(self, step: int, path: Path) -> None:
        """Add a gray or RGB PNG to the pictures of its folder's name, such as `samples`.

        Raises:
            OSError: no such file, or no picture.
        """
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
        self.writer.add_image(path.parent.name, pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")
        self.writer.flush()


@contextmanager
def board(folder: Path, start_step: int) -> Iterator[Board]:
    """Open a folder for TensorBoard, and close it when the block ends, well or not.

    Args:
        folder: made where it is not there; its earlier files stay, and count up to `start_step`.
        start_step: steps that were taken before; 0 for a new run.
    """
    # Only here: a command that shows no board should not wait for the import.
    from torch.utils.tensorboard import SummaryWriter

    # TensorBoard purges from `purge_step` on, itself included; the reading at `start_step` still holds.
    writer = SummaryWriter(str(folder), purge_step=start_step + 1)
    try:
        yield Board(writer)
    finally:
        writer.close()
