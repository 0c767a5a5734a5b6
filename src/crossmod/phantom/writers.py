"""The phantom written as CHAOS, DICOM or NIfTI folders.

- The headers hold names, dates, ids and UIDs on purpose, all invented, to test that an importer leaves them behind. As
  in CHAOS, anonymisation split the series: every slice has study and series UIDs of its own.
- It writes through nibabel alone, not through crossmod's own writer, so that a mistake in one is not hidden by the same
  mistake in the other.
- `Train_Sets/CT/<id>/{DICOM_anon,Ground}` and `Train_Sets/MR/<id>/{T1DUAL,T2SPIR}/{DICOM_anon,Ground}`.
- CT masks are binary and know the liver alone; MR masks are gray: liver 63, right kidney 126, left kidney 189,
  spleen 252. One set of masks serves both T1 phases and has the names of the in-phase slices.
- File names, instance numbers and positions are unrelated, and the masks of some CT cases have the reverse order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
from jaxtyping import Bool, Int16
from nibabel.nifti1 import Nifti1Image
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from crossmod.data.volume import Affine, Labels, Volume, Voxels
from crossmod.files import write_json
from crossmod.phantom.scanners import SCANNERS, MrSource, Scanner
from crossmod.phantom.tissues import ORGANS

CT_STORAGE = UID("1.2.840.10008.5.1.4.1.1.2")
MR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.4")

# CT is stored from 0 on: this much was added to HU.
CT_OFFSET = 1000

_NUMBER_WORDS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


@dataclass(frozen=True)
class Identity:
    """An invented person: `number` (from 0) makes name, id and dates, `key` the UIDs."""

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
    """Write one slice (feet to head) of HU or 12-bit MR; a CT whose `contrast` is True names its agent in the
    header."""
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


GRAY_OF_LABEL = np.array([0, 63, 126, 189, 252], np.uint8)

Order = Literal["up", "down", "interleaved"]


@dataclass(frozen=True)
class Quirks:
    """How the files of one case are numbered."""

    # Order of slices by file name: feet to head, head to feet, or as an interleaved scan takes them
    files: Order = "down"
    instances_backwards: bool = False  # whether instance numbers fall as file names rise
    masks_backwards: bool = False  # whether the last mask by name belongs to the first slice by name
    old_names: bool = False  # `i0000,0000b.dcm` instead of `IMG-0002-00001.dcm` (CT only)


# Cases take these in turn, so that a small phantom has the common quirks and a larger one has them all.
CT_QUIRKS = (
    Quirks(files="down", old_names=True),
    Quirks(files="up", masks_backwards=True),
    Quirks(files="down", instances_backwards=True),
    Quirks(files="interleaved"),
    Quirks(files="down", instances_backwards=True, masks_backwards=True, old_names=True),
)
MR_QUIRKS = (
    Quirks(files="up"),
    Quirks(files="down", instances_backwards=True),
    Quirks(files="interleaved"),
)


def write_ct_case(folder: Path, volume: Volume, labels: Labels, identity: Identity, quirks: Quirks) -> None:
    """Write one CT patient, in HU, to `.../CT/<id>`; of the labels the liver (1) alone."""
    order = slice_order(len(volume.voxels), quirks.files)
    names = [
        f"i{place:04d},0000b.dcm" if quirks.old_names else f"IMG-0002-{place + 1:05d}.dcm"
        for place in range(len(order))
    ]
    _write_series(folder / "DICOM_anon", volume, order, names, identity, quirks)
    drawn = order[::-1] if quirks.masks_backwards else order
    # Boolean pixels make a PNG of one bit, as the published ones are.
    _write_masks(folder / "Ground", labels == 1, drawn, [f"liver_GT_{place:03d}" for place in range(len(order))])


def write_mr_case(
    folder: Path,
    volumes: dict[str, Volume],
    labels: Labels,
    identity: Identity,
    quirks: Quirks,
    *,
    source: MrSource = 1,
) -> None:
    """Write one MR patient, all sequences on one grid, to `.../MR/<id>`."""
    order = slice_order(len(labels), quirks.files)
    # The two phases were taken together: out of phase has the odd numbers, in phase the even ones.
    in_phase, out_phase, t2 = (
        [f"IMG-{series}-{step * place + first:05d}.dcm" for place in range(len(order))]
        for series, step, first in (("0004", 2, 2), ("0004", 2, 1), ("0002", 1, 1))
    )
    for sequence, part, names in (
        ("t1_in", "T1DUAL/DICOM_anon/InPhase", in_phase),
        ("t1_out", "T1DUAL/DICOM_anon/OutPhase", out_phase),
        ("t2_spir", "T2SPIR/DICOM_anon", t2),
    ):
        _write_series(folder / part, volumes[sequence], order, names, identity, quirks, source)
    for part, names in (("T1DUAL/Ground", in_phase), ("T2SPIR/Ground", t2)):
        _write_masks(folder / part, GRAY_OF_LABEL[labels], order, [name.removesuffix(".dcm") for name in names])


def slice_order(slices: int, order: Order) -> list[int]:
    """The slices (feet to head) in the order of their file names."""
    up = list(range(slices))
    return {"up": up, "down": up[::-1], "interleaved": up[::2] + up[1::2]}[order]


def _write_series(
    folder: Path,
    volume: Volume,
    order: list[int],
    names: list[str],
    identity: Identity,
    quirks: Quirks,
    source: MrSource = 1,
) -> None:
    folder.mkdir(parents=True)
    for place, (index, name) in enumerate(zip(order, names, strict=True)):
        instance = len(order) - place if quirks.instances_backwards else place + 1
        write_slice(folder / name, volume, index, identity=identity, instance=instance, source=source)


def _write_masks(folder: Path, masks: Bool[np.ndarray, "..."] | Labels, order: list[int], names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name, index in zip(names, order, strict=True):
        Image.fromarray(masks[index]).save(folder / f"{name}.png")


def write_nifti_case(folder: Path, volumes: dict[str, Volume], labels: Labels) -> None:
    """Write one patient to a new folder: images of one grid by file name without ending, and labels by the values of
    `ORGANS`."""
    folder.mkdir(parents=True)
    for name, volume in volumes.items():
        _write(folder / f"{name}.nii.gz", volume.voxels, volume.affine)
    _write(folder / "label.nii.gz", labels, next(iter(volumes.values())).affine)


def write_label_names(folder: Path) -> None:
    """Write `labels.json` beside the patients' folders."""
    names = {"background": 0, **{organ: value for value, organ in ORGANS.items()}}
    write_json(folder / "labels.json", {"labels": names})


def _write(path: Path, values: Voxels, affine: Affine) -> None:
    # [slice, row, column] runs to S, P, L; columns, rows and slices turned round run to R, A, S.
    turned = np.ascontiguousarray(values[:, ::-1, ::-1].transpose(2, 1, 0))
    world = np.zeros((4, 4))
    world[:3, 0], world[:3, 1], world[:3, 2] = -affine[:3, 2], -affine[:3, 1], affine[:3, 0]
    world[:, 3] = affine @ [0, values.shape[1] - 1, values.shape[2] - 1, 1]
    image = Nifti1Image(turned, world)
    image.header.set_xyzt_units("mm")
    image.set_sform(world, code=1)
    image.set_qform(world, code=1)
    nibabel.save(image, path)
