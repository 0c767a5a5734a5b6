"""The phantom as DICOM: one file a slice, with a scanner's attributes and an invented person's.

Notable: the headers hold names, dates, ids and UIDs on purpose, all invented, so that an importer can be seen to leave
them behind. As in CHAOS, anonymisation tore series apart: every slice has study and series UIDs of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from crossmod.data.volume import Volume
from crossmod.phantom.mr_sources import SCANNERS, MrSource, Scanner

CT_STORAGE = UID("1.2.840.10008.5.1.4.1.1.2")
MR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.4")

# CT is stored from 0 on: this much was added to HU.
CT_OFFSET = 1000

_NUMBER_WORDS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


@dataclass(frozen=True)
class Identity:
    """An invented person.

    Args:
        number: from 0; makes name, ids and dates.
        key: what UIDs are made from; another key, other UIDs.
    """

    number: int
    key: str

    @property
    def name(self) -> str:
        """DICOM person name, such as `Phantom^One`."""
        word = _NUMBER_WORDS[self.number] if self.number < len(_NUMBER_WORDS) else f"Number {self.number + 1}"
        return f"Phantom^{word}"

    @property
    def birth_date(self) -> str:
        """`YYYYMMDD`."""
        return f"{1940 + 7 * self.number % 50}{1 + self.number % 12:02d}{1 + 3 * self.number % 28:02d}"

    def uid(self, *parts: object) -> UID:
        """A UID that belongs to this person and `parts`."""
        return generate_uid(entropy_srcs=[self.key, str(self.number), *map(str, parts)])


def write_slice(
    path: Path, volume: Volume, index: int, *, identity: Identity, instance: int, source: MrSource = 1
) -> None:
    """Write one slice of a volume.

    Args:
        path: the `.dcm` file.
        volume: HU, or 12-bit MR; a CT whose `contrast` is True names its agent in the header.
        index: which slice, feet to head.
        identity: whose.
        instance: the instance number.
        source: of MR.
    """
    name = f"{volume.modality}-{volume.sequence}-{index}"
    storage = CT_STORAGE if volume.modality == "ct" else MR_STORAGE
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = identity.uid("instance", name)
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if volume.modality == "ct" else ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = storage
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.StudyInstanceUID = identity.uid("study", name)
    header.SeriesInstanceUID = identity.uid("series", name)
    header.FrameOfReferenceUID = identity.uid("frame", name)
    header.InstanceNumber = instance
    _describe_person(header, identity)
    _describe_place(header, volume, index)
    if volume.modality == "ct":
        _describe_ct(header, bool(volume.contrast))
    else:
        _describe_mr(header, volume.sequence or "t1_in", SCANNERS[source])
    _put_pixels(header, volume.voxels[index].astype(np.int16))
    header.save_as(path, enforce_file_format=True)


def _describe_person(header: Dataset, identity: Identity) -> None:
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName = identity.name
    header.PatientID = f"PH{identity.number:06d}"
    header.OtherPatientIDs = f"OLD-PH{identity.number:06d}"
    header.PatientBirthDate = identity.birth_date
    header.PatientSex = "O"
    header.ReferringPhysicianName = "Phantom^Referrer"
    header.OperatorsName = "Phantom^Operator"
    header.InstitutionName = "Phantom Hospital"
    header.InstitutionAddress = "1 Phantom Street"
    header.StationName = "PHANTOM1"
    header.DeviceSerialNumber = "PH-4711"
    header.AccessionNumber = f"ACC{identity.number:05d}"
    header.StudyID = str(identity.number + 1)
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20010203"
    header.StudyTime = header.ContentTime = "123456"
    header.SeriesDescription = f"Liver of {identity.name.replace('^', ' ')}"
    header.ImageComments = "A phantom: no person was scanned"


def _describe_place(header: Dataset, volume: Volume, index: int) -> None:
    right, front, up = (volume.affine @ [index, 0, 0, 1])[:3]
    between, row, column = volume.spacing
    # DICOM counts to the left and to the back.
    header.ImagePositionPatient = [_decimal(-right), _decimal(-front), _decimal(up)]
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    header.PixelSpacing = [_decimal(row), _decimal(column)]
    header.SliceThickness = _decimal(between)
    header.SliceLocation = _decimal(up)
    header.PatientPosition = "HFS"
    header.SeriesNumber = 4


def _describe_ct(header: Dataset, agent: bool) -> None:
    header.Modality = "CT"
    header.Manufacturer = "Phantom"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"]
    header.KVP = "120"
    header.ConvolutionKernel = "B"
    header.RescaleIntercept = str(-CT_OFFSET)
    header.RescaleSlope = "1"
    header.WindowCenter, header.WindowWidth = "50", "400"
    if agent:
        # In the words of CHAOS.
        header.ContrastBolusAgent, header.ContrastBolusRoute = "CONTRAST", "IV"


def _describe_mr(header: Dataset, sequence: str, scanner: Scanner) -> None:
    repetition, echo, flip = scanner.times[sequence]
    header.Modality = "MR"
    header.Manufacturer = "Phantom"
    header.ImageType = ["ORIGINAL", "PRIMARY", "M_SE" if sequence == "t2_spir" else "M_FFE", "M"]
    header.ScanningSequence = "SE" if sequence == "t2_spir" else "GR"
    header.SequenceVariant = "NONE"
    header.ScanOptions = "FS" if sequence == "t2_spir" else ""
    header.MRAcquisitionType = "3D" if scanner.volumetric and sequence != "t2_spir" else "2D"
    header.MagneticFieldStrength = str(scanner.tesla)
    header.RepetitionTime, header.EchoTime, header.FlipAngle = str(repetition), str(echo), str(flip)
    header.SpacingBetweenSlices = header.SliceThickness
    header.WindowCenter, header.WindowWidth = "500", "1000"


def _put_pixels(header: Dataset, values: Int16[np.ndarray, "rows columns"]) -> None:
    stored = (values + CT_OFFSET if header.Modality == "CT" else values).astype("<u2")
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = stored.shape
    header.BitsAllocated = 16
    header.BitsStored = 16 if header.Modality == "CT" else 12
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = 0
    header.PixelData = stored.tobytes()


def _decimal(value: float) -> str:
    # A DICOM decimal string has at most 16 characters.
    return f"{value:.6f}"
