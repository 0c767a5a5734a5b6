"""Group DICOM slices into series, choose one, and refuse a series whose slices hold different values.

- A series is what one folder holds of one modality, size, direction and echo time; a multi-frame file is a series.
  UIDs do not count: anonymisation often gives every slice its own. Scout views are separate series.
- Series numbers separate series of one size and direction only if the user names one: a long scan may have several.
- A map beside its CT has the positions of the CT's slices, or is apart from them; slices of mixed units interlock.
"""

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.dicom.geometry import SAME_PLACE_MM
from crossmod.data.dicom.header import RESCALE_TYPES, DicomSlice
from crossmod.errors import InputError

logger = logging.getLogger(__name__)

# A direction may differ in its last digits from slice to slice.
SAME_STEP_MM = 0.005

SAME_ECHO_MS = 0.01


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


def group_slices(folder: Path, slices: Iterable[DicomSlice]) -> list[Series]:
    """Slices as series, in the order in which they came."""
    groups: list[list[DicomSlice]] = []
    for one in slices:
        group = next((group for group in groups if alike(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [Series(folder, tuple(group)) for group in groups]


def alike(first: DicomSlice, one: DicomSlice) -> bool:
    """Whether two slices of a folder are of one series."""
    if (first.modality, first.localizer, first.shape, first.echo_time, first.other_values) != (
        one.modality, one.localizer, one.shape, one.echo_time, one.other_values
    ):  # fmt: skip
        return False
    if first.path != one.path and (first.frame, one.frame) != (None, None):
        return False
    steps = np.array([*first.row_step, *first.column_step]) - np.array([*one.row_step, *one.column_step])
    return float(np.abs(steps).max()) < SAME_STEP_MM


def without_scouts(found: Sequence[Series]) -> tuple[list[Series], tuple[str, ...]]:
    """The series without scout views, unless there is nothing else; and a note that says what was left out."""
    kept = [series for series in found if not series.localizer]
    scouts = [one for series in found if series.localizer for one in series.slices]
    if not kept or not scouts:
        return list(found), ()
    names = ", ".join(one.name for one in scouts)
    logger.warning("%s: left out: scout views (localizers): %s", scouts[0].path.parent, names)
    return kept, (f"{len(scouts)} scout view{'s' if len(scouts) != 1 else ''} left out",)


def with_number(folder: Path, slices: Sequence[DicomSlice], number: int) -> list[DicomSlice]:
    """The slices of one SeriesNumber.

    Raises:
        InputError: there are none.
    """
    kept = [one for one in slices if one.number == number]
    if not kept:
        known = _listed({one.number for one in slices}) or "none"
        raise InputError(folder, found=f"series numbers {known}", expected=str(number), do="Name one of them.")
    return kept


def choose_one(folder: Path, found: Sequence[Series], echo_time: float | None) -> Series:
    """The only series, or the one of an echo time.

    Raises:
        InputError: there are several; the message says by what to choose.
    """
    if echo_time is not None:
        known = ", ".join(sorted({str(series.echo_time) for series in found}))
        found = [one for one in found if one.echo_time is not None and abs(one.echo_time - echo_time) < SAME_ECHO_MS]
        if not found:
            raise InputError(folder, found=f"echo times {known}", expected=f"{echo_time:g} ms", do="Name one of them.")
    if len(found) == 1:
        _check_one_number(found[0])
        return found[0]
    echoes = [series.echo_time for series in found]
    if None not in echoes and len(set(echoes)) == len(found):
        listed = ", ".join(f"{echo:g}" for echo in echoes if echo is not None)
        found_text = f"{len(found)} series with echo times {listed} ms"
        raise InputError(folder, found=found_text, expected="one series", do="Name one by its echo time.")
    numbers = _listed({one.number for series in found for one in series.slices})
    described_all = "; ".join(described(series) for series in found[:4])
    raise InputError(folder, found=f"{len(found)} series ({described_all})", expected="one series", do=_advice(numbers))


def _check_one_number(series: Series) -> None:
    places = {tuple(round(part, 2) for part in one.position) for one in series.slices}
    numbers = {one.number for one in series.slices}
    if len(places) < len(series.slices) and len(numbers) > 1:
        found = f"series numbers {_listed(numbers)} with slices at the same positions"
        raise InputError(series.folder, found=found, expected="one series", do=_advice(_listed(numbers)))


def _advice(numbers: str) -> str:
    split = "put each series in a folder of its own."
    return f"Name one by its series number ({numbers}), or {split}" if "," in numbers else split.capitalize()


def _listed(numbers: Iterable[int | None]) -> str:
    return ", ".join(str(number) for number in sorted(number for number in numbers if number is not None))


def described(series: Series) -> str:
    """A series in words: how many slices of what, how large, along which directions."""
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
    where = f" in {first.path.name}" if first.frame is not None else ""
    unit = f", values: {first.other_values}" if first.other_values else ""
    return f"{count} {first.modality.upper()} {sizes} along {along}{echo}{unit}{where}"


# Files that a message names.
NAMED = 4


def check_one_unit(found: Sequence[Series]) -> None:
    """Refuse a stack of slices that is split by what they say of their values.

    Raises:
        InputError: there is one; the message names the files that are fewer.
    """
    for first, second in itertools.combinations(found, 2):
        one, other = first.slices[0], second.slices[0]
        only_unit = one.other_values != other.other_values and alike(one, replace(other, stated_unit=one.stated_unit))
        if first.folder == second.folder and only_unit and _interlock(first, second):
            few, many = sorted((first, second), key=lambda series: len(series.slices))
            names = [one.name for one in few.slices]
            listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            counts = f"{len(many.slices)} slices of {_unit(many)} and {len(few.slices)} between them of {_unit(few)}"
            raise InputError(
                first.folder,
                found=f"{counts} ({listed}), by RescaleType (0028,1054) or ImageType (0008,0008)",
                expected="one unit in all slices of a series",
                do="Export the series again, or correct these files' headers if their values are like the rest.",
            )


def _interlock(first: Series, second: Series) -> bool:
    """Whether slices of one lie between slices of the other, and none at the place of one."""
    one, other = _along(first), _along(second)
    apart = float(np.abs(one[:, None] - other[None, :]).min()) > SAME_PLACE_MM
    between = (one.min() < other.max()) and (other.min() < one.max())
    return apart and bool(between)


def _along(series: Series) -> Float[np.ndarray, " slices"]:
    first = series.slices[0]
    normal = np.cross(np.array(first.column_step), np.array(first.row_step))
    return np.array([one.position for one in series.slices]) @ normal / max(float(np.linalg.norm(normal)), 1e-9)


def _unit(series: Series) -> str:
    return series.slices[0].other_values or RESCALE_TYPES["HU"]
