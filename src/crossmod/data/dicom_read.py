"""One DICOM file: what kind of thing it is, where its slice lies, what its pixels are worth.

Notable:
- A file is a slice, or it is something else that is named (`NotASlice`), or it is broken (an error).
- The patient's id stays in memory, to tell patients apart; nothing else that identifies a person is kept.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.config
from jaxtyping import Float32
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from crossmod.config import Modality
from crossmod.data.contrast import contrast_of
from crossmod.data.identity import acquisition_of, annotation_note
from crossmod.errors import InputError

MODALITIES: dict[str, Modality] = {"CT": "ct", "MR": "mr"}

# Names that promise an image: such a file that is no DICOM is a broken slice, not a stranger to be ignored.
IMAGE_SUFFIXES = (".dcm", ".dicom", ".ima")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class NotASlice:
    """A file that is no slice of a CT or MR series.

    Args:
        what: what it is, with an article.
        image: whether it is an image all the same, so that leaving it out would lose something.
    """

    what: str
    image: bool = False


@dataclass(frozen=True)
class DicomSlice:
    """What the header of one slice says; lengths in millimetres, directions in DICOM's LPS+ axes.

    Args:
        path: the file.
        modality: `ct` or `mr`.
        shape: rows and columns.
        row_step: the direction in which the row index grows, times the distance between rows.
        column_step: the same for columns.
        position: the centre of the first pixel.
        thickness: the distance to the next slice as the header gives it, for a series of one slice.
        echo_time: milliseconds, where the header has it.
        patient: the patient's id; never written anywhere.
        localizer: whether it is a scout view.
        acquisition: allow-listed attributes.
        note: a warning about burnt-in text.
        contrast: CT: True where the header names a contrast agent; None else.
    """

    path: Path
    modality: Modality
    shape: tuple[int, int]
    row_step: tuple[float, ...]
    column_step: tuple[float, ...]
    position: tuple[float, ...]
    thickness: float | None
    echo_time: float | None
    patient: str
    localizer: bool
    acquisition: dict[str, Any]
    note: str | None
    contrast: bool | None = None


def read_header(path: Path) -> DicomSlice | NotASlice:
    """Read one file's header.

    Raises:
        InputError: the file ends too early, or is a slice without its place or pixel size.
    """
    is_dicom = _is_dicom(path)
    if not is_dicom:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            size = path.stat().st_size
            found = f"{size} byte{'s' if size != 1 else ''} that are not DICOM"
            raise InputError(path, found=found, wanted="a DICOM slice", do="Restore or remove this file.")
        return NotASlice("a file that is not DICOM")
    header = _read(path, pixels=False)
    kind = _not_a_slice(path, header)
    return kind if kind is not None else _slice(path, header)


def read_pixels(path: Path) -> Float32[np.ndarray, "rows columns"]:
    """The values of one slice, after the rescale slope and intercept: HU for CT.

    float32 holds every integer that 16 stored bits and an integer rescale can give, exactly.

    Raises:
        InputError: the file ends too early, its compression cannot be read, or it does not say how to rescale.
    """
    dataset = _read(path, pixels=True)
    try:
        with _quiet():
            stored = dataset.pixel_array
    except Exception as error:
        # Each decoder has its own exceptions; what they share is that the pixels of this file cannot be had.
        syntax = getattr(dataset.file_meta.get("TransferSyntaxUID"), "name", "unknown")
        reason = f"{str(error).splitlines()[0]}; " if str(error) else ""
        found = f"pixel data that cannot be read ({reason}transfer syntax: {syntax})"
        raise InputError(path, found=found, wanted="a whole slice", do="Copy this file anew; it may be cut.") from None
    values = stored * _rescale(path, dataset, "RescaleSlope", 1.0) + _rescale(path, dataset, "RescaleIntercept", 0.0)
    return np.asarray(values, dtype=np.float32)


def _rescale(path: Path, dataset: Dataset, keyword: str, neutral: float) -> float:
    """One number of the rescale; MR may lack it, but without it nobody knows what the values of a CT slice mean."""
    with _quiet():
        value = dataset.get(keyword)
        absent = value is None or value == ""
        if absent and dataset.get("Modality") != "CT":
            return neutral
        try:
            number = float(str(value))
        except (TypeError, ValueError):
            number = float("nan")
        text = f"no {keyword}" if absent else f"{keyword} {value!s}"
    if not np.isfinite(number):
        wanted = "a number that turns stored values into HU" if dataset.get("Modality") == "CT" else "a number"
        do = "Export the series anew with its rescale, or convert it to NIfTI with values in HU."
        raise InputError(path, found=text, wanted=wanted, do=do)
    return number


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise InputError(path, found=found, wanted="a file that you may read", do="Check its permissions.") from None


@contextmanager
def _quiet() -> Iterator[None]:
    # Scanners write many values that the standard forbids; none of those that are used here goes unchecked.
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _read(path: Path, *, pixels: bool) -> Dataset:
    try:
        with path.open("rb") as stream, _quiet():
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels)
            # Reading stops at the pixels; without any it comes to the end.
            at_end = not stream.read(1)
            # Values are decoded when they are first asked for: ask now, where a failure can be named.
            dataset.walk(lambda *_: None)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own words say it better
        # A cut file can fail in any part of the parser.
        do = "Copy this file anew; it is cut or damaged."
        raise InputError(path, found="a DICOM file that cannot be read", wanted="a whole file", do=do) from None
    deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if not pixels and "Rows" in dataset and at_end and not deflated:
        raise _cut(path)
    return dataset


def _cut(path: Path) -> InputError:
    do = "Copy this file anew; it is cut."
    return InputError(path, found="a file that ends before its pixels", wanted="a whole slice", do=do)


def _not_a_slice(path: Path, header: Dataset) -> NotASlice | None:
    if path.name.upper() == "DICOMDIR" or "DirectoryRecordSequence" in header:
        return NotASlice("a DICOMDIR")
    if "Rows" not in header or "Columns" not in header:
        return _no_image(path, header)
    colour = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if int(header.get("SamplesPerPixel") or 1) != 1 or not colour.startswith("MONOCHROME"):
        return NotASlice(f"a colour image ({colour})", image=True)
    if str(header.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURE):
        return NotASlice("a secondary capture (a screenshot or scan of a picture)", image=True)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        what = f"a multi-frame file of {frames} frames, which crossmod cannot read yet (convert it to single frames)"
        return NotASlice(what, image=True)
    modality = str(header.get("Modality") or "none")
    return None if modality in MODALITIES else NotASlice(f"an image of modality {modality}", image=True)


def _no_image(path: Path, header: Dataset) -> NotASlice:
    sop_class = header.get("SOPClassUID")
    name = getattr(sop_class, "name", "")
    # The class is named twice, the first time at the very start: where the two differ, the file was cut in between.
    whole = bool(sop_class) and sop_class == header.file_meta.get("MediaStorageSOPClassUID", sop_class)
    if not whole or "Image Storage" in name:
        raise _cut(path)
    return NotASlice(f"a {name} without an image")


def _slice(path: Path, header: Dataset) -> DicomSlice:
    spacing = _numbers(path, header, "PixelSpacing", 2, "the pixel size")
    if min(spacing) <= 0:
        found = f"a PixelSpacing of {spacing[0]:g} x {spacing[1]:g}"
        raise InputError(path, found=found, wanted="millimetres above 0", do="Correct or leave out this series.")
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
        patient=str(header.get("PatientID") or ""),
        localizer="LOCALIZER" in [str(kind).upper() for kind in kinds],
        acquisition=acquisition_of(header),
        note=annotation_note(header),
        # Gadolinium is named in the same place.
        contrast=contrast_of(header) if str(header.Modality) == "CT" else None,
    )


def _numbers(path: Path, header: Dataset, keyword: str, count: int, meaning: str) -> tuple[float, ...]:
    value = header.get(keyword)
    try:
        numbers = tuple(float(part) for part in value or ())
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        found = f"no {keyword}" if value is None else f"{keyword} {value!s}"
        do = "Export the series with its geometry, or convert it to NIfTI."
        raise InputError(path, found=found, wanted=f"{count} numbers for {meaning}", do=do)
    return numbers
