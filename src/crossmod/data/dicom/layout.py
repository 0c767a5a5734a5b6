"""How a volume lies in a DICOM series: which axis runs over the slices, and the place of each of them.

Notable: lengths and directions are kept as the text of the file, since that is what any reader will see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom.geometry import LPS_TO_RAS, MOST_TILT_DEGREES
from crossmod.data.volume import CANONICAL, Affine, Volume, reorient
from crossmod.errors import InputError

# How a radiologist looks at each plane: columns to the patient's left (or back), rows to the back (or feet).
PLANES = {"S": CANONICAL, "I": CANONICAL, "A": ("P", "I", "L"), "P": ("P", "I", "L")}
PLANES |= {"R": ("R", "I", "P"), "L": ("R", "I", "P")}

# A slice has no word for slanted rows; rounded headers stay below this, and it moves the edge of a body by 0.2 mm.
MOST_SLANT_DEGREES = 0.05


@dataclass(frozen=True)
class Layout:
    """The geometry of a series in DICOM's words.

    Args:
        orientation: ImageOrientationPatient.
        spacing: PixelSpacing.
        positions: ImagePositionPatient of each slice.
        step: millimetres from slice to slice.
        thickness: SliceThickness.
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


def laid_out(folder: Path, volume: Volume) -> tuple[Shaped[np.ndarray, "slices rows columns"], Layout]:
    """A volume's voxels in the plane of the file that it came from, as a radiologist looks at it, and their layout.

    Args:
        folder: what errors are about.
        volume: axial, unless it came from a coronal or sagittal file.

    Raises:
        InputError: a sheared volume, which DICOM has no words for.
    """
    # The last axis of a file is its slice axis; the canonical order is that of volumes that came from no file.
    codes = CANONICAL if volume.orientation == CANONICAL else PLANES[volume.orientation[2]]
    voxels, affine = reorient(volume.voxels, volume.affine, codes)
    return voxels, layout_of(folder, affine, len(voxels))


def layout_of(folder: Path, affine: Affine, slices: int) -> Layout:
    """The layout of a grid.

    Args:
        folder: what errors are about.
        affine: `(slice, row, column)` to RAS+ millimetres.
        slices: how many.

    Raises:
        InputError: a sheared grid.
    """
    _check_square(folder, affine)
    axes = LPS_TO_RAS @ affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    directions = (axes / lengths).T
    origin = LPS_TO_RAS @ affine[:3, 3]
    return Layout(
        orientation=_texts([*directions[2], *directions[1]]),
        spacing=_texts(lengths[1:]),
        positions=tuple(_texts(origin + axes[:, 0] * index) for index in range(slices)),
        step=_texts(lengths[:1])[0],
        thickness=_texts(lengths[:1])[0],
    )


def _texts(numbers: Sequence[float] | Float[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple(format_number_as_ds(float(number)) for number in numbers)


def _check_square(folder: Path, affine: Affine) -> None:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(3))
    angle = float(np.degrees(np.arcsin(min(float(cosines.max()), 1.0))))
    slant = float(np.degrees(np.arcsin(min(float(cosines[1, 2]), 1.0))))
    if angle > MOST_TILT_DEGREES or slant > MOST_SLANT_DEGREES:
        found = f"axes {max(angle, slant):.1f} degrees off a right angle"
        do = "Resample the volume to a straight grid first, or write NIfTI."
        raise InputError(folder, found=found, wanted="axes at right angles, which is all that DICOM can say", do=do)
