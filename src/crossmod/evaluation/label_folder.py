"""Label maps of synthetic images that another program or a person made, in place of a segmenter.

    FOLDER/labels.json           the organ of each value, such as {"labels": {"liver": 5}}
    FOLDER/CASE.nii.gz           the label map of each case; or CASE_seg.nii.gz
    FOLDER/STORE/CASE.nii.gz     the same, with several synthetic stores

CASE is the name of the case in its store, STORE the name of the store in the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmod.data.labels import read_label_names, unnamed_values
from crossmod.data.nifti import read_label_map
from crossmod.data.registration import labels_on_grid
from crossmod.data.store import CaseRecord, listed
from crossmod.data.volume import Labels
from crossmod.errors import InputError
from crossmod.evaluation.cases import SyntheticModel
from crossmod.files import files_in, sha256
from crossmod.progress import track

LABEL_NAMES = "labels.json"
ENDING = ".nii.gz"
# TotalSegmentator (--ml) and nnU-Net write what they are asked to; MRSegmentator adds `_seg` by default.
LAYOUTS = ("{case}" + ENDING, "{case}_seg" + ENDING)


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """The label maps of one store's cases."""

    name: str  # of the folder
    names: Mapping[int, str]  # label value -> organ
    files: Mapping[str, Path]  # case -> its label map; some cases may have none

    @property
    def organs(self) -> tuple[str, ...]:
        """The organs that the maps may show."""
        return tuple(self.names.values())

    def read(self, record: CaseRecord) -> tuple[Labels, bool]:
        """The values of a case's map on the case's grid, and whether the map was on another one."""
        path = self.files[record.id]
        affine = np.array(record.affine, dtype=np.float64)
        return labels_on_grid(*read_label_map(path), record.shape, affine, subject=path)


@dataclass(frozen=True, eq=False)
class LabelFolder:
    """A folder of label maps."""

    path: Path
    names: Mapping[int, str]  # label value -> organ
    models: Mapping[str, FoundLabels]  # model -> the maps of its cases
    warnings: tuple[str, ...]  # by the names of files and organs; `warnings_of_maps` reads the maps

    @property
    def checksums(self) -> dict[str, object]:
        """What determines the numbers: the names, and the SHA-256 of each map."""
        maps = {model: {case: sha256(path) for case, path in own.files.items()} for model, own in self.models.items()}
        return {"names": dict(self.names), "maps": maps}


def open_label_folder(path: Path, models: Sequence[SyntheticModel]) -> LabelFolder:
    """Find the label maps of the cases of all models; the maps are not yet read.

    Raises:
        InputError: no names, no organ in common with the synthetic labels, no map for any case of a model, or two maps
            for one case.
    """
    file = path / LABEL_NAMES
    if not file.is_file():
        found = f"neither a run of `segment` nor a folder with {LABEL_NAMES}"
        do = f'Write the names of the values to {file}, such as {{"labels": {{"liver": 5}}}}.'
        raise InputError(path, found=found, expected=f"label maps and a {LABEL_NAMES}", do=do)
    names = read_label_names(file, "label")
    labelled = {organ for model in models for record in model.records for organ in record.labels.values()}
    if not labelled & set(names.values()):
        expected = f"an organ of the synthetic labels: {listed(sorted(labelled)) or 'none, they have no labels'}"
        do = f"Give organs the names that they have in the stores, in {file}."
        raise InputError(file, found=f"names of {listed(names.values()) or 'nothing'}", expected=expected, do=do)
    title = f"{path.resolve().name} (label maps)"
    folders = {model.name: _folder(path, model, [other.name for other in models]) for model in models}
    found = {m.name: FoundLabels(title, names, _files(folders[m.name], m.records)) for m in models}
    warnings = [line for m in models for line in _about_files(folders[m.name], m, found[m.name].files)]
    if unknown := sorted(labelled - set(names.values())):
        warnings.append(f"{title}: organs that {LABEL_NAMES} does not name are not compared: {listed(unknown)}.")
    return LabelFolder(path, names, found, tuple(warnings))


def warnings_of_maps(folder: LabelFolder, models: Sequence[SyntheticModel]) -> list[str]:
    """Read all maps, and warn of what is unusual in them.

    Raises:
        InputError: a map that is damaged, holds no whole numbers, or lies elsewhere than its case.
    """
    unnamed: set[int] = set()
    warnings = []
    for model in models:
        own, moved = folder.models[model.name], []
        known = [record for record in model.records if record.id in own.files]
        for record in track(known, f"Reading label maps of {model.name}"):
            labels, elsewhere = own.read(record)
            unnamed |= set(unnamed_values(labels, folder.names))
            moved += [record.id] if elsewhere else []
        if moved:
            warnings.append(f"{model.name}: label maps on another grid, read at the nearest voxel: {listed(moved)}.")
    if unnamed:
        values = listed(map(str, sorted(unnamed)))
        warnings.append(f"Values without a name in {folder.path / LABEL_NAMES} count as background: {values}.")
    return warnings


def _folder(path: Path, model: SyntheticModel, names: Sequence[str]) -> Path:
    """The folder with the maps of a model; only a single model's may be those of the folder itself."""
    # A model may have the name of a whole path.
    own = path / model.name.lstrip("/")
    if own.is_dir():
        return own
    if len(names) == 1:
        return path
    found, expected = f"no folder {model.name}", f"a folder of label maps for each store: {', '.join(names)}"
    raise InputError(path, found=found, expected=expected, do="Move the label maps into folders, or omit a store.")


def _files(folder: Path, records: Sequence[CaseRecord]) -> dict[str, Path]:
    """The map of each case that has one."""
    files: dict[str, Path] = {}
    for record in records:
        paths = [folder / layout.replace("{case}", record.id) for layout in LAYOUTS]
        there = [path for path in paths if path.is_file()]
        if len(there) > 1:
            found = f"two label maps for one case: {' and '.join(path.name for path in there)}"
            raise InputError(folder, found=found, expected="one per case", do="Remove one of them.")
        if there:
            files[record.id] = there[0]
    if not files:
        inside = listed((path.name for path in files_in(folder)), 4) or "no files"
        expected = f"label maps named as the cases: {' or '.join(LAYOUTS)}, with {{case}} such as {records[0].id}"
        do = "Rename the files, or segment the images of this store."
        raise InputError(folder, found=inside, expected=expected, do=do)
    return files


def _about_files(folder: Path, model: SyntheticModel, files: Mapping[str, Path]) -> list[str]:
    missing = [record.id for record in model.records if record.id not in files]
    used = set(files.values())
    extra = [path.name for path in files_in(folder) if path.name.endswith((ENDING, ".nii")) and path not in used]
    lines = []
    if missing:
        count = f"{len(missing)} of {len(model.records)} cases"
        lines.append(f"{model.name}: {count} without a label map, and not in its organs: {listed(missing)}.")
    if extra:
        lines.append(f"{model.name}: files in {folder} that are of no case: {listed(extra)}.")
    return lines
