"""Pictures of training: rows of slices side by side, as a PNG in the run's samples folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from crossmod.files import replacing


def write_panel(path: Path, rows: Sequence[Sequence[Float[np.ndarray, "size size"]]]) -> None:
    """Write slices in [-1, 1] as a grid; every row has the same number of slices."""
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    gray = np.rint((np.clip(grid, -1, 1) + 1) * 127.5).astype(np.uint8)
    with replacing(path) as temporary:
        Image.fromarray(gray).save(temporary, format="PNG")
