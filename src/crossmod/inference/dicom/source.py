"""The DICOM series of a translated volume, identified by its grid: positions, UIDs, patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom.geometry import Layout, stacked
from crossmod.data.dicom.header import DicomSlice, is_dicom, quiet, read_dataset
from crossmod.data.dicom.read import frame_headers, is_multi_frame, read_values
from crossmod.data.dicom.series import group_slices, slices_in
from crossmod.data.volume import Affine, Volume
from crossmod.errors import InputError
from crossmod.files import files_in

SAME_PLACE_MM = 1e-3


@dataclass(frozen=True)
class Turn:
    """The order of the axes of one grid in another, and their directions (-1: reversed)."""

    axes: tuple[int, ...]
    flips: tuple[int, ...]

    def of(self, array: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "i j k"]:
        """A view of an array of the one grid on the other."""
        return np.transpose(array, self.axes)[tuple(slice(None, None, flip) for flip in self.flips)]


@dataclass(frozen=True, eq=False)
class Source:
    """A series, in the order of its positions."""

    slices: tuple[DicomSlice, ...]  # in the order of positions
    headers: tuple[Dataset, ...]  # of each slice, without pixels; those of multi-frame files are flattened
    affine: Affine  # `(slice, row, column)` to RAS+ millimetres

    @property
    def layout(self) -> Layout:
        """Positions of the slices, as text of their own headers."""
        first = self.headers[0]
        step = format_number_as_ds(float(np.linalg.norm(self.affine[:3, 0])))
        thickness = first.get("SliceThickness")
        return Layout(
            orientation=_texts(first.ImageOrientationPatient),
            spacing=_texts(first.PixelSpacing),
            positions=tuple(_texts(header.ImagePositionPatient) for header in self.headers),
            step=step,
            thickness=step if thickness in (None, "") else _texts([thickness])[0],
        )


def source_of(path: Path, volume: Volume) -> Source | None:
    """The series at `path` on the grid of `volume`; None if it is not DICOM."""
    if not path.exists():
        raise InputError(path, found="nothing", expected="the path of the volume", do="Check the path.")
    if not holds_dicom(path):
        return None
    found = [(ordered, affine) for ordered, affine in _stacks(path) if _turn(volume, ordered, affine) is not None]
    if len(found) > 1:
        found = [(ordered, affine) for ordered, affine in found if _same_values(volume, ordered, affine)]
    if len(found) != 1:
        what = "several series with these values" if found else "no series on the grid of the translated volume"
        do = "Give the folder that the volume was read from."
        raise InputError(path, found=what, expected="the series that was translated", do=do)
    ordered, affine = found[0]
    return Source(tuple(ordered), tuple(_headers(ordered)), affine)


def turn_onto(affine: Affine, shape: Sequence[int], volume: Volume) -> Turn | None:
    """How to turn the axes of a volume to those of another affine; None if it describes another grid.

    Grids are compared, not names of directions, which at 45 degrees depend on rounding.
    """
    change = np.linalg.inv(affine[:3, :3]) @ volume.affine[:3, :3]
    signs = np.rint(change).astype(int)
    if not (np.abs(signs).sum(axis=0) == 1).all() or not (np.abs(signs).sum(axis=1) == 1).all():
        return None
    axes = tuple(int(axis) for axis in np.abs(signs).argmax(axis=1))
    if tuple(volume.voxels.shape[axis] for axis in axes) != tuple(shape):
        return None
    flips = tuple(int(signs[new, old]) for new, old in enumerate(axes))
    # Grids that agree in two opposite corners and in their directions agree everywhere.
    for end in (0, 1):
        corner = np.zeros(3)
        for flip, axis, length in zip(flips, axes, shape, strict=True):
            corner[axis] = (length - 1) * (end if flip > 0 else 1 - end)
        apart = affine @ [*(end * (np.array(shape) - 1.0)), 1] - volume.affine @ [*corner, 1]
        if np.abs(apart).max() > SAME_PLACE_MM:
            return None
    return Turn(axes, flips)


def holds_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file, or a folder with one."""
    if path.is_dir():
        return any(is_dicom(file) for file in files_in(path))
    return path.is_file() and is_dicom(path)


def _stacks(path: Path) -> list[tuple[list[DicomSlice], Affine]]:
    stacks = []
    found = group_slices(path, slices_in(path)[0])
    # Reading the volume has warned of scout views.
    for series in [one for one in found if not one.localizer] or found:
        # Or several in one series, which differ by their number.
        numbers = sorted({one.number for one in series.slices if one.number is not None})
        parts = ([one for one in series.slices if one.number == number] for number in numbers)
        stacks += _stacked(path, series.slices) or [stack for part in parts for stack in _stacked(path, part)]
    return stacks


def _stacked(path: Path, slices: Sequence[DicomSlice]) -> list[tuple[list[DicomSlice], Affine]]:
    try:
        return [stacked(path, slices)]
    except InputError:
        # Another series of the folder, or several in one.
        return []


def _turn(volume: Volume, ordered: Sequence[DicomSlice], affine: Affine) -> Turn | None:
    return turn_onto(affine, (len(ordered), *ordered[0].shape), volume)


def _same_values(volume: Volume, ordered: Sequence[DicomSlice], affine: Affine) -> bool:
    turn = _turn(volume, ordered, affine)
    middle = len(ordered) // 2
    return turn is not None and np.array_equal(read_values([ordered[middle]])[0], turn.of(volume.voxels)[middle])


def _headers(ordered: Sequence[DicomSlice]) -> list[Dataset]:
    files: dict[Path, list[Dataset]] = {}
    for one in ordered:
        if one.path not in files:
            header = read_dataset(one.path, pixels=False)
            with quiet():
                files[one.path] = frame_headers(one.path, header) if is_multi_frame(header) else [header]
    return [files[one.path][one.frame or 0] for one in ordered]


def _texts(numbers: Sequence) -> tuple[str, ...]:
    """The numbers as in the file, unless they are longer than the standard's 16 characters."""
    texts = [str(number).strip() for number in numbers]
    return tuple(text if len(text) <= 16 else format_number_as_ds(float(text)) for text in texts)
