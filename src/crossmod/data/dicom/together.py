"""Whether several DICOM inputs may be laid over each other: one patient, one frame of reference.

Notable:
- Messages say that ids differ and never what they are.
- A PatientID that was made up for a synthetic series says nothing of who it is.
- Where every slice has a frame of reference of its own, an anonymiser was at work, and it says nothing.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.data.dicom.header import is_dicom
from crossmod.data.dicom.series import slices_in
from crossmod.data.dicom.write import MADE_UP
from crossmod.errors import InputError
from crossmod.files import files_in


@dataclass(frozen=True, repr=False)
class _Whose:
    path: Path
    patients: frozenset[str]
    frames: frozenset[str]


def check_same_frame(paths: Sequence[Path]) -> None:
    """Refuse inputs of different patients, or of different frames of reference.

    Args:
        paths: folders of slices or multi-frame files; what is not DICOM, such as NIfTI, is not judged, and neither is
            an id that a header does not have.

    Raises:
        InputError: PatientID or FrameOfReferenceUID of two of them differ.
    """
    known = [_whose(path) for path in paths if _holds_dicom(path)]
    for one in known:
        if len(one.patients) > 1:
            found = f"slices of {len(one.patients)} patients"
            raise InputError(one.path, found=found, wanted="one patient", do="Give each patient a folder.")
    for first, second in itertools.combinations(known, 2):
        subject = f"{first.path} and {second.path}"
        if _differ(first.patients, second.patients):
            do = "Check which folders you gave; if the ids of one patient differ, correct them."
            raise InputError(subject, found="two patients: their PatientID differ", wanted="one patient", do=do)
        if _differ(first.frames, second.frames):
            found, wanted = "two frames of reference: their FrameOfReferenceUID differ", "images taken in one session"
            do = "Positions cannot be compared: register one to the other, and give the result as NIfTI."
            raise InputError(subject, found=found, wanted=wanted, do=do)


def _differ(first: frozenset[str], second: frozenset[str]) -> bool:
    return len(first) == len(second) == 1 and first != second


def _whose(path: Path) -> _Whose:
    slices = [one for one in slices_in(path)[0] if not one.localizer]
    patients = frozenset(one.patient for one in slices if one.patient and not one.patient.startswith(MADE_UP))
    return _Whose(path, patients, frozenset(one.frame_of_reference for one in slices if one.frame_of_reference))


def _holds_dicom(path: Path) -> bool:
    if path.is_dir():
        return any(is_dicom(file) for file in files_in(path))
    return path.is_file() and is_dicom(path)
