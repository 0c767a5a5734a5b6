"""A volume as a DICOM series: one 16-bit file per slice, with new UIDs and no identity.

- Slices are axial, unless the volume came from a coronal or sagittal series (or NIfTI), whose plane is kept.
- Integer HU are stored with slope 1 and intercept -1024, exactly; other values with the slope that spreads their range
  over 16 bits, so that a value moves by at most half a 65535th of the range.
- The acquisition is not written: a translated volume would claim an echo time that it never had.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from crossmod.config import Modality
from crossmod.data.dicom.geometry import Layout
from crossmod.data.dicom.header import copied
from crossmod.data.volume import Voxels

CT_INTERCEPT = -1024
# Begins a PatientID that was made up here: an archive puts all that have none into one person's folder.
MADE_UP = "crossmod-"

# Type 2: present, and empty if unknown.
EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator"),
)


@dataclass(frozen=True)
class Stored:
    """Values as 16-bit numbers: `value = stored * slope + intercept`."""

    pixels: Voxels
    slope: float
    intercept: float
    unit: str = "US"
    """RescaleType: `HU`, or unspecified."""


def as_16_bit(voxels: Voxels, *, hounsfield: bool) -> Stored:
    """Find the 16-bit numbers for `voxels`: exact for integers in range, evenly spread otherwise."""
    lowest, highest = float(voxels.min()), float(voxels.max())
    intercept, unit = (float(CT_INTERCEPT), "HU") if hounsfield else (0.0, "US")
    if is_whole(voxels):
        for dtype in (np.uint16, np.int16):
            limits = np.iinfo(dtype)
            if limits.min <= lowest - intercept and highest - intercept <= limits.max:
                return Stored(_steps(voxels, 1.0, intercept, dtype), 1.0, intercept, unit)
    # What a reader will multiply by is the text in the file, so the division uses that text.
    slope = float(format_number_as_ds((highest - lowest) / 65535)) or 1.0
    base = float(format_number_as_ds(lowest))
    return Stored(_steps(voxels, slope, base, np.uint16), slope, base, unit)


def is_whole(voxels: Voxels) -> bool:
    """Whether every value is an integer."""
    return all(np.array_equal(one, np.rint(one)) for one in voxels)


def _steps(voxels: Voxels, slope: float, base: float, dtype: type[np.integer]) -> Voxels:
    limits = np.iinfo(dtype)
    pixels = np.empty(voxels.shape, dtype=dtype)
    # Slice by slice: float64 of a large volume would take gigabytes.
    for index, one in enumerate(voxels):
        pixels[index] = np.clip(np.rint((one.astype(np.float64) - base) / slope), limits.min, limits.max)
    return pixels


def series_header(modality: Modality, layout: Layout, stored: Stored) -> Dataset:
    """What all slices share; the type-2 attributes are there and empty, as the standard wants."""
    series = Dataset()
    series.SOPClassUID = CTImageStorage if modality == "ct" else MRImageStorage
    series.StudyInstanceUID, series.SeriesInstanceUID, series.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    series.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "ct" else "OTHER"]
    for empty in EMPTY:
        setattr(series, empty, "")
    series.Modality = modality.upper()
    series.SeriesNumber, series.AcquisitionNumber = 1, 1
    series.BurnedInAnnotation = "NO"
    series.PatientIdentityRemoved, series.DeidentificationMethod = "YES", "crossmod: written without identity"
    if modality == "ct":
        series.KVP = None
    else:
        # Research mode, since the true sequence is not known here; both attributes must not be empty.
        series.ScanningSequence, series.SequenceVariant, series.ScanOptions = "RM", "NONE", ""
        series.MRAcquisitionType, series.EchoTime, series.EchoTrainLength = "", None, None
        series.RepetitionTime = None
    layout.put(series)
    series.SamplesPerPixel, series.PhotometricInterpretation = 1, "MONOCHROME2"
    series.Rows, series.Columns = stored.pixels.shape[1:]
    series.BitsAllocated, series.BitsStored, series.HighBit = 16, 16, 15
    series.PixelRepresentation = int(stored.pixels.dtype == np.int16)  # whether the stored numbers are signed
    if modality == "ct" or (stored.slope, stored.intercept) != (1.0, 0.0):
        series.RescaleSlope = format_number_as_ds(stored.slope)
        series.RescaleIntercept = format_number_as_ds(stored.intercept)
        series.RescaleType = stored.unit
    return series


def slice_name(index: int) -> str:
    """The file of a slice, counted from 0."""
    return f"{index + 1:05d}.dcm"


def slice_header(series: Dataset, layout: Layout, index: int) -> Dataset:
    """The header of one slice, with a new SOPInstanceUID."""
    one = copied(series)
    one.SOPInstanceUID = generate_uid()
    one.InstanceNumber = index + 1
    one.ImagePositionPatient = list(layout.positions[index])
    return one


def write_slice(path: Path, header: Dataset, pixels: Shaped[np.ndarray, "rows columns"]) -> None:
    """Write one slice; `header` is left without the pixels."""
    one = copied(header)
    one.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    one["PixelData"].VR = "OW"
    put_file_meta(one)
    one.save_as(path, enforce_file_format=True)


def put_file_meta(one: Dataset) -> None:
    """Give a header the meta information of a file: explicit VR, little endian, not compressed."""
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
