"""DICOM series: slices grouped into series, one of them chosen, checked and read as a volume.

- A series is what one folder holds of one modality, size, direction and echo time; a multi-frame file is a series.
  UIDs do not count: anonymisation often gives every slice its own. Scout views are separate series.
- Series numbers separate series of one size and direction only if the user names one: a long scan may have several.
- An odd slice cannot be distinguished from a second series; `check_uniform` refuses both.
- A map beside its CT has the positions of the CT's slices, or is apart from them; slices of mixed units interlock.
- Slices are ordered by their positions along the normal, never by name or instance number.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.deidentify import distinct_notes
from crossmod.data.dicom.geometry import SAME_PLACE_MM, stacked
from crossmod.data.dicom.header import RESCALE_TYPES, DicomSlice, NotASlice
from crossmod.data.dicom.read import read_headers, read_values
from crossmod.data.patient_key import known_id
from crossmod.data.store_writer import check_spacing, check_values, compact
from crossmod.data.volume import CANONICAL, Volume, axis_codes, reorient
from crossmod.errors import InputError
from crossmod.files import files_in, natural_key

logger = logging.getLogger(__name__)

# A direction may differ in its last digits from slice to slice.
SAME_STEP_MM = 0.005
SAME_ECHO_MS = 0.01
# Files and series that a message names.
NAMED = 4

Stranger = tuple[Path, NotASlice]


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

    @property
    def numbers(self) -> list[int]:
        """The SeriesNumbers of its slices."""
        return sorted({one.number for one in self.slices if one.number is not None})

    @property
    def words(self) -> str:
        """How many slices of what, how large, along which directions."""
        first = self.slices[0]
        directions = np.stack([first.row_step, first.column_step])
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        # A direction of length 0 is refused where the place is worked out; here it is only described.
        directions = directions / np.maximum(lengths, 1e-9)
        along = " and ".join("(" + ", ".join(f"{part:.2f}" for part in direction) + ")" for direction in directions)
        sizes = f"{first.shape[0]} x {first.shape[1]} of {' x '.join(f'{length:.3g}' for length in lengths[:, 0])} mm"
        count = f"{len(self.slices)} slice{'s' if len(self.slices) != 1 else ''}"
        echo = f", echo time {first.echo_time:g} ms" if first.echo_time is not None else ""
        unit = f", values: {first.other_values}" if first.other_values else ""
        where = f" in {first.path.name}" if first.frame is not None else ""
        return f"{count} {first.modality.upper()} {sizes} along {along}{echo}{unit}{where}"


def slices_in(path: Path) -> tuple[list[DicomSlice], list[Stranger]]:
    """The slices of a folder (not of the folders below it) or of a multi-frame file, and the files that are none."""
    slices: list[DicomSlice] = []
    others: list[Stranger] = []
    for file in [path] if path.is_file() else files_in(_checked_folder(path)):
        read = read_headers(file)
        if isinstance(read, NotASlice):
            others.append((file, read))
        else:
            slices += read
    if path.is_file() and slices and slices[0].frame is None:
        found, expected = "one slice of a series", "a folder of slices, or a multi-frame file"
        raise InputError(path, found=found, expected=expected, do="Give the folder that holds the series.")
    return slices, others


def group_slices(folder: Path, slices: Iterable[DicomSlice]) -> list[Series]:
    """Slices as series, in the order in which they came."""
    groups: list[list[DicomSlice]] = []
    for one in slices:
        group = next((group for group in groups if _of_one_series(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [Series(folder, tuple(group)) for group in groups]


def _of_one_series(first: DicomSlice, one: DicomSlice) -> bool:
    if (first.modality, first.localizer, first.shape, first.echo_time, first.other_values) != (
        one.modality, one.localizer, one.shape, one.echo_time, one.other_values
    ):  # fmt: skip
        return False
    if first.path != one.path and (first.frame, one.frame) != (None, None):
        return False
    steps = np.array([*first.row_step, *first.column_step]) - np.array([*one.row_step, *one.column_step])
    return float(np.abs(steps).max()) < SAME_STEP_MM


def list_series(folder: Path) -> list[Series]:
    """Every CT and MR series in a folder and the folders below it.

    Files that are no CT or MR slice are left out; a warning names the images among them.

    Raises:
        InputError: there is no such folder, no series in it, or a file that is broken.
    """
    below = (path for path in _checked_folder(folder).rglob("*") if path.is_dir())
    found: list[Series] = []
    strangers: list[Stranger] = []
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
    slices, others = slices_in(path)
    for stranger, kind in others:
        if slices and kind.image:
            found = f"{kind.what} among the slices"
            raise InputError(stranger, found=found, expected="slices of one series", do="Move this file elsewhere.")
    if not slices:
        raise _nothing(path, others)
    if series_number is not None:
        known = ", ".join(map(str, Series(path, tuple(slices)).numbers)) or "none"
        slices = [one for one in slices if one.number == series_number]
        if not slices:
            found = f"series numbers {known}"
            raise InputError(path, found=found, expected=str(series_number), do="Name one of them.")
    every = group_slices(path, slices)
    kept = [series for series in every if not series.localizer]
    scouts = [one for series in every if series.localizer for one in series.slices] if kept else []
    if scouts:
        names = ", ".join(one.name for one in scouts)
        logger.warning("%s: left out: scout views (localizers): %s", scouts[0].path.parent, names)
    _check_one_unit(kept or every)
    series = _choose_one(path, kept or every, echo_time)
    if modality is not None and series.modality != modality:
        found = f"a series of modality {series.modality.upper()}"
        raise InputError(path, found=found, expected=modality.upper(), do="Check which folder you gave.")
    check_one_patient(series)
    volume = read_series(series)[0]
    note = (f"{len(scouts)} scout view{'s' if len(scouts) != 1 else ''} left out",) if scouts else ()
    return replace(volume, notes=(*volume.notes, *note))


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


def _choose_one(folder: Path, found: Sequence[Series], echo_time: float | None) -> Series:
    """The only series, or the one of an echo time; if there are several, the error says by what to choose."""
    if echo_time is not None:
        known = ", ".join(sorted({str(series.echo_time) for series in found}))
        found = [one for one in found if one.echo_time is not None and abs(one.echo_time - echo_time) < SAME_ECHO_MS]
        if not found:
            raise InputError(folder, found=f"echo times {known}", expected=f"{echo_time:g} ms", do="Name one of them.")
    numbers = sorted({number for series in found for number in series.numbers})
    named = ", ".join(map(str, numbers))
    split = "put each series in a folder of its own."
    do = f"Name one by its series number ({named}), or {split}" if len(numbers) > 1 else split.capitalize()
    if len(found) == 1:
        slices = found[0].slices
        places = {tuple(round(part, 2) for part in one.position) for one in slices}
        if len(places) < len(slices) and len({one.number for one in slices}) > 1:
            found_text = f"series numbers {named} with slices at the same positions"
            raise InputError(found[0].folder, found=found_text, expected="one series", do=do)
        return found[0]
    echoes = [series.echo_time for series in found if series.echo_time is not None]
    if len(set(echoes)) == len(found):
        found_text = f"{len(found)} series with echo times {', '.join(f'{echo:g}' for echo in echoes)} ms"
        raise InputError(folder, found=found_text, expected="one series", do="Name one by its echo time.")
    described = "; ".join(series.words for series in found[:NAMED])
    raise InputError(folder, found=f"{len(found)} series ({described})", expected="one series", do=do)


def check_one_patient(series: Series) -> None:
    """Refuse a series whose slices name several patients, or of which some name one and some none."""
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
    """Refuse a folder whose slices differ in size, spacing or direction, or a stack of several units; not scout views.

    Nothing says whether the odd slices are a series or strangers in one. Other modalities and echo times are series.
    """
    found = [series for series in found if not series.localizer]
    _check_one_unit(found)
    alike: dict[tuple, list[Series]] = {}
    for series in found:
        first = series.slices[0]
        # No stranger gets into a multi-frame file.
        own_file = first.path if first.frame is not None else None
        kind = (series.folder, series.modality, series.echo_time, first.other_values, own_file)
        alike.setdefault(kind, []).append(series)
    for (folder, *_), several in alike.items():
        if len(several) > 1:
            by_size = sorted(several, key=lambda series: -len(series.slices))
            described = "; ".join(series.words for series in by_size[:NAMED])
            odd = by_size[-1].slices[0].path.name
            found_text = f"slices of several sizes or directions ({described}; look at {odd})"
            do = "Put each series in a folder of its own, or remove the slices that do not belong."
            raise InputError(folder, found=found_text, expected="slices of one size, spacing and direction", do=do)


def _check_one_unit(found: Sequence[Series]) -> None:
    """Refuse a stack of slices that is split by what they say of their values; the error names the files that are
    fewer."""
    for first, second in itertools.combinations(found, 2):
        one, other = first.slices[0], second.slices[0]
        without_unit = replace(other, stated_unit=one.stated_unit)
        only_unit = one.other_values != other.other_values and _of_one_series(one, without_unit)
        if first.folder == second.folder and only_unit and _interlock(first, second):
            few, many = sorted((first, second), key=lambda series: len(series.slices))
            units = [series.slices[0].other_values or RESCALE_TYPES["HU"] for series in (many, few)]
            names = [one.name for one in few.slices]
            listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            counts = f"{len(many.slices)} slices of {units[0]} and {len(few.slices)} between them of {units[1]}"
            raise InputError(
                first.folder,
                found=f"{counts} ({listed}), by RescaleType (0028,1054) or ImageType (0008,0008)",
                expected="one unit in all slices of a series",
                do="Export the series again, or correct these files' headers if their values are like the rest.",
            )


def _interlock(first: Series, second: Series) -> bool:
    """Whether slices of one lie between slices of the other, and none at the place of one."""
    one, other = (_along(series) for series in (first, second))
    apart = float(np.abs(one[:, None] - other[None, :]).min()) > SAME_PLACE_MM
    return apart and bool(one.min() < other.max() and other.min() < one.max())


def _along(series: Series) -> Float[np.ndarray, " slices"]:
    first = series.slices[0]
    normal = np.cross(np.array(first.column_step), np.array(first.row_step))
    return np.array([one.position for one in series.slices]) @ normal / max(float(np.linalg.norm(normal)), 1e-9)


def _checked_folder(folder: Path) -> Path:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, found=found, expected="a folder of DICOM slices", do="Check the path.")
    return folder


def _nothing(folder: Path, others: list[Stranger]) -> InputError:
    found = "no files"
    if others:
        path, kind = next(((path, kind) for path, kind in others if kind.image), others[0])
        more = f" and {len(others) - 1} more file{'s' if len(others) > 2 else ''}" if len(others) > 1 else ""
        found = f"{kind.what} ({path.name}){more}"
    do = "Give the folder that holds the files of a series."
    return InputError(folder, found=found, expected="slices of a CT or MR series", do=do)
