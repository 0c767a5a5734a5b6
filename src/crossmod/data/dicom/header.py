"""The header of one DICOM slice of CT or MR.

The patient's id, sex and year of birth, the study and the frame of reference stay in memory, to decide what belongs
together; they are not shown.
"""

import copy
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from crossmod.config import Modality
from crossmod.data.contrast_agent import contrast_of
from crossmod.data.deidentify import acquisition_of, annotation_note
from crossmod.data.patient_key import trimmed_id
from crossmod.errors import InputError


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; an `InputError` if it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise InputError(path, found=found, expected="a file that you may read", do="Check its permissions.") from None


# Settings that pydicom and Python hold per process: the first thread changes them, the last one restores them.
_LOCK, _SETTINGS = threading.Lock(), ExitStack()
_INSIDE: list[int] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings about values; on several threads at once, too."""
    # Scanners write many values that the standard forbids; none of those that are used here goes unchecked.
    with _LOCK:
        if not _INSIDE:
            _SETTINGS.enter_context(warnings.catch_warnings())
            _SETTINGS.enter_context(pydicom.config.disable_value_validation())
            warnings.simplefilter("ignore")
        _INSIDE.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.pop()
            if not _INSIDE:
                _SETTINGS.close()


def read_dataset(path: Path, *, pixels: bool) -> Dataset:
    """Read a DICOM file, with or without its pixels; an `InputError` if it is cut or damaged."""
    try:
        with path.open("rb") as stream, quiet():
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels)
            # Reading stops at the pixels; without any it comes to the end.
            at_end = not stream.read(1)
            # Values are decoded when they are first asked for: ask now, where a failure can be named.
            dataset.walk(lambda *_: None)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own words say it better
        # A cut file can fail in any part of the parser.
        do = "Copy this file again; it is cut or damaged."
        raise InputError(path, found="a DICOM file that cannot be read", expected="a whole file", do=do) from None
    deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if not pixels and "Rows" in dataset and at_end and not deflated:
        raise cut(path)
    return dataset


def copied(dataset: Dataset) -> Dataset:
    """Another dataset with the same values; `Dataset(dataset)` would share the elements."""
    other = Dataset()
    for element in dataset:
        other.add(copy.copy(element))
    return other


def cut(path: Path) -> InputError:
    """The error for a file that ends before its pixels."""
    do = "Copy this file again; it is cut."
    return InputError(path, found="a file that ends before its pixels", expected="a whole slice", do=do)


MODALITIES: dict[str, Modality] = {"CT": "ct", "MR": "mr"}

# DICOM PS3.3 C.11.1.1.2: what RescaleType may say.
RESCALE_TYPES = {
    "HU": "HU",
    "US": "US (unspecified)",
    "OD": "OD (optical density)",
    "MGML": "mg/ml",
    "Z_EFF": "Z_EFF (effective atomic number)",
    "ED": "ED (electron density)",
    "EDW": "EDW (electron density relative to water)",
    "HU_MOD": "HU_MOD (modified HU)",
    "PCT": "PCT (percent)",
}

# What else writers put there. Other words are not repeated, since people write names anywhere.
HOUNSFIELD = ("HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS", "HOUNSFIELDUNITS", "HOUNSFIELD UNITS HU")
OTHER_WORDS = (
    "NORMALIZED", "NORMALISED", "NONE", "UNKNOWN", "UNSPECIFIED", "UNDEFINED", "N/A", "UNITLESS", "ARBITRARY", "RAW",
    "LINEAR", "IDENTITY", "INTENSITY", "SIGNAL", "PIXEL VALUE", "GRAY", "GREY", "GRAYSCALE", "DENSITY", "ATTENUATION",
    "IODINE", "CALCIUM", "WATER", "FAT", "SUV", "BQML", "CNTS", "PROPCPS", "PERCENT", "%", "1/CM", "CM-1", "1/MM",
    "G/ML", "G/CM3", "MG/CC", "MG/CM3", "MGHA/CM3", "KEV", "OTHER",
)  # fmt: skip
NOT_KNOWN = "a unit that DICOM does not know"
IN_RESCALE_TYPE = "in RescaleType (0028,1054)"

# DICOM PS3.3 C.8.15.3.1.3 and C.8.2.1.1.1: the fourth value of ImageType, of images that are no CT numbers.
MAPS = {
    "MAT_SPECIFIC": "a material map, such as of iodine",
    "MAT_FRACTIONAL": "a map of a material's share",
    "MAT_VALUE_BASED": "a map of a material's value",
    "EFF_ATOMIC_NUM": RESCALE_TYPES["Z_EFF"],
    "ELECTRON_DENSITY": RESCALE_TYPES["ED"],
}


@dataclass(frozen=True)
class NotASlice:
    """A file that is not a slice of CT or MR: what it is, with an article, and whether it is an image, whose loss
    matters."""

    what: str
    image: bool = False


@dataclass(frozen=True)
class DicomSlice:
    """The header of one slice; lengths in millimetres, directions in DICOM's LPS+ axes."""

    path: Path  # the file
    modality: Modality  # `ct` or `mr`
    shape: tuple[int, int]  # rows and columns
    row_step: tuple[float, ...]  # the direction in which the row index grows, times the distance between rows
    column_step: tuple[float, ...]  # the same for columns
    position: tuple[float, ...]  # the centre of the first pixel
    thickness: float | None  # distance to the next slice by the header, for a series of one slice
    echo_time: float | None  # milliseconds
    patient: str = field(repr=False)  # the patient's id without padding; never written anywhere
    localizer: bool  # whether it is a scout view
    acquisition: dict[str, Any]  # allow-listed attributes
    note: str | None  # a warning about burnt-in text, or that it is synthetic
    contrast: bool | None = None  # CT: True if the header names a contrast agent; otherwise None
    frame: int | None = None  # index in a multi-frame file, from 0; None for a file of one slice
    number: int | None = None  # the SeriesNumber
    frame_of_reference: str = field(default="", repr=False)  # its UID, empty if missing; `study` also
    study: str = field(default="", repr=False)
    # CT: unit of the values by the header, out of a closed list; None if it does not say
    stated_unit: str | None = None
    # the patient's; with `born`, the year of birth, it shows an id given to several people
    sex: str = field(default="", repr=False)
    born: int | None = field(default=None, repr=False)

    @property
    def other_values(self) -> str | None:
        """What the values are where they are plainly no CT numbers: such slices are a series of their own."""
        return None if self.stated_unit in (None, RESCALE_TYPES["HU"], RESCALE_TYPES["US"]) else self.stated_unit

    @property
    def name(self) -> str:
        """What to call it in messages: the file's name, and the frame as people count."""
        return self.path.name if self.frame is None else f"{self.path.name}, frame {self.frame + 1}"


