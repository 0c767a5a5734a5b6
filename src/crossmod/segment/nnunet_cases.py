"""What a segmenter is trained and tested on, as cases of nnU-Net: one slice is one case.

Notable:
- Slices and sides are those of `train_segmenter`, to the pixel: arms differ in the network and its training alone.
- One slice a case, since nnU-Net draws cases evenly: as volumes, a patient with few slices would weigh as much as one
  with many, and chosen slices with gaps between them are no volume.
- A slice is as thick as no pixel is wide. nnU-Net slices along the axis of the widest spacing: slices of 1 mm with
  pixels of 1.5 mm would be cut into rows.
"""

import hashlib
from typing import Any

import numpy as np

from crossmod.data.slices import SliceKey, SliceSet
from crossmod.data.store import CaseRecord
from crossmod.data.store_writer import MOST_SPACING
from crossmod.data.volume import Affine
from crossmod.segment.chosen import Sides

REAL, SYNTHETIC = "real", "synthetic"


def name_of(kind: str, key: SliceKey) -> str:
    """The name of a slice as a case of nnU-Net; real and synthetic cases of one name stay apart."""
    return f"{kind}-{key.case}-{key.slice:04d}"


def described(sides: Sides) -> dict[str, dict[str, dict[str, Any]]]:
    """Every case of nnU-Net by side and name, with where it came from and a checksum of its pixels."""
    return {
        "train": _described(sides.train, REAL),
        "synthetic": _described(sides.synthetic, SYNTHETIC),
        "test": _described(sides.test, REAL),
    }


def _described(slices: SliceSet | None, kind: str) -> dict[str, dict[str, Any]]:
    if slices is None:
        return {}
    return {
        name_of(kind, key): {
            "case": key.case,
            "patient": key.patient,
            "slice": key.slice,
            "sha256": _digest(slices, index),
        }
        for index, key in enumerate(slices.keys)
    }


def _digest(slices: SliceSet, index: int) -> str:
    assert slices.masks is not None
    return hashlib.sha256(slices.pixels[index].tobytes() + slices.masks[index].tobytes()).hexdigest()


def grids(slices: SliceSet, cases: tuple[CaseRecord, ...]) -> list[Affine]:
    """For each slice, the affine of the volume `[1, size, size]` that holds it alone.

    Its pixels and its place are the slice's; its thickness is `MOST_SPACING`, which no pixel is as wide as.
    """
    wanted = {key.case for key in slices.keys}
    whole = {
        record.id: slices.frame(record).affine(np.array(record.affine, dtype=np.float64))
        for record in cases
        if record.id in wanted
    }
    return [_alone(whole[key.case], key.slice) for key in slices.keys]


def _alone(affine: Affine, index: int) -> Affine:
    alone = affine.copy()
    alone[:3, 3] += affine[:3, 0] * index
    alone[:3, 0] *= MOST_SPACING / np.linalg.norm(affine[:3, 0])
    return alone
