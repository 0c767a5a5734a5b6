"""Attributes of derived DICOM objects: identity, references to the source, and description.

Notable: names of models may come out of a bundle that a stranger made; they are cut to what DICOM allows.

Notable:
- The first input has the same grid: a slice of it is a slice of the result. The others may lie askew to it; of them
  every slice is named between which a pixel of the result may lie.
- The frame of reference and the UIDs of the source's slices are kept always: without the one, the result opens beside
  the source and not on it; without the others, nobody can say what it was made from. They name nobody, but lead whoever
  has the source to the patient, and some scanners build dates into them.
- The UIDs of study and series go along with the patient's data only. Without them each series is a person of its own:
  an archive would put all that have no PatientID together.
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

# Of the distance between two slices: closer to one than this, the other has no part in it.
ON_IT = 1e-3


def put_references(one: Dataset, sources: Sequence[Source], index: int, *, keep: bool) -> None:
    """Say which slices a slice was made from.

    Args:
        one: the header of the slice, with its place.
        sources: the series of the inputs that are DICOM, the one first whose grid the result has.
        index: the slice, in the order of positions.
        keep: name the series of the sources too.
    """
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
        # Instances of the same study: the study is the source's only where it is kept.
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
    """The slices of a series, by their order, between which some pixel of a slice lies; those that there are.

    Args:
        one: the header of the slice.
        source: the series.
    """
    along_row, along_column = np.reshape(one.ImageOrientationPatient, (2, 3)).astype(float)
    row_mm, column_mm = (float(length) for length in one.PixelSpacing)
    corner = np.array([float(length) for length in one.ImagePositionPatient])
    ends = [
        corner + down * row_mm * along_column + right * column_mm * along_row
        for down in (0, int(one.Rows) - 1)
        for right in (0, int(one.Columns) - 1)
    ]
    # DICOM counts towards the left and the back, affines towards the right and the front.
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


# Long enough to be told from other models at a glance; the whole hash is in DerivationDescription.
HASH_LETTERS = 16

# Attributes of a scan that hold for what is made from it, in the words of closed lists.
OF_THE_SCAN = ("BodyPartExamined", "PatientPosition")


def put_description(series: Dataset, translation: Translation) -> None:
    """Write what the series is, what made it and how to show it."""
    about = translation.about
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SyntheticData = "YES"
    # Of the making, not of the scan: several results in one study are told apart by it.
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
        # Empty: unknown. It may only be absent where the body part is known and there is one of it.
        series.Laterality = ""
    _put_window(series, translation)


def made_by(about: About) -> Dataset:
    """Manufacturer, model and versions, for the equipment modules."""
    made = Dataset()
    made.Manufacturer = "crossmod"
    made.ManufacturerModelName = cleaned(about.name, 64) or "unnamed"
    versions = [f"crossmod {__version__}", f"weights {cleaned(about.weights, HASH_LETTERS)}"]
    made.SoftwareVersions = [cleaned(version, 64) for version in versions]
    return made


def derivation(translation: Translation) -> str:
    """What was done, for DerivationDescription (at most 1024 bytes)."""
    about = translation.about
    return cleaned(
        f"Synthetic {about.target.upper()}, made from {about.source.upper()} by a neural network. Not for diagnosis. "
        f"crossmod {__version__}; model {cleaned(about.name, 200)} ({cleaned(about.family, 64)}), trained with "
        f"crossmod {cleaned(about.version, 32)}, weights SHA-256 {cleaned(about.weights, 64)}. {_stack(about)}"
        f"{100 * translation.clipped:.1f} % of the body lies at or beyond the ends of the CT window that the model "
        "knows. Outside the body nothing was made: it has the model's lowest value.",
        1024,
    )


def _stack(about: About) -> str:
    # The references name the slice alone.
    return "" if about.stack == 1 else f"{about.stack} neighbouring slices went into each. "


def cleaned(text: str, limit: int) -> str:
    """Printable text on one line without the backslash, which parts values in DICOM; at most `limit` bytes of UTF-8."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text)
    # DICOM counts letters, but many readers bytes.
    return " ".join(plain.split()).encode()[:limit].decode(errors="ignore").strip()


def _put_window(series: Dataset, translation: Translation) -> None:
    """How a viewer shows it at first: CT in the model's window, MR from the 1st to the 99th percentile of the body."""
    low, high = translation.about.window
    if translation.about.target == "mr":
        low, high = _percentiles(translation.image.voxels, translation.body)
    if high > low:
        series.WindowCenter = format_number_as_ds(float((low + high) / 2))
        # Below 1 the standard's formula divides by nothing; MR in fractions is shown by the viewer's own choice.
        series.WindowWidth = format_number_as_ds(float(max(high - low, 1.0)))


def _percentiles(
    voxels: Shaped[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"]
) -> tuple[float, float]:
    # One pixel of sixteen tells as much, of a body of any size that is worth a look.
    some = (slice(None), slice(None, None, 4), slice(None, None, 4))
    values = voxels[some][body[some]]
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, (1, 99))
    return float(low), float(high)
