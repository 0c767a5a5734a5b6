"""One DICOM file: what kind of thing it is, and the slices in it.

Notable: a file holds slices, or it is something else that is named (`NotASlice`), or it is broken (an error).
"""

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from crossmod.data.dicom.file import cut, is_dicom, quiet, read_dataset
from crossmod.data.dicom.frames import frame_headers, is_multi_frame
from crossmod.data.dicom.slice import MODALITIES, DicomSlice, NotASlice, slice_of
from crossmod.errors import InputError

# Names that promise an image: such a file that is no DICOM is a broken slice, not a stranger to be ignored.
IMAGE_SUFFIXES = (".dcm", ".dicom", ".ima")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_headers(path: Path) -> tuple[DicomSlice, ...] | NotASlice:
    """Read one file's header: one slice, or the frames of a multi-frame file.

    Raises:
        InputError: the file ends too early, or holds a slice without its place or pixel size.
    """
    if not is_dicom(path):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            size = path.stat().st_size
            found = f"{size} byte{'s' if size != 1 else ''} that are not DICOM"
            raise InputError(path, found=found, wanted="a DICOM slice", do="Restore or remove this file.")
        return NotASlice("a file that is not DICOM")
    header = read_dataset(path, pixels=False)
    kind = _not_a_slice(path, header)
    if kind is not None:
        return kind
    if not is_multi_frame(header):
        return (slice_of(path, header),)
    with quiet():
        flat = frame_headers(path, header)
    return tuple(slice_of(path, one, frame=index) for index, one in enumerate(flat))


def _not_a_slice(path: Path, header: Dataset) -> NotASlice | None:
    if path.name.upper() == "DICOMDIR" or "DirectoryRecordSequence" in header:
        return NotASlice("a DICOMDIR")
    if "Rows" not in header or "Columns" not in header:
        return _no_image(path, header)
    if header.get("SOPClassUID") == SegmentationStorage:
        # Drawn on a series and of no use without it: it may lie beside its slices.
        return NotASlice("a DICOM segmentation")
    colour = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if int(header.get("SamplesPerPixel") or 1) != 1 or not colour.startswith("MONOCHROME"):
        return NotASlice(f"a colour image ({colour})", image=True)
    if str(header.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURE):
        return NotASlice("a secondary capture (a screenshot or scan of a picture)", image=True)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1 and not is_multi_frame(header):
        what = f"a multi-frame file of {frames} frames that does not say where each of them lies (no functional groups)"
        return NotASlice(what, image=True)
    modality = str(header.get("Modality") or "none")
    return None if modality in MODALITIES else NotASlice(f"an image of modality {modality}", image=True)


def _no_image(path: Path, header: Dataset) -> NotASlice:
    sop_class = header.get("SOPClassUID")
    name = getattr(sop_class, "name", "")
    # The class is named twice, the first time at the very start: where the two differ, the file was cut in between.
    whole = bool(sop_class) and sop_class == header.file_meta.get("MediaStorageSOPClassUID", sop_class)
    if not whole or "Image Storage" in name:
        raise cut(path)
    return NotASlice(f"a {name} without an image")
