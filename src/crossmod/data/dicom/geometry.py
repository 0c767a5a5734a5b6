"""The place of a stack of DICOM slices, from the positions that the slices themselves give.

Notable: nothing is guessed. A stack with a missing, doubled or displaced slice, or from a tilted gantry, would be put
in the wrong place by any affine, so it is refused and the error says where the trouble is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from crossmod.data.dicom.slice import DicomSlice
from crossmod.data.volume import Affine
from crossmod.errors import InputError

# A gantry tilted by less than this displaces the ends of a 300 mm stack by under 3 mm; the affine holds that exactly.
MOST_TILT_DEGREES = 0.5

# Positions are often rounded to 0.1 mm.
SAME_PLACE_MM = 0.01
MOST_SIDEWAYS_MM = 0.5

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def stacked(folder: Path, slices: Sequence[DicomSlice]) -> tuple[list[DicomSlice], Affine]:
    """Put slices in order along their normal.

    Args:
        folder: what errors are about.
        slices: at least one, all of one size and direction.

    Returns:
        The slices in order, and the affine from `(slice, row, column)` to RAS+ millimetres.

    Raises:
        InputError: positions that make no even, straight stack.
    """
    row_step, column_step = np.array(slices[0].row_step), np.array(slices[0].column_step)
    normal = _normal(slices[0], row_step, column_step)
    ordered = sorted(slices, key=lambda one: float(np.dot(one.position, normal)))
    positions = np.array([one.position for one in ordered])
    if len(ordered) == 1:
        slice_step = normal * (ordered[0].thickness or _no_thickness(ordered[0]))
    else:
        _check_spacing(folder, ordered, positions @ normal)
        slice_step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        _check_straight(folder, positions, slice_step, normal)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.stack([slice_step, row_step, column_step], axis=1)
    affine[:3, 3] = LPS_TO_RAS @ positions[0]
    return ordered, affine


def _normal(
    first: DicomSlice, row_step: Float[np.ndarray, "3"], column_step: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    normal = np.cross(column_step, row_step)
    area = float(np.linalg.norm(row_step) * np.linalg.norm(column_step))
    if float(np.linalg.norm(normal)) < 0.999 * area or area == 0:
        found = "rows and columns that are not at right angles"
        do = "Export the series with its geometry, or convert it to NIfTI."
        raise InputError(first.path, found=found, wanted="an ImageOrientationPatient of two unit vectors", do=do)
    return normal / np.linalg.norm(normal)


def _no_thickness(only: DicomSlice) -> NoReturn:
    found = "a series of one slice with neither SpacingBetweenSlices nor SliceThickness"
    raise InputError(only.path, found=found, wanted="the thickness of the slice", do="Leave out this series.")


def _check_spacing(folder: Path, ordered: Sequence[DicomSlice], along: Float[np.ndarray, " slices"]) -> None:
    steps = np.diff(along)
    doubled = np.flatnonzero(steps < SAME_PLACE_MM)
    if doubled.size:
        first, second = ordered[doubled[0]].name, ordered[doubled[0] + 1].name
        positions = f"{doubled.size} position{'s' if doubled.size != 1 else ''}"
        found = f"{positions} held twice, the first at {along[doubled[0]]:.2f} mm ({first} and {second})"
        do = "Put each series in a folder of its own, or remove the copies."
        raise InputError(folder, found=found, wanted="one slice at each position", do=do)
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > 0.15 * usual + 0.05)
    if not uneven.size:
        return
    at = int(uneven[0])
    where = f"{along[at]:.2f} mm ({ordered[at].name}) and {along[at + 1]:.2f} mm ({ordered[at + 1].name})"
    missing = [round(float(steps[gap]) / usual) - 1 for gap in uneven]
    whole = all(abs(steps[gap] / usual - round(float(steps[gap]) / usual)) < 0.2 for gap in uneven)
    if whole and min(missing) >= 1:
        slices = f"{sum(missing)} missing slice{'s' if sum(missing) != 1 else ''}"
        found = f"{slices}, the first gap between {where}, where the usual step is {usual:.2f} mm"
        do = "Copy the missing files, or leave out this series."
    else:
        found = f"uneven steps: {steps[at]:.2f} mm between {where}, where the usual step is {usual:.2f} mm"
        do = "Resample the series to even steps and give it as NIfTI, or leave it out."
    raise InputError(folder, found=found, wanted="slices at even steps", do=do)


def _check_straight(
    folder: Path, positions: Float[np.ndarray, "n 3"], step: Float[np.ndarray, "3"], normal: Float[np.ndarray, "3"]
) -> None:
    cosine = float(step @ normal / np.linalg.norm(step))
    tilt = float(np.degrees(np.arccos(min(cosine, 1.0))))
    if tilt > MOST_TILT_DEGREES:
        found = f"slices whose positions run {tilt:.1f} degrees off their normal (a tilted gantry)"
        do = "Correct the tilt (resample) and give the result as NIfTI, or leave out this series."
        raise InputError(folder, found=found, wanted="slices stacked along their normal", do=do)
    # Only sideways: how evenly they lie along the step was checked before.
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    astray = positions - expected
    sideways = np.linalg.norm(astray - np.outer(astray @ normal, normal), axis=1)
    if sideways.max() > MOST_SIDEWAYS_MM:
        found = f"a slice {sideways.max():.2f} mm beside the line of the others"
        do = "Export the series anew, or leave it out."
        raise InputError(folder, found=found, wanted="positions on one line", do=do)
