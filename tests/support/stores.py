"""A made-up patient's volume, and two small stores of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmod.config import Modality
from crossmod.data.volume import Volume


def made_volume(rng: np.random.Generator, modality: Modality, *, slices: int = 6, size: int = 32) -> Volume:
    """A round body with a round liver in all slices but the first and the last: enough to learn something from."""
    z, y, x = np.mgrid[0:slices, 0:size, 0:size]
    row, column = rng.uniform(0.4, 0.55, 2) * size
    radius = rng.uniform(0.14, 0.2) * size
    body = (y - size / 2) ** 2 + (x - size / 2) ** 2 < (0.44 * size) ** 2
    liver = ((y - row) ** 2 + (x - column) ** 2 < radius**2) & (z > 0) & (z < slices - 1)
    noise = rng.normal(0, 10, z.shape)
    voxels = np.where(body, 40 + 70 * liver, -1000) if modality == "ct" else np.where(body, 300 - 150 * liver, 0)
    mm = 320 / size
    affine = np.array([[0, 0, -mm, 160], [0, -mm, 0, 160], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    return Volume(
        voxels=np.rint(voxels + noise).astype(np.int16),
        affine=affine,
        modality=modality,
        sequence=None if modality == "ct" else "t2_spir",
        labels=liver.astype(np.uint8),
        label_names={1: "liver"},
    )


@dataclass(frozen=True)
class Stores:
    ct: Path
    mr: Path
