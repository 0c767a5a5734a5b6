"""A DICOM series as a volume.

- What makes a series is defined in `choose_series`. An odd slice cannot be distinguished from a second series;
  `check_uniform` refuses both.
- Slices are ordered by their positions along the normal, never by name or instance number.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.deidentify import distinct_notes
from crossmod.data.dicom.choose_series import (
    Series,
    check_one_unit,
    choose_one,
    described,
    group_slices,
    with_number,
    without_scouts,
)
from crossmod.data.dicom.geometry import stacked
from crossmod.data.dicom.header import DicomSlice, NotASlice
from crossmod.data.dicom.read import read_headers, read_values
from crossmod.data.patient_key import known_id
from crossmod.data.store_writer import check_spacing, check_values, compact
from crossmod.data.volume import CANONICAL, Volume, axis_codes, reorient
from crossmod.errors import InputError
from crossmod.files import files_in, natural_key

logger = logging.getLogger(__name__)


def list_series(folder: Path) -> list[Series]:
    """Every CT and MR series in a folder and the folders below it.

    Files that are no CT or MR slice are left out; a warning names the images among them.

    Raises:
        InputError: there is no such folder, no series in it, or a file that is broken.
    """
    _check_folder(folder)
    below = (path for path in folder.rglob("*") if path.is_dir())
    found: list[Series] = []
    strangers: list[tuple[Path, NotASlice]] = []
    for path in [folder, *sorted(below, key=lambda path: [natural_key(Path(part)) for part in path.parts])]:
        slices, others = slices_in(path)
        strangers += others
        found += group_slices(path, slices)
    if not found:
        raise _nothing(folder, strangers)
    for path, kind in strangers:
        if kind.image:
            logger.warning("%s: left out: %s", path, kind.what)
    return found


def read_dicom_series(
    path: Path, *, modality: Modality | None = None, echo_time: float | None = None, series_number: int | None = None
) -> Volume:
    """Read the one series in a folder, or in a multi-frame file.

    Files that are not DICOM, a DICOMDIR, reports, segmentations and, with a warning and a note, scout views are left
    out.

    Args:
        path: a folder that holds the files of one series, or a multi-frame file.
        modality: refuse any other.
        echo_time: which series to take where the folder holds several echoes; milliseconds.
        series_number: the SeriesNumber to take where the folder holds several.

    Raises:
        InputError: no slices, slices of several series or patients, or positions that make no even stack.
    """
    series, notes = find_series(path, echo_time=echo_time, series_number=series_number)
    if modality is not None and series.modality != modality:
        found = f"a series of modality {series.modality.upper()}"
        raise InputError(path, found=found, expected=modality.upper(), do="Check which folder you gave.")
    check_one_patient(series)
    volume = read_series(series)[0]
    return replace(volume, notes=(*volume.notes, *notes))


def find_series(
    path: Path, *, echo_time: float | None = None, series_number: int | None = None
) -> tuple[Series, tuple[str, ...]]:
    """The one series of `read_dicom_series`, without its pixels, and notes about what was left out.

    Raises:
        InputError: no slices, or slices of several series.
    """
    slices, others = slices_in(path)
    for stranger, kind in others:
        if slices and kind.image:
            found = f"{kind.what} among the slices"
            raise InputError(stranger, found=found, expected="slices of one series", do="Move this file elsewhere.")
    if not slices:
        raise _nothing(path, others)
    if series_number is not None:
        slices = with_number(path, slices, series_number)
    found_series, notes = without_scouts(group_slices(path, slices))
    check_one_unit(found_series)
    return choose_one(path, found_series, echo_time), notes


def read_series(series: Series) -> tuple[Volume, list[Path]]:
    """Read the pixels of a series.

    Returns:
        The volume, and the files in the order of their positions: along the normal of the slices, which for axial
        slices is feet to head, the order of the volume.

    Raises:
        InputError: positions that make no even stack, or a file that cannot be read.
    """
    ordered, affine = stacked(series.folder, series.slices)
    values = read_values(ordered)
    check_spacing(series.folder, affine)
    check_values(series.folder, values)
    slice_code, row_code, column_code = axis_codes(affine)
    voxels, affine = reorient(compact(values), affine, CANONICAL)
    volume = Volume(
        voxels=voxels,
        affine=affine,
        modality=series.modality,
        # DICOM counts columns first and slices last, as NIfTI does.
        orientation=(column_code, row_code, slice_code),
        acquisition=ordered[0].acquisition,
        notes=distinct_notes(series.folder, (one.note for one in ordered)),
        contrast=True if any(one.contrast for one in ordered) else None,
        stated_unit=next((one.stated_unit for one in ordered if one.stated_unit not in (None, "HU")), None),
    )
    return volume, [one.path for one in ordered]


def check_one_patient(series: Series) -> None:
    """Refuse a series whose slices name several patients, or of which some name one and some none.

    Raises:
        InputError: they do.
    """
    patients = Counter(known_id(one.patient) for one in series.slices)
    without = patients.pop("", 0)
    if len(patients) == 1 and without:
        found = f"slices without a PatientID ({without} of {len(series.slices)}) among slices with one"
        do = "Remove the slices that do not belong. If all are one patient's, give each slice the PatientID."
        raise InputError(series.folder, found=found, expected="one patient", do=do)
    if len(patients) > 1:
        found = f"slices of {len(patients)} patients in one folder"
        raise InputError(series.folder, found=found, expected="one patient", do="Give each patient a folder.")


def check_uniform(found: Iterable[Series]) -> None:
    """Refuse a folder whose slices differ in size, spacing or direction, or a stack of several units; except scout
    views.

    Nothing says whether the odd slices are a series or strangers in one. Other modalities and echo times are series.

    Raises:
        InputError: there is such a folder.
    """
    alike: dict[tuple, list[Series]] = {}
    found = [series for series in found if not series.localizer]
    check_one_unit(found)
    for series in found:
        first = series.slices[0]
        # No stranger gets into a multi-frame file.
        own_file = first.path if first.frame is not None else None
        kind = (series.folder, series.modality, series.echo_time, first.other_values, own_file)
        alike.setdefault(kind, []).append(series)
    for (folder, *_), several in alike.items():
        if len(several) > 1:
            by_size = sorted(several, key=lambda series: -len(series.slices))
            odd = by_size[-1].slices[0].path.name
            listed = "; ".join(described(series) for series in by_size[:4])
            found_text = f"slices of several sizes or directions ({listed}; look at {odd})"
            do = "Put each series in a folder of its own, or remove the slices that do not belong."
            raise InputError(folder, found=found_text, expected="slices of one size, spacing and direction", do=do)


def slices_in(path: Path) -> tuple[list[DicomSlice], list[tuple[Path, NotASlice]]]:
    """The slices of a folder (not of the folders below it) or of a multi-frame file, and the files that are none.

    Raises:
        InputError: there is nothing at `path`, or a file that is broken.
    """
    if not path.is_file():
        _check_folder(path)
    slices: list[DicomSlice] = []
    others: list[tuple[Path, NotASlice]] = []
    for file in [path] if path.is_file() else files_in(path):
        read = read_headers(file)
        if isinstance(read, NotASlice):
            others.append((file, read))
        else:
            slices += read
    if path.is_file() and slices and slices[0].frame is None:
        found, expected = "one slice of a series", "a folder of slices, or a multi-frame file"
        raise InputError(path, found=found, expected=expected, do="Give the folder that holds the series.")
    return slices, others


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, found=found, expected="a folder of DICOM slices", do="Check the path.")


def _nothing(folder: Path, others: list[tuple[Path, NotASlice]]) -> InputError:
    if not others:
        found = "no files"
    else:
        path, kind = next(((path, kind) for path, kind in others if kind.image), others[0])
        more = f" and {len(others) - 1} more file{'s' if len(others) > 2 else ''}" if len(others) > 1 else ""
        found = f"{kind.what} ({path.name}){more}"
    do = "Give the folder that holds the files of a series."
    return InputError(folder, found=found, expected="slices of a CT or MR series", do=do)
