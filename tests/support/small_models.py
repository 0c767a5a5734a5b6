"""Networks whose answers are known, and small things to put into them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossmod.config import Modality
from crossmod.data.volume import CANONICAL, Volume
from crossmod.inference.types import About


def about(**more: Any) -> About:
    """Of a model that makes CT of CT, -1000 to 1000 HU: with it an identity can be told from all else."""
    given: dict[str, Any] = {
        "name": "made-up",
        "family": "identity",
        "source": "ct",
        "target": "ct",
        "inputs": ("ct",),
        "size": 32,
        "field_mm": None,
        "low": -1000.0,
        "high": 1000.0,
        "window": (-1000.0, 1000.0),
        "organs": (),
        "weights": "0" * 64,
        "version": "0",
    }
    return About(**{**given, **more})


@dataclass(frozen=True, eq=False)
class Made:
    """A network that is a function."""

    about: About
    work: Callable[[np.ndarray], np.ndarray] = lambda images: images[:, 0]
    label: Callable[[np.ndarray], np.ndarray] | None = None
    calls: list[tuple[int, ...]] = field(default_factory=list)

    def translate(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.calls.append(images.shape)
        made = np.ascontiguousarray(self.work(images), dtype=np.float32)
        return made, None if self.label is None else self.label(made).astype(np.uint8)


def body(
    shape: tuple[int, int, int] = (4, 40, 44),
    spacing: tuple[float, float, float] = (5.0, 8.0, 7.0),
    modality: Modality = "ct",
    sequence: str | None = None,
) -> Volume:
    """An ellipse of tissue that varies smoothly, in air."""
    _, rows, columns = shape
    z, y, x = np.indices(shape)
    v, u = (y - (rows - 1) / 2) / rows, (x - (columns - 1) / 2) / columns
    inside = u**2 + v**2 < 0.36**2
    tissue = 60 + 200 * u + 150 * v + 10 * z
    voxels = np.where(inside, tissue, -1000) if modality == "ct" else np.where(inside, 400 + tissue, 3 + 2 * np.sin(x))
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing[0], -spacing[1], -spacing[2]
    affine[:3, 3] = (columns * spacing[2] / 2, rows * spacing[1] / 2, -30.0)
    return Volume(voxels.astype(np.float32), affine, modality, sequence=sequence, orientation=CANONICAL)
