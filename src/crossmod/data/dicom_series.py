"""A DICOM series as a volume.

Notable:
- A series is what lies in one folder with one modality, size, direction and echo time. UIDs are not asked:
  anonymisation often gives every slice its own. Scout views are series of their own.
- So an odd slice cannot be told from a second series; `check_uniform` refuses both.
- Slices are ordered by their positions along the normal, never by name or instance number.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmod.config import Modality
from crossmod.data.dicom_geometry import stacked
from crossmod.data.dicom_read import DicomSlice, NotASlice, read_header, read_pixels
from crossmod.data.file_order import files_in, natural_key
from crossmod.data.identity import distinct_notes
from crossmod.data.store_writer import check_spacing, check_values, compact
from crossmod.data.volume import CANONICAL, Volume, axis_codes, reorient
from crossmod.errors import InputError

logger = logging.getLogger(__name__)

# A direction may differ in its last digits from slice to slice.
SAME_STEP_MM = 0.005


@dataclass(frozen=True)
class Series:
    """The slices of one series, in the natural order of their file names."""

    folder: Path
    slices: tuple[DicomSlice, ...]

    @property
    def modality(self) -> Modality:
        """`ct` or `mr`."""
        return self.slices[0].modality

    @property
    def echo_time(self) -> float | None:
        """Milliseconds, where the header has it."""
        return self.slices[0].echo_time

    @property
    def localizer(self) -> bool:
        """Whether these are scout views."""
        return self.slices[0].localizer


def list_series(folder: Path) -> list[Series]:
    """Every CT and MR series in a folder and the folders below it.

    Files that are no CT or MR slice are left out; a warning names the images among them.

    Raises:
        InputError: there is no such folder, no series in it, or a file that is broken.
    """
    _check_folder(folder)
    folders = [folder, *sorted((path for path in folder.rglob("*") if path.is_dir()), key=_natural_path)]
    found: list[Series] = []
    strangers: list[tuple[Path, NotASlice]] = []
    for one in folders:
        slices, others = _read_headers(one)
        strangers += others
        found += _grouped(one, slices)
    if not found:
        raise _nothing(folder, strangers)
    for path, kind in strangers:
        if kind.image:
            logger.warning("%s: left out: %s", path, kind.what)
    return found


def read_dicom_series(folder: Path, *, modality: Modality | None = None, echo_time: float | None = None) -> Volume:
    """Read the one series in a folder.

    Args:
        folder: holds the files of one series; what is not DICOM, a DICOMDIR and reports are ignored.
        modality: refuse another than this, where given.
        echo_time: which series to take, where the folder holds several echoes; milliseconds.

    Raises:
        InputError: no slices, slices of several series or patients, or positions that make no even stack.
    """
    _check_folder(folder)
    slices, others = _read_headers(folder)
    for path, kind in others:
        if slices and kind.image:
            found = f"{kind.what} among the slices"
            raise InputError(path, found=found, wanted="slices of one series", do="Move this file elsewhere.")
    if not slices:
        raise _nothing(folder, others)
    series = _the_one(folder, _grouped(folder, slices), echo_time)
    if modality is not None and series.modality != modality:
        found = f"a series of modality {series.modality.upper()}"
        raise InputError(folder, found=found, wanted=modality.upper(), do="Check which folder you gave.")
    check_one_patient(series)
    return read_series(series)[0]


def read_series(series: Series) -> tuple[Volume, list[Path]]:
    """Read the pixels of a series.

    Returns:
        The volume, and the files in the order of their positions: along the normal of the slices, which for axial
        slices is feet to head, the order of the volume.

    Raises:
        InputError: positions that make no even stack, or a file that cannot be read.
    """
    ordered, affine = stacked(series.folder, series.slices)
    values = np.empty((len(ordered), *ordered[0].shape), dtype=np.float32)
    for index, one in enumerate(ordered):
        values[index] = read_pixels(one.path)
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
    )
    return volume, [one.path for one in ordered]


def check_one_patient(series: Series) -> None:
    """Refuse a series whose slices name several patients.

    Raises:
        InputError: they do.
    """
    patients = {one.patient for one in series.slices}
    if len(patients) > 1:
        found = f"slices of {len(patients)} patients in one folder"
        raise InputError(series.folder, found=found, wanted="one patient", do="Give each patient a folder.")


def check_uniform(found: Iterable[Series]) -> None:
    """Refuse a folder whose slices differ in size, spacing or direction; scout views do not count.

    Nothing says whether the odd slices are a series or strangers in one. Other modalities and echo times are series.

    Raises:
        InputError: there is such a folder.
    """
    alike: dict[tuple, list[Series]] = {}
    for series in found:
        if not series.localizer:
            alike.setdefault((series.folder, series.modality, series.echo_time), []).append(series)
    for (folder, *_), several in alike.items():
        if len(several) > 1:
            by_size = sorted(several, key=lambda series: -len(series.slices))
            odd = by_size[-1].slices[0].path.name
            described = "; ".join(_described(series) for series in by_size[:4])
            found_text = f"slices of several sizes or directions ({described}; look at {odd})"
            do = "Put each series in a folder of its own, or remove the slices that do not belong."
            raise InputError(folder, found=found_text, wanted="slices of one size, spacing and direction", do=do)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, found=found, wanted="a folder of DICOM slices", do="Check the path.")


def _read_headers(folder: Path) -> tuple[list[DicomSlice], list[tuple[Path, NotASlice]]]:
    read = [(path, read_header(path)) for path in files_in(folder)]
    slices = [one for _, one in read if isinstance(one, DicomSlice)]
    return slices, [(path, one) for path, one in read if isinstance(one, NotASlice)]


def _grouped(folder: Path, slices: Iterable[DicomSlice]) -> list[Series]:
    groups: list[list[DicomSlice]] = []
    for one in slices:
        group = next((group for group in groups if _alike(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [Series(folder, tuple(group)) for group in groups]


def _alike(first: DicomSlice, one: DicomSlice) -> bool:
    if (first.modality, first.localizer, first.shape, first.echo_time) != (
        one.modality, one.localizer, one.shape, one.echo_time
    ):  # fmt: skip
        return False
    steps = np.array([*first.row_step, *first.column_step]) - np.array([*one.row_step, *one.column_step])
    return float(np.abs(steps).max()) < SAME_STEP_MM


def _the_one(folder: Path, found: list[Series], echo_time: float | None) -> Series:
    if echo_time is not None:
        echoes = [series.echo_time for series in found]
        found = [
            series for series in found if series.echo_time is not None and abs(series.echo_time - echo_time) < 0.01
        ]
        if not found:
            known = ", ".join(sorted({str(echo) for echo in echoes}))
            raise InputError(folder, found=f"echo times {known}", wanted=f"{echo_time:g} ms", do="Name one of them.")
    if len(found) == 1:
        return found[0]
    echoes = [series.echo_time for series in found]
    if None not in echoes and len(set(echoes)) == len(found):
        listed = ", ".join(f"{echo:g}" for echo in echoes if echo is not None)
        found_text = f"{len(found)} series with echo times {listed} ms"
        raise InputError(folder, found=found_text, wanted="one series", do="Name one by its echo time.")
    described = "; ".join(_described(series) for series in found[:4])
    do = "Put each series in a folder of its own."
    raise InputError(folder, found=f"{len(found)} series ({described})", wanted="one series", do=do)


def _described(series: Series) -> str:
    first = series.slices[0]
    directions = np.stack([first.row_step, first.column_step])
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    # A direction of length 0 is refused where the place is worked out; here it is only described.
    directions = directions / np.maximum(lengths, 1e-9)
    along = " and ".join("(" + ", ".join(f"{part:.2f}" for part in direction) + ")" for direction in directions)
    rows, columns = first.shape
    echo = f", echo time {first.echo_time:g} ms" if first.echo_time is not None else ""
    sizes = f"{rows} x {columns} of {' x '.join(f'{length:.3g}' for length in lengths[:, 0])} mm"
    count = f"{len(series.slices)} slice{'s' if len(series.slices) != 1 else ''}"
    return f"{count} {first.modality.upper()} {sizes} along {along}{echo}"


def _nothing(folder: Path, others: list[tuple[Path, NotASlice]]) -> InputError:
    if not others:
        found = "no files"
    else:
        path, kind = next(((path, kind) for path, kind in others if kind.image), others[0])
        more = f" and {len(others) - 1} more file{'s' if len(others) > 2 else ''}" if len(others) > 1 else ""
        found = f"{kind.what} ({path.name}){more}"
    do = "Give the folder that holds the files of a series."
    return InputError(folder, found=found, wanted="slices of a CT or MR series", do=do)


def _natural_path(path: Path) -> list:
    return [natural_key(Path(part)) for part in path.parts]
