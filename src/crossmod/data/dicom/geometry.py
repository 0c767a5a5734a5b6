"""Geometry of a stack of DICOM slices: positions, axes and affine.

- Nothing is guessed. A stack with a missing, doubled or displaced slice, or from a tilted gantry, would be misplaced by
  any affine, so it is refused and the error says where the problem is.
- Lengths and directions are kept as the text of the file, since that is what any reader will see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom.header import DicomSlice
from crossmod.data.volume import CANONICAL, Affine, Volume, Voxels, reorient
from crossmod.errors import InputError

Vector3 = Float[np.ndarray, "3"]

# A gantry tilted by less than this displaces the ends of a 300 mm stack by under 3 mm; the affine holds that exactly.
MOST_TILT_DEGREES = 0.5

# Positions are often rounded to 0.1 mm.
SAME_PLACE_MM = 0.01
MOST_SIDEWAYS_MM = 0.5

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def stacked(folder: Path, slices: Sequence[DicomSlice]) -> tuple[list[DicomSlice], Affine]:
    """Slices in their order along the normal, and the affine from `(slice, row, column)` to RAS+ millimetres.

    They have one size and direction; positions that make no even, straight stack are refused.
    """
    row_step, column_step = np.array(slices[0].row_step), np.array(slices[0].column_step)
    normal = _normal(slices[0], row_step, column_step)
    ordered = sorted(slices, key=lambda one: float(np.dot(one.position, normal)))
    positions = np.array([one.position for one in ordered])
    if len(ordered) == 1:
        if not ordered[0].thickness:
            found = "a series of one slice with neither SpacingBetweenSlices nor SliceThickness"
            do = "Leave out this series."
            raise InputError(ordered[0].path, found=found, expected="the thickness of the slice", do=do)
        slice_step = normal * ordered[0].thickness
    else:
        _check_spacing(folder, ordered, positions @ normal)
        slice_step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        _check_straight(folder, positions, slice_step, normal)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.stack([slice_step, row_step, column_step], axis=1)
    affine[:3, 3] = LPS_TO_RAS @ positions[0]
    return ordered, affine


def _normal(first: DicomSlice, row_step: Vector3, column_step: Vector3) -> Vector3:
    normal = np.cross(column_step, row_step)
    area = float(np.linalg.norm(row_step) * np.linalg.norm(column_step))
    if float(np.linalg.norm(normal)) < 0.999 * area or area == 0:
        found = "rows and columns that are not at right angles"
        do = "Export the series with its geometry, or convert it to NIfTI."
        raise InputError(first.path, found=found, expected="an ImageOrientationPatient of two unit vectors", do=do)
    return normal / np.linalg.norm(normal)


def _check_spacing(folder: Path, ordered: Sequence[DicomSlice], along: Float[np.ndarray, " slices"]) -> None:
    steps = np.diff(along)
    doubled = np.flatnonzero(steps < SAME_PLACE_MM)
    if doubled.size:
        first, second = ordered[doubled[0]].name, ordered[doubled[0] + 1].name
        positions = f"{doubled.size} position{'s' if doubled.size != 1 else ''}"
        found = f"{positions} held twice, the first at {along[doubled[0]]:.2f} mm ({first} and {second})"
        do = "Put each series in a folder of its own, or remove the copies."
        raise InputError(folder, found=found, expected="one slice at each position", do=do)
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > 0.15 * usual + 0.05)
    if not uneven.size:
        return
    at = int(uneven[0])
    where = f"{along[at]:.2f} mm ({ordered[at].name}) and {along[at + 1]:.2f} mm ({ordered[at + 1].name})"
    gaps = steps[uneven] / usual
    missing = int((np.rint(gaps) - 1).sum())
    if (np.abs(gaps - np.rint(gaps)) < 0.2).all() and np.rint(gaps).min() >= 2:
        slices = f"{missing} missing slice{'s' if missing != 1 else ''}"
        found = f"{slices}, the first gap between {where}, the usual step is {usual:.2f} mm"
        do = "Copy the missing files, or leave out this series."
    else:
        found = f"uneven steps: {steps[at]:.2f} mm between {where}, the usual step is {usual:.2f} mm"
        do = "Resample the series to even steps and give it as NIfTI, or leave it out."
    raise InputError(folder, found=found, expected="slices at even steps", do=do)


def _check_straight(folder: Path, positions: Float[np.ndarray, "n 3"], step: Vector3, normal: Vector3) -> None:
    cosine = float(step @ normal / np.linalg.norm(step))
    tilt = float(np.degrees(np.arccos(min(cosine, 1.0))))
    if tilt > MOST_TILT_DEGREES:
        found = f"slices whose positions run {tilt:.1f} degrees off their normal (a tilted gantry)"
        do = "Correct the tilt (resample) and give the result as NIfTI, or leave out this series."
        raise InputError(folder, found=found, expected="slices stacked along their normal", do=do)
    # Only sideways: how evenly they lie along the step was checked before.
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    astray = positions - expected
    sideways = np.linalg.norm(astray - np.outer(astray @ normal, normal), axis=1)
    if sideways.max() > MOST_SIDEWAYS_MM:
        found = f"a slice {sideways.max():.2f} mm beside the line of the others"
        do = "Export the series again, or leave it out."
        raise InputError(folder, found=found, expected="positions on one line", do=do)


# How a radiologist looks at each plane: columns to the patient's left (or back), rows to the back (or feet).
PLANES = {"S": CANONICAL, "I": CANONICAL, "A": ("P", "I", "L"), "P": ("P", "I", "L")}
PLANES |= {"R": ("R", "I", "P"), "L": ("R", "I", "P")}

# A slice has no word for slanted rows; rounded headers stay below this, and it moves the edge of a body by 0.2 mm.
MOST_SLANT_DEGREES = 0.05


@dataclass(frozen=True)
class Layout:
    """The geometry of a series as DICOM attributes; `positions` has ImagePositionPatient of each slice, `step` is the
    distance of slices in mm.
    """

    orientation: tuple[str, ...]
    spacing: tuple[str, ...]
    positions: tuple[tuple[str, ...], ...]
    step: str
    thickness: str

    def put(self, series: Dataset) -> None:
        """Write what all slices share."""
        series.ImageOrientationPatient, series.PixelSpacing = list(self.orientation), list(self.spacing)
        series.SpacingBetweenSlices, series.SliceThickness = self.step, self.thickness


def laid_out(folder: Path, volume: Volume) -> tuple[Voxels, Layout]:
    """A volume's voxels in the plane of the file it came from, as a radiologist views them, and their layout.

    Volumes are axial, unless they came from a coronal or sagittal file.

    Raises:
        InputError: a sheared volume, which DICOM has no words for.
    """
    # The last axis of a file is its slice axis; the canonical order is that of volumes that came from no file.
    codes = CANONICAL if volume.orientation == CANONICAL else PLANES[volume.orientation[2]]
    voxels, affine = reorient(volume.voxels, volume.affine, codes)
    axes, origin = LPS_TO_RAS @ affine[:3, :3], LPS_TO_RAS @ affine[:3, 3]
    lengths = np.linalg.norm(axes, axis=0)
    directions = (axes / lengths).T
    cosines = np.abs(directions @ directions.T - np.eye(3))
    angle, slant = (np.degrees(np.arcsin(min(float(most), 1.0))) for most in (cosines.max(), cosines[1, 2]))
    if angle > MOST_TILT_DEGREES or slant > MOST_SLANT_DEGREES:
        found = f"axes {max(angle, slant):.1f} degrees off a right angle"
        do = "Resample the volume to a straight grid first, or write NIfTI."
        raise InputError(folder, found=found, expected="axes at right angles, which is all that DICOM can say", do=do)
    (step,) = _texts(lengths[:1])
    return voxels, Layout(
        orientation=_texts([*directions[2], *directions[1]]),
        spacing=_texts(lengths[1:]),
        positions=tuple(_texts(origin + axes[:, 0] * index) for index in range(len(voxels))),
        step=step,
        thickness=step,
    )


def _texts(numbers: Sequence[float] | Float[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple(format_number_as_ds(float(number)) for number in numbers)