def whole_number(value: object) -> int | None:
    """A value as a whole number, if it is one."""
    try:
        return int(str(value))
    except ValueError:
        return None


def slice_of(path: Path, header: Dataset, *, frame: int | None = None) -> DicomSlice:
    """The slice that a header of CT or MR describes; one without its place or pixel size is refused."""
    spacing = _numbers(path, header, "PixelSpacing", 2, "the pixel size")
    if min(spacing) <= 0:
        found = f"a PixelSpacing of {spacing[0]:g} x {spacing[1]:g}"
        raise InputError(path, found=found, expected="millimetres above 0", do="Correct or leave out this series.")
    directions = _numbers(path, header, "ImageOrientationPatient", 6, "the directions of rows and columns")
    along_row, along_column = np.array(directions[:3]), np.array(directions[3:])
    echo_time = header.get("EchoTime")
    gap = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    kinds = header.get("ImageType") or ()
    return DicomSlice(
        path=path,
        modality=MODALITIES[str(header.Modality)],
        shape=(int(header.Rows), int(header.Columns)),
        row_step=tuple(float(part) for part in along_column * spacing[0]),
        column_step=tuple(float(part) for part in along_row * spacing[1]),
        position=_numbers(path, header, "ImagePositionPatient", 3, "the place of the slice"),
        thickness=abs(float(gap)) if gap else None,
        echo_time=float(echo_time) if echo_time is not None else None,
        patient=trimmed_id(header.get("PatientID")),
        localizer="LOCALIZER" in [str(kind).upper() for kind in kinds],
        acquisition=acquisition_of(header),
        note=annotation_note(header),
        # Gadolinium is named in the same place.
        contrast=contrast_of(header) if str(header.Modality) == "CT" else None,
        frame=frame,
        number=whole_number(header.get("SeriesNumber")),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        study=str(header.get("StudyInstanceUID") or ""),
        stated_unit=_stated_unit(header) if str(header.Modality) == "CT" else None,
        sex=trimmed_id(header.get("PatientSex")).upper(),
        born=_year_of_birth(header),
    )


def _stated_unit(header: Dataset) -> str | None:
    """What RescaleType and ImageType say of the values; their own words only out of lists: they may hold anything."""
    kinds = header.get("ImageType") or ()
    words = {str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)}
    for word, what in MAPS.items():
        if word in words:
            return what
    text = " ".join(re.sub(r"[_()]", " ", str(header.get("RescaleType") or "").upper()).split())
    known = RESCALE_TYPES.get(text.replace(" ", "_")) or (RESCALE_TYPES["MGML"] if text == "MG/ML" else None)
    if not text or known:
        return known
    if text in HOUNSFIELD:
        return RESCALE_TYPES["HU"]
    return f"{NOT_KNOWN}: {text if text in OTHER_WORDS else 'free text'} {IN_RESCALE_TYPE}"


def _year_of_birth(header: Dataset) -> int | None:
    """From the date of birth, else from the age at the study; None where the header has neither."""
    year = re.match(r"\d{4}", trimmed_id(header.get("PatientBirthDate")))
    if year:
        return int(year[0])
    age = re.fullmatch(r"(\d{1,3})Y", trimmed_id(header.get("PatientAge")).upper())
    study = re.match(r"\d{4}", trimmed_id(header.get("StudyDate")))
    return int(study[0]) - int(age[1]) if age and study else None


def _numbers(path: Path, header: Dataset, keyword: str, count: int, meaning: str) -> tuple[float, ...]:
    value = header.get(keyword)
    try:
        numbers = tuple(float(part) for part in value or ())
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        found = f"no {keyword}" if value is None else f"{keyword} {value!s}"
        do = "Export the series with its geometry, or convert it to NIfTI."
        raise InputError(path, found=found, expected=f"{count} numbers for {meaning}", do=do)
    return numbers
