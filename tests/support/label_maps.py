"""Label maps as other programs write them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.nifti1 import Nifti1Image

from crossmod.data.store import Store

# Slices, rows and columns of 5, 1.5 and 2 mm.
GRID = np.array([[0, 0, -2.0, 17], [0, -1.5, 0, 21], [5.0, 0, 0, -30], [0, 0, 0, 1]])
SHAPE = (6, 14, 12)


def random_labels(rng: np.random.Generator) -> np.ndarray:
    """0 to 4, without any symmetry."""
    labels = rng.integers(0, 5, SHAPE).astype(np.uint8)
    labels.flat[:5] = range(5)
    return labels


def save_map(
    path: Path, labels: np.ndarray, affine: np.ndarray = GRID, *, codes: Sequence[str] = ("R", "A", "S")
) -> Path:
    """Write `labels` [slice, row, column] with the axes in the order of `codes`, as nibabel turns them."""
    image = Nifti1Image(labels, affine)
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(codes)))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image.as_reoriented(turn.tolist()), path)
    return path


def _same(labels: np.ndarray) -> np.ndarray:
    return labels


def write_maps(
    folder: Path,
    store: Path,
    change: Callable[[np.ndarray], np.ndarray] = _same,
    *,
    layout: str = "{case}.nii.gz",
    value: int = 5,
    names: dict[str, int] | None = None,
) -> Path:
    """What a program would write that finds the liver where its label is, or where `change` puts it."""
    for record in Store(store).cases:
        volume = Store(store).read(record.id)
        assert volume.labels is not None
        labels = change((volume.labels > 0).astype(np.uint8)) * value
        save_map(folder / layout.format(case=record.id), labels.astype(np.uint8), volume.affine, codes=("L", "P", "S"))
    (folder / "labels.json").write_text(json.dumps({"labels": names or {"liver": value, "stomach": 7}}))
    return folder
