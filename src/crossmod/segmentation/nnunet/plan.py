"""The plan of an export to nnU-Net: which slices it holds, and whether stores and predictions still belong to it.

`plan.json` is crossmod's own. `dataset.json` has its checksum too, which nnU-Net copies to every model and every folder
of predictions: so predictions name the export that they were made for.

Notable:
- Slices and sides are those of `train_segmenter`, to the pixel: arms differ only in the network and its training.
- One slice per case, since nnU-Net draws cases evenly: as volumes, a patient with few slices would count as much as one
  with many, and selected slices with gaps between them are no volume.
- A slice is thicker than any pixel is wide. nnU-Net slices along the axis of the widest spacing: slices of 1 mm with
  pixels of 1.5 mm would be cut into rows.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from crossmod.config import build
from crossmod.data.slices import SliceKey, SliceSet
from crossmod.data.store import MANIFEST, CaseRecord, listed
from crossmod.data.store_writer import MOST_SPACING
from crossmod.data.volume import Affine
from crossmod.errors import InputError
from crossmod.files import read_json, write_json
from crossmod.segmentation.data import SegmentationData, Split
from crossmod.settings import SegmentSettings, as_recorded
from crossmod.version import __version__

REAL, SYNTHETIC = "real", "synthetic"


class ExportedSlice(TypedDict):
    """The source of a case of nnU-Net, and a checksum of its pixels."""

    case: str
    patient: str
    slice: int
    sha256: str


# By side and name.
ExportedCases = dict[str, dict[str, ExportedSlice]]


def name_of(kind: str, key: SliceKey) -> str:
    """The name of a slice as a case of nnU-Net; different for real and synthetic cases of one name."""
    return f"{kind}-{key.case}-{key.slice:04d}"


def described(sides: Split) -> ExportedCases:
    """Every case of nnU-Net."""
    return {
        "train": _described(sides.train, REAL),
        "synthetic": _described(sides.synthetic, SYNTHETIC),
        "test": _described(sides.test, REAL),
    }


def _described(slices: SliceSet | None, kind: str) -> dict[str, ExportedSlice]:
    if slices is None:
        return {}
    assert slices.masks is not None
    cases: dict[str, ExportedSlice] = {}
    for key, pixels, mask in zip(slices.keys, slices.pixels, slices.masks, strict=True):
        sha256 = hashlib.sha256(pixels.tobytes() + mask.tobytes()).hexdigest()
        cases[name_of(kind, key)] = {"case": key.case, "patient": key.patient, "slice": key.slice, "sha256": sha256}
    return cases


def grids(slices: SliceSet, cases: tuple[CaseRecord, ...]) -> list[Affine]:
    """For each slice, the affine of the volume `[1, size, size]` that contains only it, `MOST_SPACING` thick, which no
    pixel is as wide as."""
    exported = {key.case for key in slices.keys}
    whole = {
        record.id: slices.frame(record).affine(np.array(record.affine, dtype=np.float64))
        for record in cases
        if record.id in exported
    }
    affines = []
    for key in slices.keys:
        affine = whole[key.case].copy()
        affine[:3, 3] += affine[:3, 0] * key.slice
        affine[:3, 0] *= MOST_SPACING / np.linalg.norm(affine[:3, 0])
        affines.append(affine)
    return affines


FORMAT = 1
PLAN = "plan.json"
# The key in nnU-Net's dataset.json.
MARK = "crossmod_export"
CONTENT = ("settings", "inputs", "cases")


@dataclass(frozen=True)
class NnunetPlan:
    """What was exported."""

    path: Path  # the export folder
    dataset: str  # name of nnU-Net's dataset folder
    real: Path  # the store of real cases
    synthetic: Path | None  # the store of synthetic cases, if any
    settings: SegmentSettings
    inputs: dict[str, dict[str, str]]  # checksums of the stores' cases
    cases: ExportedCases
    sha256: str  # checksum of settings, inputs and cases; equal for repeated exports

    def check_stores(self, chosen: SegmentationData) -> None:
        """Refuse stores whose cases differ from the exported ones."""
        for side, store in (("real", chosen.store), ("synthetic", chosen.extra)):
            before, now = self.inputs[side], chosen.inputs[side]
            if before != now and store is not None:
                other = sorted(case for case in {*before, *now} if before.get(case) != now.get(case))
                raise InputError(
                    store.path,
                    found=f"cases that were changed, added or removed since the export ({listed(other)})",
                    expected=f"the cases that {self.path / PLAN} lists",
                    do="Restore the store, or export, train and predict again.",
                )

    def check_slices(self, sides: Split) -> None:
        """Refuse slices that differ from the exported ones though the stores do not."""
        now = described(sides)
        other = sorted(
            name
            for side, before in self.cases.items()
            for name in {*before, *now[side]}
            if before.get(name) != now[side].get(name)
        )
        if other:
            raise InputError(
                self.path / PLAN,
                found=f"slices that this crossmod would not export today ({listed(other)})",
                expected="the same slices",
                do="Use the crossmod that made the export, or export, train and predict again.",
            )


def checksum(content: Mapping[str, object]) -> str:
    """Of settings, inputs and cases, in any order."""
    text = json.dumps({key: content[key] for key in CONTENT}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_plan(folder: Path, out: Path, dataset: str, chosen: SegmentationData, sides: Split) -> str:
    """Write the plan to `folder`, which will be at `out`: paths of stores are relative to it. Returns its checksum."""
    content = {
        "settings": chosen.settings.model_dump(mode="json"),
        "inputs": chosen.inputs,
        "cases": described(sides),
    }
    stores = {
        "real": os.path.relpath(chosen.store.path, out),
        "synthetic": None if chosen.extra is None else os.path.relpath(chosen.extra.path, out),
    }
    head = {"format": FORMAT, "crossmod": __version__, "dataset": dataset, "stores": stores}
    digest = checksum(content)
    write_json(folder / PLAN, {**head, **content, "sha256": digest})
    return digest


def read_plan(folder: Path) -> NnunetPlan:
    """The plan of an export."""
    file = folder / PLAN
    if not file.is_file():
        found = f"no {PLAN} in it" if folder.is_dir() else "no such folder"
        do = "Give the folder that `crossmod nnunet export` made."
        raise InputError(folder, found=found, expected="an export", do=do)
    content = read_json(file)
    keys = {"format", "dataset", "stores", "sha256", *CONTENT}
    whole = isinstance(content, dict) and keys <= set(content) and content["format"] == FORMAT
    # The paths of the stores are not in the checksum: they may move.
    if not whole or set(content["stores"]) != {"real", "synthetic"} or checksum(content) != content["sha256"]:
        found = "a plan that was changed, or of another crossmod"
        do = "Restore it from a copy, or export, train and predict again."
        raise InputError(file, found=found, expected="the plan as `crossmod nnunet export` wrote it", do=do)
    stores = {side: _store(file, folder, path) for side, path in content["stores"].items()}
    real = stores["real"]
    assert real is not None
    return NnunetPlan(
        path=folder,
        dataset=content["dataset"],
        real=real,
        synthetic=stores["synthetic"],
        settings=build(SegmentSettings, as_recorded(content["settings"]), subject=file),
        inputs=content["inputs"],
        cases=content["cases"],
        sha256=content["sha256"],
    )


def _store(file: Path, folder: Path, path: str | None) -> Path | None:
    if path is None:
        return None
    store = Path(os.path.normpath(folder / path))
    if not (store / MANIFEST).is_file():
        found = f"the store {path} of the export is not there"
        do = "Restore the relative path between export and store, or correct `stores` in the plan."
        raise InputError(file, found=found, expected="the store that was exported", do=do)
    return store
