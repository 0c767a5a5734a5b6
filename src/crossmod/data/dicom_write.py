"""A volume as a DICOM series, one 16-bit file a slice, with new UIDs and nobody's name.

Notable:
- Slices are axial, unless the volume came from a coronal or sagittal series (or NIfTI), which is given back as such.
- Integer HU are stored with slope 1 and intercept -1024, exactly; other values with the slope that spreads their range
  over 16 bits, so that a value moves by at most half a 65535th of the range.
- Of the acquisition nothing is written: a translated volume would claim an echo time that it never had.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom_geometry import LPS_TO_RAS, MOST_TILT_DEGREES
from crossmod.data.store_writer import check_values
from crossmod.data.volume import CANONICAL, Volume, reorient
from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full

CT_INTERCEPT = -1024

# How a radiologist looks at each plane: columns to the patient's left (or back), rows to the back (or feet).
PLANES = {"S": CANONICAL, "I": CANONICAL, "A": ("P", "I", "L"), "P": ("P", "I", "L")}
PLANES |= {"R": ("R", "I", "P"), "L": ("R", "I", "P")}


@dataclass(frozen=True)
class Stored:
    """Values as 16-bit numbers: `value = stored * slope + intercept`."""

    pixels: Shaped[np.ndarray, "slices rows columns"]
    slope: float
    intercept: float

    @property
    def signed(self) -> bool:
        """Whether the stored numbers may be negative."""
        return self.pixels.dtype == np.int16


def write_dicom_series(volume: Volume, folder: Path) -> None:
    """Write a volume's voxels as a DICOM series; labels are not written.

    Args:
        volume: what to write.
        folder: a new or empty folder; it appears when all slices are written.

    Raises:
        InputError: the folder holds something, the disk is full, or the volume is sheared, which DICOM cannot say.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, found="something in it", wanted="a new folder", do="Choose another folder.")
    check_values(folder, volume.voxels)
    # The last axis of a file is its slice axis; the canonical order is that of volumes that came from no file.
    codes = CANONICAL if volume.orientation == CANONICAL else PLANES[volume.orientation[2]]
    voxels, affine = reorient(volume.voxels, volume.affine, codes)
    _check_square(folder, affine)
    stored = as_16_bit(voxels, hounsfield=volume.modality == "ct")
    series = _series(volume, stored, LPS_TO_RAS @ affine[:3, :3])
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir()
        for index in range(len(voxels)):
            position = LPS_TO_RAS @ (affine[:3, :3] @ [index, 0, 0] + affine[:3, 3])
            _write_slice(temporary / f"{index + 1:05d}.dcm", series, stored, index, position)
        temporary.replace(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise


def as_16_bit(voxels: Shaped[np.ndarray, "slices rows columns"], *, hounsfield: bool) -> Stored:
    """Find the 16-bit numbers for `voxels`: exact for integers in range, evenly spread otherwise."""
    lowest, highest = float(voxels.min()), float(voxels.max())
    intercept = CT_INTERCEPT if hounsfield else 0
    if (voxels == np.rint(voxels)).all():
        for dtype in (np.uint16, np.int16):
            limits = np.iinfo(dtype)
            if limits.min <= lowest - intercept and highest - intercept <= limits.max:
                return Stored((voxels.astype(np.float64) - intercept).astype(dtype), 1.0, float(intercept))
    # What a reader will multiply by is the text in the file, so the division uses that text.
    slope = float(format_number_as_ds((highest - lowest) / 65535)) or 1.0
    base = float(format_number_as_ds(lowest))
    steps = np.rint((voxels.astype(np.float64) - base) / slope)
    return Stored(np.clip(steps, 0, 65535).astype(np.uint16), slope, base)


def _check_square(folder: Path, affine: np.ndarray) -> None:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(3)).max()
    angle = float(np.degrees(np.arcsin(min(cosines, 1.0))))
    if angle > MOST_TILT_DEGREES:
        found = f"axes {angle:.1f} degrees off a right angle"
        do = "Resample the volume to a straight grid first, or write NIfTI."
        raise InputError(folder, found=found, wanted="axes at right angles, which is all that DICOM can say", do=do)


def _series(volume: Volume, stored: Stored, axes: np.ndarray) -> Dataset:
    """What all slices share; the type-2 attributes are there and empty, as the standard wants."""
    spacing = np.linalg.norm(axes, axis=0)
    series = Dataset()
    series.SOPClassUID = CTImageStorage if volume.modality == "ct" else MRImageStorage
    series.StudyInstanceUID, series.SeriesInstanceUID, series.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    series.ImageType = (
        ["DERIVED", "SECONDARY", "AXIAL"] if volume.modality == "ct" else ["DERIVED", "SECONDARY", "OTHER"]
    )
    for empty in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(series, empty, "")
    for empty in ("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator"):
        setattr(series, empty, "")
    series.Modality = volume.modality.upper()
    series.SeriesNumber, series.AcquisitionNumber = 1, 1
    series.BurnedInAnnotation = "NO"
    series.PatientIdentityRemoved, series.DeidentificationMethod = "YES", "crossmod: written without identity"
    if volume.modality == "ct":
        series.KVP = None
    else:
        # Research mode, since the true sequence is not known here; both attributes must not be empty.
        series.ScanningSequence, series.SequenceVariant, series.ScanOptions = "RM", "NONE", ""
        series.MRAcquisitionType, series.EchoTime, series.EchoTrainLength = "", None, None
    series.SliceThickness = series.SpacingBetweenSlices = format_number_as_ds(float(spacing[0]))
    series.PixelSpacing = [format_number_as_ds(float(length)) for length in spacing[1:]]
    directions = (axes / spacing).T
    series.ImageOrientationPatient = [format_number_as_ds(float(part)) for part in (*directions[2], *directions[1])]
    series.SamplesPerPixel, series.PhotometricInterpretation = 1, "MONOCHROME2"
    series.Rows, series.Columns = stored.pixels.shape[1:]
    series.BitsAllocated, series.BitsStored, series.HighBit = 16, 16, 15
    series.PixelRepresentation = int(stored.signed)
    if volume.modality == "ct" or (stored.slope, stored.intercept) != (1.0, 0.0):
        series.RescaleSlope = format_number_as_ds(stored.slope)
        series.RescaleIntercept = format_number_as_ds(stored.intercept)
        series.RescaleType = "HU" if volume.modality == "ct" else "US"
    return series


def _write_slice(path: Path, series: Dataset, stored: Stored, index: int, position: np.ndarray) -> None:
    one = Dataset(series)
    one.SOPInstanceUID = generate_uid()
    one.InstanceNumber = index + 1
    one.ImagePositionPatient = [format_number_as_ds(float(part)) for part in position]
    one.PixelData = stored.pixels[index].astype(stored.pixels.dtype.newbyteorder("<")).tobytes()
    one["PixelData"].VR = "OW"
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = series.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.save_as(path, enforce_file_format=True)
