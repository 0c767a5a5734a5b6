"""Whose a derived series is: the patient's data if it is to be kept, and the frame of reference in any case.

Notable:
- The frame of reference and the UIDs of the source's slices are kept always: without the one, the result opens beside
  the source and not on it; without the others, nobody can say what it was made from. They name nobody, but lead whoever
  has the source to the patient, and some scanners build dates into them.
- The UIDs of study and series go along with the patient's data only. Without them each series is a person of its own:
  an archive would put all that have no PatientID together.
"""

import hashlib
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code

from crossmod.data.dicom.header import quiet
from crossmod.data.dicom.write import MADE_UP
from crossmod.inference.dicom.source import Source

PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
)
STUDY = ("StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName")

# Says of the pixels what no later step can undo.
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

# Behind the series of the scanner, so that no viewer opens a synthetic one first.
BEHIND = 1000

# LO holds 64 letters.
NOT_KEPT = ("crossmod: no patient data written", "UIDs of source images and frame of reference retained")


def coded(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def put_identity(series: Dataset, source: Source | None, *, keep: bool) -> None:
    """Say whose the series is.

    Args:
        series: the header that all slices share; its patient is empty.
        source: what it was made from, where that is DICOM.
        keep: copy patient and study.
    """
    series.PatientIdentityRemoved, series.DeidentificationMethod = "YES", list(NOT_KEPT)
    series.PatientID = MADE_UP + hashlib.sha256(series.StudyInstanceUID.encode()).hexdigest()[:16]
    series.StudyDescription = "Synthetic, not for diagnosis"
    if source is None:
        return
    frame = _the_only(header.get("FrameOfReferenceUID") for header in source.headers)
    if frame:
        series.FrameOfReferenceUID = frame
    _copy(series, source.headers[0], LOSSY)
    if keep:
        del series.PatientIdentityRemoved, series.DeidentificationMethod, series.StudyDescription
        series.PatientID = ""
        series.SeriesNumber = BEHIND + _number_of(source.headers[0])
        _copy(series, source.headers[0], (*PATIENT, *STUDY))
        study = _the_only(header.get("StudyInstanceUID") for header in source.headers)
        if study:
            series.StudyInstanceUID = study


def _copy(series: Dataset, header: Dataset, keywords: Iterable[str]) -> None:
    # What the scanner wrote is passed on as it is, valid or not; text that came in another alphabet is decoded.
    with quiet():
        for keyword in keywords:
            value = header.get(keyword)
            if value is not None:
                several = isinstance(value, MultiValue)
                setattr(series, keyword, [str(part) for part in value] if several else str(value))


def _number_of(header: Dataset) -> int:
    """SeriesNumber, where it is one."""
    text = str(header.get("SeriesNumber") or "")
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _the_only(values: Iterable[object]) -> str:
    """The value that all share, or nothing: an anonymiser may have given every slice its own."""
    distinct = {str(value or "") for value in values}
    return distinct.pop() if len(distinct) == 1 else ""
