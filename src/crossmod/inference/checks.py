"""What a volume must be before anything is made of it or compared with it: a grid, and values of its unit."""

import numpy as np

from crossmod.config import Modality
from crossmod.data.units import with_checked_units
from crossmod.data.volume import Volume
from crossmod.errors import InputError

# Axes are feet to head, front to back, right to left, in RAS+; no more askew than this, as a cosine: 75 degrees.
AXES, ALONG = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], dtype=float), 0.25


ADVICE = "To use it all the same: --accept-units (in Python: Options(accept_units=True))."


def check_volume(volume: object, subject: object, modality: Modality, *, accept_units: bool = False) -> tuple[str, ...]:
    """Refuse what is no volume of this modality.

    Args:
        volume: whatever was given.
        subject: whom a message names.
        modality: that it should be of.
        accept_units: take values that cannot be of their unit all the same.

    Returns:
        Warnings of its values, which are logged too.

    Raises:
        InputError: no `Volume`; an array or an affine that is none; values that are no numbers or cannot be HU (CT) or
            signal (MR).
    """
    if not isinstance(volume, Volume):
        do = "Read it with crossmod.read_volume; options go in by name, as options=."
        raise InputError(subject, found=f"a {type(volume).__name__}", wanted="a crossmod.Volume", do=do)
    _check_grid(volume, subject)
    if volume.modality != modality:
        do = "Give another volume, or another model."
        raise InputError(subject, found=volume.modality.upper(), wanted=modality.upper(), do=do)
    _check_numbers(volume, subject)
    checked = with_checked_units(subject, volume, accept=accept_units, advice=ADVICE)
    return tuple(note for note in checked.notes if note not in volume.notes)


def _check_grid(volume: Volume, subject: object) -> None:
    voxels, affine = volume.voxels, np.asarray(volume.affine)
    if voxels.ndim != 3 or not voxels.size:
        found, do = f"voxels of shape {voxels.shape}", "Give the array three axes."
        raise InputError(subject, found=found, wanted="[slices, rows, columns]", do=do)
    if voxels.dtype.kind not in "iuf":
        found, do = f"voxels of type {voxels.dtype}", "Give the values of the scan."
        raise InputError(subject, found=found, wanted="integers or floats", do=do)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        do = "Take that of the file."
        raise InputError(subject, found="an affine that is none", wanted="4 x 4 numbers that span a grid", do=do)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if ((steps * AXES.T).sum(axis=0) < ALONG).any():
        raise InputError(
            subject,
            found="axes in another order than a Volume has",
            wanted="slices feet to head, rows front to back, columns right to left",
            do="Read it with crossmod.read_volume, which turns it.",
        )


def _check_numbers(volume: Volume, subject: object) -> None:
    voxels = volume.voxels
    broken = 0 if voxels.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        found = f"{broken} voxels that are NaN or infinite" if broken > 1 else "a voxel that is NaN or infinite"
        raise InputError(subject, found=found, wanted="numbers", do="Mend the volume, or leave it out.")
