"""The inputs of a translation: in order, on one grid, of one patient, with values in the right unit.

Notable:
- Messages say that ids differ, but never show them.
- The invented PatientID of a synthetic series does not identify a person.
- If every slice has its own frame of reference, an anonymiser replaced it, and it is ignored.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossmod.config import Modality
from crossmod.data.dicom.series import slices_in
from crossmod.data.dicom.write import MADE_UP
from crossmod.data.registration import resample_to
from crossmod.data.units import with_checked_units
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.dicom.source import holds_dicom
from crossmod.inference.types import About


def check_same_frame(paths: Sequence[Path]) -> None:
    """Refuse DICOM of different patients or frames of reference; other files, and missing ids, are ignored."""
    known = [(path, *_ids(path)) for path in paths if holds_dicom(path)]
    for path, patients, _ in known:
        if len(patients) > 1:
            found = f"slices of {len(patients)} patients"
            raise InputError(path, found=found, expected="one patient", do="Give each patient a folder.")
    for (path, patients, frames), (other, others, other_frames) in itertools.combinations(known, 2):
        subject = f"{path} and {other}"
        if _differ(patients, others):
            do = "Check which folders you gave; if the ids of one patient differ, correct them."
            raise InputError(subject, found="two patients: their PatientID differ", expected="one patient", do=do)
        if _differ(frames, other_frames):
            found, expected = "two frames of reference: their FrameOfReferenceUID differ", "images taken in one session"
            do = "Positions cannot be compared: register one to the other, and give the result as NIfTI."
            raise InputError(subject, found=found, expected=expected, do=do)


def _differ(first: set[str], second: set[str]) -> bool:
    return len(first) == len(second) == 1 and first != second


def _ids(path: Path) -> tuple[set[str], set[str]]:
    """Patients and frames of reference of a series."""
    slices = [each for each in slices_in(path)[0] if not each.localizer]
    patients = {s.patient for s in slices if s.patient and not s.patient.startswith(MADE_UP)}
    return patients, {s.frame_of_reference for s in slices if s.frame_of_reference}


# Axes are feet to head, front to back, right to left, in RAS+; oblique by at most 75 degrees, as a cosine.
AXES, ALONG = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], dtype=float), 0.25


ADVICE = "To use it anyway: --accept-units (in Python: Options(accept_units=True))."


def check_volume(volume: object, subject: object, modality: Modality, *, accept_units: bool = False) -> tuple[str, ...]:
    """Refuse anything but a valid volume of this modality; returns warnings about its values, which are also logged."""
    if not isinstance(volume, Volume):
        do = "Read it with crossmod.read_volume; give options by name, as options=."
        raise InputError(subject, found=f"a {type(volume).__name__}", expected="a crossmod.Volume", do=do)
    _check_grid(volume, subject)
    if volume.modality != modality:
        do = "Give another volume, or another model."
        raise InputError(subject, found=volume.modality.upper(), expected=modality.upper(), do=do)
    _check_numbers(volume, subject)
    checked = with_checked_units(subject, volume, accept=accept_units, advice=ADVICE)
    return tuple(note for note in checked.notes if note not in volume.notes)


def _check_grid(volume: Volume, subject: object) -> None:
    voxels, affine = volume.voxels, np.asarray(volume.affine)
    if voxels.ndim != 3 or not voxels.size:
        found, do = f"voxels of shape {voxels.shape}", "Give the array three axes."
        raise InputError(subject, found=found, expected="[slices, rows, columns]", do=do)
    if voxels.dtype.kind not in "iuf":
        found, do = f"voxels of type {voxels.dtype}", "Give the values of the scan."
        raise InputError(subject, found=found, expected="integers or floats", do=do)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        do = "Use the affine of the file."
        raise InputError(subject, found="an invalid affine", expected="an invertible 4 x 4 matrix", do=do)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if ((steps * AXES.T).sum(axis=0) < ALONG).any():
        raise InputError(
            subject,
            found="axes in another order than a Volume has",
            expected="slices feet to head, rows front to back, columns right to left",
            do="Read it with crossmod.read_volume, which turns it.",
        )


def _check_numbers(volume: Volume, subject: object) -> None:
    broken = int(np.count_nonzero(~np.isfinite(volume.voxels)))
    if broken:
        found = f"{broken} voxels that are NaN or infinite" if broken > 1 else "a voxel that is NaN or infinite"
        raise InputError(subject, found=found, expected="numbers", do="Correct the volume, or omit it.")


def notes_of(volumes: Sequence[Volume], about: About, *, accept_units: bool) -> tuple[str, ...]:
    """Check each volume separately, one per input; returns warnings about their values."""
    several = len(volumes) > 1
    notes = []
    for number, volume in enumerate(volumes, start=1):
        subject = f"{f'input {number}' if several else 'the input'} of {about.name}"
        notes += check_volume(volume, subject, about.source, accept_units=accept_units)
        if about.source == "ct" and about.ct_unit != "HU" and not accept_units:
            expected = f"the {about.ct_unit} unit of the CT that the model was trained on"
            do = f"Prepare the CT in HU and train again. {ADVICE}"
            raise InputError(subject, found=f"CT in {volume.unit}", expected=expected, do=do)
    return tuple(dict.fromkeys(notes))


def in_order(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes in the order of the model's inputs, by `sequence`; those without one fill the rest in order."""
    expected = about.inputs or (about.source,)
    several = len(volumes) > 1
    if len(volumes) != len(expected):
        found = f"{len(volumes)} volume{'s' if several else ''}"
        do = "Give one volume for each, on the command line as --input NAME=PATH."
        raise InputError(about.name, found=found, expected=f"{len(expected)}: {', '.join(expected)}", do=do)
    if any(first is second for first, second in itertools.combinations(volumes, 2)):
        raise InputError(about.name, found="one volume twice", expected="one for each input", do="Give the other one.")
    fitting = (order for order in itertools.permutations(volumes) if all(map(_fits, order, expected)))
    ordered = next(fitting, None)
    if ordered is None:
        found = ", ".join(volume.sequence or "a volume of unknown sequence" for volume in volumes)
        do = "Give those sequences, or another model."
        raise InputError(about.name, found=found, expected=", ".join(expected), do=do)
    return ordered


def on_one_grid(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes on the grid of the first, by their affines."""
    first, *others = volumes
    return (first, *(resample_to(volume, first, subject=about.name) for volume in others))


def _fits(volume: Volume, name: str) -> bool:
    # CT phases have many names, and a model of CT has one input.
    return volume.modality == "ct" or volume.sequence in (None, *name.split("+")) or name == volume.modality
