"""What a path holds, for people: a store, a NIfTI file or a folder of DICOM."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from crossmod.config import Modality
from crossmod.data.dicom_series import list_series, read_series
from crossmod.data.nifti import read_nifti
from crossmod.data.store import MANIFEST, CaseRecord, Store
from crossmod.data.volume import Volume
from crossmod.errors import InputError


def describe(path: Path, *, modality: Modality | None = None) -> Group:
    """Describe a store, a NIfTI file or a DICOM folder as rich tables.

    Args:
        path: what to look at.
        modality: of a NIfTI file, which does not say it itself; only the unit depends on it.

    Raises:
        InputError: the path is none of these, or cannot be read.
    """
    if (path / MANIFEST).is_file():
        return _store(Store(path))
    if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
        volume = read_nifti(path, modality=modality or "mr")
        return Group(_volume(path, volume, "unknown" if modality is None else volume.unit))
    if path.is_dir() and any(True for _ in path.iterdir()):
        volumes = [(series.folder, read_series(series)[0]) for series in list_series(path)]
        return Group(*(_volume(folder, volume, volume.unit) for folder, volume in volumes))
    found = "a file" if path.is_file() else "an empty folder" if path.is_dir() else "no such file or folder"
    wanted = "a store, a NIfTI file or a folder of DICOM"
    raise InputError(path, found=found, wanted=wanted, do="Check the path.")


def _store(store: Store) -> Group:
    groups: dict[tuple[str, str], list[CaseRecord]] = {}
    for case in store.cases:
        groups.setdefault((case.modality, case.sequence or ""), []).append(case)
    table = Table(title=str(store.path), caption=f"{len(store.cases)} cases", title_justify="left")
    for heading in ("modality", "sequence", "unit"):
        table.add_column(heading)
    for heading in ("cases", "patients", "slices", "slices with", "slices, rows, columns", "spacing, mm"):
        table.add_column(heading, justify="right")
    for (modality, sequence), cases in sorted(groups.items()):
        table.add_row(
            modality,
            sequence or "-",
            ", ".join(sorted({case.unit for case in cases})),
            str(len(cases)),
            str(len({case.patient for case in cases})),
            str(sum(case.shape[0] for case in cases)),
            "\n".join(f"{organ} {count}" for organ, count in organ_counts(cases).items()) or "no labels",
            " x ".join(_range([float(case.shape[axis]) for case in cases]) for axis in range(3)),
            " x ".join(_range([case.spacing[axis] for case in cases]) for axis in range(3)),
        )
    return Group(table, *_notes((case.id, case.notes) for case in store.cases))


def organ_counts(cases: Iterable[CaseRecord]) -> dict[str, int]:
    """How many slices of `cases` hold each organ."""
    counts: dict[str, int] = {}
    for case in cases:
        for organ, count in case.slices_with.items():
            counts[organ] = counts.get(organ, 0) + count
    return counts


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low}-{high}"


def _notes(noted: Iterable[tuple[str, Sequence[str]]]) -> list[RenderableType]:
    cases: dict[str, list[str]] = {}
    for case, notes in noted:
        for note in notes:
            cases.setdefault(note, []).append(case)
    table = Table("note", "cases", title="notes", title_justify="left")
    for note, names in cases.items():
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        table.add_row(note, ", ".join(names[:4]) + more)
    return [table] if cases else []


def _volume(path: Path, volume: Volume, unit: str) -> Table:
    table = Table("", str(path), title_justify="left")
    slices, rows, columns = volume.voxels.shape
    table.add_row("voxels", f"{slices} slices of {rows} x {columns} (rows, columns), {volume.voxels.dtype}")
    table.add_row("spacing", " x ".join(f"{length:.4g}" for length in volume.spacing) + " mm (slices, rows, columns)")
    table.add_row("stored axes", "-".join(volume.orientation))
    table.add_row("first voxel", ", ".join(f"{part:.2f}" for part in volume.affine[:3, 3]) + " mm (RAS+)")
    percentiles = np.percentile(volume.voxels, [0, 1, 50, 99, 100])
    table.add_row("values", "min {:.5g}, 1 % {:.5g}, median {:.5g}, 99 % {:.5g}, max {:.5g}".format(*percentiles))
    table.add_row("unit", unit)
    # A label file is a NIfTI file too, and its values are what one wants to know of it.
    held = np.unique(volume.voxels)
    if held.size <= 32 and (held == np.rint(held)).all():
        table.add_row("only the values", ", ".join(f"{value:g}" for value in held))
    for keyword, value in volume.acquisition.items():
        table.add_row(keyword, str(value))
    for note in volume.notes:
        table.add_row("note", note)
    return table
