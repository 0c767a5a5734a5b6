"""Attributes of derived DICOM objects: identity, references to the source, and description.

Notable:
- Names of models may come from untrusted bundles; they are reduced to what DICOM allows.
- The first input has the same grid: each of its slices is a slice of the result. The others may be oblique to it; every
  slice next to a pixel of the result is referenced.
- The frame of reference and the UIDs of the source's slices are always kept, so that viewers overlay the result on the
  source, and its origin is known. They identify the patient only with access to the source; some scanners build dates
  into them.
- The UIDs of study and series are kept only with the patient's data. Otherwise each series gets its own PatientID,
  since archives group series without one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from jaxtyping import Bool, Shaped
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom.header import copied, quiet
from crossmod.data.dicom.write import MADE_UP
from crossmod.data.registration import SAME
from crossmod.inference.dicom.source import Source
from crossmod.inference.types import About, Translation
from crossmod.version import __version__

# Share of the slice distance: closer to a slice than this, the other slice does not contribute.
ON_IT = 1e-3


def put_references(one: Dataset, sources: Sequence[Source], index: int, *, keep: bool) -> None:
    """Reference the source slices of a slice."""
    first, *others = sources
    named = [(first, index, True)]
    for other in others:
        named += [(other, at, _on_one_grid(first, other)) for at in slices_through(one, other)]
    items, series = [], {}
    for source, at, same in named:
        header = source.headers[at]
        if not header.get("SOPClassUID") or not header.get("SOPInstanceUID"):
            continue
        item = _instance(header)
        frame = source.slices[at].frame
        if frame is not None:
            item.ReferencedFrameNumber = frame + 1
        item.PurposeOfReferenceCodeSequence = [coded(codes.cid7202.SourceImageForImageProcessingOperation)]
        item.SpatialLocationsPreserved = "YES" if same else "NO"
        items.append(item)
        # Only instances of the same study, which is the source's only if it is kept.
        if keep and header.get("SeriesInstanceUID") and header.get("StudyInstanceUID") == one.StudyInstanceUID:
            instances = series.setdefault(str(header.SeriesInstanceUID), [])
            # Frames of one file are one instance.
            if _instance(header) not in instances:
                instances.append(_instance(header))
    if items:
        one.SourceImageSequence = items
    if series:
        one.ReferencedSeriesSequence = [_series(uid, instances) for uid, instances in series.items()]


def slices_through(one: Dataset, source: Source) -> range:
    """Indexes of the slices of a series that are next to some pixel of the slice with header `one`."""
    along_row, along_column = np.reshape(one.ImageOrientationPatient, (2, 3)).astype(float)
    row_mm, column_mm = (float(length) for length in one.PixelSpacing)
    corner = np.array([float(length) for length in one.ImagePositionPatient])
    ends = [
        corner + down * row_mm * along_column + right * column_mm * along_row
        for down in (0, int(one.Rows) - 1)
        for right in (0, int(one.Columns) - 1)
    ]
    # DICOM axes point to the left and the back, those of affines to the right and the front.
    places = [np.linalg.inv(source.affine) @ [*(end * (-1, -1, 1)), 1] for end in ends]
    along = [float(place[0]) for place in places]
    low, high = int(np.floor(min(along) + ON_IT)), int(np.ceil(max(along) - ON_IT))
    return range(max(low, 0), min(high, len(source.slices) - 1) + 1)


def _on_one_grid(first: Source, other: Source) -> bool:
    same = len(first.slices) == len(other.slices) and first.slices[0].shape == other.slices[0].shape
    return same and bool(np.abs(first.affine - other.affine).max() < SAME)


def _instance(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def _series(uid: str, instances: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, list(instances)
    return item


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

# Irreversible changes of pixels.
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

# Added to the series number, so that no viewer opens a synthetic series first.
BEHIND = 1000

# LO holds 64 letters.
NOT_KEPT = ("crossmod: no patient data written", "UIDs of source images and frame of reference retained")


def coded(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def put_identity(series: Dataset, source: Source | None, *, keep: bool) -> None:
    """Set patient and study of a series."""
    series.PatientIdentityRemoved, series.DeidentificationMethod = "YES", list(NOT_KEPT)
    series.PatientID = MADE_UP + hashlib.sha256(series.StudyInstanceUID.encode()).hexdigest()[:16]
    series.StudyDescription = "Synthetic, not for diagnosis"
    if source is None:
        return
    frame = _common(header.get("FrameOfReferenceUID") for header in source.headers)
    if frame:
        series.FrameOfReferenceUID = frame
    _copy(series, source.headers[0], LOSSY)
    if keep:
        del series.PatientIdentityRemoved, series.DeidentificationMethod, series.StudyDescription
        series.PatientID = ""
        series.SeriesNumber = BEHIND + _number_of(source.headers[0])
        _copy(series, source.headers[0], (*PATIENT, *STUDY))
        study = _common(header.get("StudyInstanceUID") for header in source.headers)
        if study:
            series.StudyInstanceUID = study


def _copy(series: Dataset, header: Dataset, keywords: Iterable[str]) -> None:
    # Values are copied as they are, valid or not; text in another character set is decoded.
    with quiet():
        for keyword in keywords:
            value = header.get(keyword)
            if value is not None:
                several = isinstance(value, MultiValue)
                setattr(series, keyword, [str(part) for part in value] if several else str(value))


def _number_of(header: Dataset) -> int:
    """SeriesNumber; 0 if it is invalid."""
    text = str(header.get("SeriesNumber") or "")
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _common(values: Iterable[object]) -> str:
    """The common value, or "": an anonymiser may have replaced it in every slice."""
    distinct = {str(value or "") for value in values}
    return distinct.pop() if len(distinct) == 1 else ""


# Enough to distinguish models; the whole hash is in DerivationDescription.
HASH_LETTERS = 16

# Attributes of a scan that also hold for its translation, with defined terms.
OF_THE_SCAN = ("BodyPartExamined", "PatientPosition")


def put_description(series: Dataset, translation: Translation) -> None:
    """Set description, equipment and display window."""
    about = translation.about
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SyntheticData = "YES"
    # Of the translation, not of the scan: it distinguishes several results in one study.
    now = datetime.now()
    series.SeriesDate = series.InstanceCreationDate = now.strftime("%Y%m%d")
    series.SeriesTime = series.InstanceCreationTime = now.strftime("%H%M%S")
    series.SeriesDescription = f"Synthetic {about.target.upper()} (not for diagnosis)"
    series.DerivationDescription = derivation(translation)
    equipment = made_by(about)
    for element in equipment:
        series.add(element)
    equipment = copied(equipment)
    equipment.PurposeOfReferenceCodeSequence = [coded(codes.cid7005.ProcessingEquipment)]
    equipment.ContributionDescription = f"{about.source.upper()} to {about.target.upper()} by a neural network"
    series.ContributingEquipmentSequence = [equipment]
    series.PatientPosition = ""
    for keyword in OF_THE_SCAN:
        value = translation.sources[0].acquisition.get(keyword)
        if value:
            setattr(series, keyword, str(value))
    if "BodyPartExamined" not in series:
        # Empty: unknown. It may only be absent for a known, unpaired body part.
        series.Laterality = ""
    _put_window(series, translation)


def made_by(about: About) -> Dataset:
    """Manufacturer, model and versions, for the equipment modules."""
    equipment = Dataset()
    equipment.Manufacturer = "crossmod"
    equipment.ManufacturerModelName = cleaned(about.name, 64) or "unnamed"
    versions = [f"crossmod {__version__}", f"weights {cleaned(about.weights, HASH_LETTERS)}"]
    equipment.SoftwareVersions = [cleaned(version, 64) for version in versions]
    return equipment


def derivation(translation: Translation) -> str:
    """Text of DerivationDescription (at most 1024 bytes)."""
    about = translation.about
    # The references name only the slice itself.
    stack = "" if about.stack == 1 else f"{about.stack} neighbouring slices went into each. "
    return cleaned(
        f"Synthetic {about.target.upper()}, made from {about.source.upper()} by a neural network. Not for diagnosis. "
        f"crossmod {__version__}; model {cleaned(about.name, 200)} ({cleaned(about.family, 64)}), trained with "
        f"crossmod {cleaned(about.version, 32)}, weights SHA-256 {cleaned(about.weights, 64)}. {stack}"
        f"{100 * translation.clipped:.1f} % of the body lies at or beyond the ends of the model's CT window. Outside "
        "the body, the image has the model's lowest value.",
        1024,
    )


def cleaned(text: str, limit: int) -> str:
    """Printable text on one line without the backslash, DICOM's separator; at most `limit` bytes of UTF-8."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text)
    # DICOM counts characters, but many readers bytes.
    return " ".join(plain.split()).encode()[:limit].decode(errors="ignore").strip()


def _put_window(series: Dataset, translation: Translation) -> None:
    """Display window: the model's for CT, the 1st to the 99th percentile of the body for MR."""
    low, high = translation.about.window
    if translation.about.target == "mr":
        low, high = _percentiles(translation.image.voxels, translation.body)
    if high > low:
        series.WindowCenter = format_number_as_ds(float((low + high) / 2))
        # At least 1, since the standard's formula divides by the width minus 1.
        series.WindowWidth = format_number_as_ds(float(max(high - low, 1.0)))


def _percentiles(
    voxels: Shaped[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"]
) -> tuple[float, float]:
    # One pixel of sixteen is enough.
    some = (slice(None), slice(None, None, 4), slice(None, None, 4))
    values = voxels[some][body[some]]
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, (1, 99))
    return float(low), float(high)
