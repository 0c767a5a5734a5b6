"""DICOM and CHAOS folders for tests, written with pydicom alone and full of what must not leak."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

SECRETS = ("Musterfrau", "Erika", "19641212", "ID-4711-XYZ", "Charite-Sued", "SECRET-DESCRIPTION", "Dr-Geheim")

Change = Callable[[Dataset, int], None]


def nothing(dataset: Dataset, index: int) -> None:
    """Change nothing."""


def write_slice(path: Path, dataset: Dataset) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


def a_slice(stored: np.ndarray, index: int, *, modality: str = "CT", step: float = 3.0) -> Dataset:
    """One axial slice; every slice has its own UIDs, as CHAOS has."""
    one = Dataset()
    one.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID = generate_uid(), generate_uid(), generate_uid()
    one.Modality = modality
    one.PatientName, one.PatientID, one.PatientBirthDate = "Musterfrau^Erika", "ID-4711-XYZ", "19641212"
    one.StudyDate = one.SeriesDate = "19641212"
    one.InstitutionName, one.ReferringPhysicianName = "Charite-Sued", "Dr-Geheim"
    one.SeriesDescription = one.ProtocolName = "SECRET-DESCRIPTION"
    one.ImagePositionPatient = [-10.5, -20.25, 100 + step * index]
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = [0.75, 1.5], 5
    one.Rows, one.Columns = stored.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelRepresentation = 0
    if modality == "CT":
        one.RescaleSlope, one.RescaleIntercept, one.KVP = 1, -1000, 120
    else:
        one.EchoTime = 70
    one.PixelData = stored.astype("<u2").tobytes()
    one["PixelData"].VR = "OW"
    return one


def write_series(
    folder: Path,
    stored: np.ndarray,
    *,
    modality: str = "CT",
    change: Change = nothing,
    names: Sequence[str] | None = None,
    step: float = 3.0,
) -> list[Path]:
    """Write `[slice, row, column]` stored values, feet to head; `change` may spoil each slice before it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(stored):
        one = a_slice(pixels, index, modality=modality, step=step)
        change(one, index)
        paths.append(folder / (names[index] if names else f"i{index}.dcm"))
        write_slice(paths[-1], one)
    return paths


def edit(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def body(slices: int = 6, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Stored CT values and a liver mask, feet to head; the liver lies in the upper slices, and is uniform."""
    rng = np.random.default_rng(1)
    stored = rng.integers(0, 900, (slices, size, size)).astype(np.uint16)
    mask = np.zeros(stored.shape, dtype=bool)
    for index in range(slices // 2, slices):
        mask[index, 3 : 6 + index, 2 : 5 + index] = True
    stored[mask] = rng.integers(1095, 1105, int(mask.sum()))
    return stored, mask


def write_masks(ground: Path, masks: np.ndarray | Sequence[np.ndarray], *, stem: str = "liver_GT_{:03d}") -> None:
    ground.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(ground / f"{stem.format(index)}.png")


def chaos_ct(root: Path, number: str = "1", *, reverse_masks: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A CHAOS CT patient: files named head to feet, as published; masks in that order, or against it."""
    stored, mask = body()
    folder = root / "CT" / number
    names = [f"i{len(stored) - 1 - index:04d},0000b.dcm" for index in range(len(stored))]
    write_series(folder / "DICOM_anon", stored, names=names)
    write_masks(folder / "Ground", (mask if reverse_masks else mask[::-1]) * 255)
    return stored, mask


def chaos_mr(root: Path, number: str = "10", *, swap: bool = False) -> np.ndarray:
    """A CHAOS MR patient with T1 (both phases) and T2; returns the labels, feet to head."""
    stored, mask = body()
    labels = mask.astype(np.uint8)
    labels[0, :2, :2], labels[1, :2, :2], labels[2, :2, :2] = 2, 3, 4
    grey = np.array([0, 63, 126, 189, 252], dtype=np.uint8)[labels]
    names = [f"IMG-0004-{index + 1:05d}.dcm" for index in range(len(stored))]

    def echo(time: float) -> Change:
        return lambda dataset, _: setattr(dataset, "EchoTime", time)

    t1, t2 = root / "MR" / number / "T1DUAL", root / "MR" / number / "T2SPIR"
    phases = ("OutPhase", "InPhase") if swap else ("InPhase", "OutPhase")
    write_series(t1 / "DICOM_anon" / phases[0], stored, modality="MR", change=echo(4.6), names=names)
    write_series(t1 / "DICOM_anon" / phases[1], stored + 1, modality="MR", change=echo(2.3), names=names)
    write_series(t2 / "DICOM_anon", stored, modality="MR", names=names)
    for sequence in (t1, t2):
        write_masks(sequence / "Ground", grey, stem="IMG-0004-{:05d}")
    return labels


def compress_with_gdcm(path: Path, syntax: str) -> None:
    """Compress a file in its place; `syntax` is a name of gdcm's, such as `JPEGLosslessProcess14_1`."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def put(dataset: Dataset, **values: object) -> None:
    """Set several attributes."""
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def item(**attributes: object) -> Dataset:
    """A dataset, such as an item of a sequence."""
    one = Dataset()
    put(one, **attributes)
    return one


def frame_groups(index: int, *, modality: str = "CT", step: float = 3.0) -> Dataset:
    """The functional groups of one frame, with the place of `a_slice`; rescale and echo time are a frame's own."""
    groups = item(
        FrameContentSequence=[item(DimensionIndexValues=[index + 1])],
        PlanePositionSequence=[item(ImagePositionPatient=[-10.5, -20.25, 100 + step * index])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    if modality == "CT":
        rescale = item(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU")
        groups.PixelValueTransformationSequence = [rescale]
        groups.CTImageFrameTypeSequence = [item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]
    else:
        groups.MREchoSequence = [item(EffectiveEchoTime=70.0)]
        groups.MRImageFrameTypeSequence = [item(FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"])]
    return groups


def enhanced(stored: np.ndarray, *, modality: str = "CT", order: Sequence[int] | None = None) -> Dataset:
    """A multi-frame file of `[slice, row, column]` stored values, feet to head; `order`: which slice each frame is."""
    frames = list(order) if order is not None else list(range(len(stored)))
    one = a_slice(stored[0], 0, modality=modality)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(one, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "KVP", "EchoTime"):
        if keyword in one:
            delattr(one, keyword)
    one.SOPClassUID = EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage
    one.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    one.NumberOfFrames = len(frames)
    measures = item(PixelSpacing=[0.75, 1.5], SliceThickness=5)
    one.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[measures])]
    one.PerFrameFunctionalGroupsSequence = [frame_groups(index, modality=modality) for index in frames]
    one.PixelData = stored[frames].astype("<u2").tobytes()
    one["PixelData"].VR = "OW"
    return one
