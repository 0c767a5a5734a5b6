"""What may leave a DICOM header: an allow-list of numbers, and of words out of closed lists.

- Names, dates, ids, UIDs, places and free text (a series description often holds a name) are not on the list.
- Text burnt into the pixels cannot be removed here: it becomes a note and a warning.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

KEPT = (
    "Modality",
    "BodyPartExamined",
    "PatientPosition",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "KVP",
    "XRayTubeCurrent",
    "ExposureTime",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "ScanOptions",
    "ScanningSequence",
    "SequenceVariant",
    "MRAcquisitionType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "EchoTrainLength",
    "NumberOfAverages",
    "MagneticFieldStrength",
)
"""Keywords of the DICOM attributes that a store may hold; `Manufacturer` is added from the closed list below."""

MANUFACTURERS = ("Siemens", "Philips", "GE", "Canon", "Toshiba", "Hitachi", "Fujifilm", "United Imaging")

# Text is kept only if it is one of these: people write what they like into any field, a name as well.
_TERMS: dict[str, frozenset[str]] = {
    "Modality": frozenset({"CT", "MR"}),
    "BodyPartExamined": frozenset(
        {"ABDOMEN", "ABDOMENPELVIS", "CHEST", "CHESTABDOMEN", "LIVER", "PELVIS", "WHOLEBODY"}
    ),
    "PatientPosition": frozenset({"HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"}),
    "ScanOptions": frozenset({"HELIX", "AXIAL", "HELICAL MODE", "AXIAL MODE", "PER", "RG", "CG", "PPG", "FC", "FS"}),
    "ScanningSequence": frozenset({"SE", "IR", "GR", "EP", "RM"}),
    "SequenceVariant": frozenset({"SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"}),
    "MRAcquisitionType": frozenset({"2D", "3D"}),
    "ConvolutionKernel": frozenset({"STANDARD", "SOFT", "DETAIL", "BONE", "LUNG", "A", "B", "C", "D", "E"}),
}
# Siemens names kernels by code: B30f, Br40d, I31f.
_KERNEL = re.compile(r"[A-Z][a-z]?[0-9]{2}[a-z]?")

BURNT_IN = "the file says that text is burnt into the image: look at it before sharing"
SYNTHETIC = "a synthetic image: a network made it, no scanner"
DERIVED = "a derived or secondary image: text may be burnt into it"


def acquisition_of(dataset: Dataset) -> dict[str, Any]:
    """The allow-listed attributes of one DICOM header, as JSON values."""
    found = {keyword: _plain(keyword, dataset.get(keyword)) for keyword in KEPT}
    found["Manufacturer"] = _manufacturer(str(dataset.get("Manufacturer") or ""))
    return {keyword: value for keyword, value in found.items() if value is not None}


def annotation_note(dataset: Dataset) -> str | None:
    """A warning for an image that is synthetic, or has text burnt into it or lets expect that."""
    if str(dataset.get("SyntheticData") or "").upper() == "YES":
        return SYNTHETIC
    burnt_in = str(dataset.get("BurnedInAnnotation") or "").upper()
    if burnt_in == "YES":
        return BURNT_IN
    kinds = {str(kind).upper() for kind in _several(dataset.get("ImageType"))}
    # A file that says outright that nothing is burnt in is believed.
    return DERIVED if kinds & {"DERIVED", "SECONDARY"} and burnt_in != "NO" else None


def distinct_notes(subject: object, notes: Iterable[str | None]) -> tuple[str, ...]:
    """Each note once, and each as a logged warning about `subject`."""
    distinct = tuple(dict.fromkeys(note for note in notes if note))
    for note in distinct:
        logger.warning("%s: %s", subject, note)
    return distinct


def _plain(keyword: str, value: Any) -> Any:
    several = [_plain_one(keyword, part) for part in _several(value)]
    several = [part for part in several if part is not None]
    if not several:
        return None
    return several[0] if len(several) == 1 else several


def _plain_one(keyword: str, value: Any) -> Any:
    if keyword in _TERMS:
        text = str(value).strip()
        known = text in _TERMS[keyword] or (keyword == "ConvolutionKernel" and _KERNEL.fullmatch(text))
        return text if known else None
    if isinstance(value, int):
        return int(value)
    try:
        # Decimal strings come as a subclass of float, or as text where they are not valid.
        number = float(value)
        return number if abs(number) < 1e12 else None
    except (TypeError, ValueError):
        return None


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | bytes | int | float) else list(value)


def _manufacturer(text: str) -> str | None:
    words = re.sub(r"[^a-z]+", " ", text.lower()).split()
    return next((name for name in MANUFACTURERS if name.lower().split()[0] in words), None)
