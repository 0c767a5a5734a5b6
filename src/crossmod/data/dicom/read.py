"""DICOM files, classic and multi-frame, to pixel values.

- float32 holds every integer that 16 stored bits and an integer rescale can give, exactly.
- A file holds slices, or it is something else (`NotASlice`), or it is broken (an error).
- Attributes of a frame are in functional groups, shared or its own. Flattened, they read like the header of a single
  slice, so that the same code handles both.
- A file of several frames without such groups does not say where they are.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import SegmentationStorage

from crossmod.data.dicom.header import (
    MODALITIES,
    DicomSlice,
    NotASlice,
    copied,
    cut,
    is_dicom,
    quiet,
    read_dataset,
    slice_of,
    whole_number,
)
from crossmod.errors import InputError

Mask = Bool[np.ndarray, "rows columns"]

# What padding of CT becomes: the lowest HU of a scale of 12 bits, which is air. -3024 would be below any HU.
AIR_HU = -1024.0
# Above this no air lies.
ABOVE_AIR_HU = -850.0
# Share of a slice that padding above air fills at least, from the edge: the corners around a circle are a fifth.
LEAST_FILLED = 0.01


def read_values(slices: Sequence[DicomSlice]) -> Float32[np.ndarray, "slices rows columns"]:
    """The values of slices of one size, in the order given; an `InputError` if they cannot be read or rescaled."""
    values = np.empty((len(slices), *slices[0].shape), dtype=np.float32)
    at = itertools.count()
    # Neighbours out of one file share one reading of it.
    for path, group in itertools.groupby(slices, key=lambda one: one.path):
        dataset = read_dataset(path, pixels=True)
        frames = [one.frame or 0 for one in group]
        with quiet():
            headers = frame_headers(path, dataset) if is_multi_frame(dataset) else [dataset]
        for header, stored in zip((headers[frame] for frame in frames), _stored(path, dataset, frames), strict=True):
            slope = _rescale(path, header, "RescaleSlope", 1.0)
            intercept = _rescale(path, header, "RescaleIntercept", 0.0)
            one = np.asarray(stored * slope + intercept, dtype=np.float32)
            if header.get("Modality") == "CT":
                one[_fills(_padded(header, stored), one)] = AIR_HU
            values[next(at)] = one
    return values


def _padded(header: Dataset, stored: np.ndarray) -> Mask:
    """Which pixels only fill the picture around a round field of view (DICOM PS3.3 C.7.5.1.1.2)."""
    with quiet():
        ends = [header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")]
    bits = 2 ** int(header.get("BitsAllocated") or 16)
    signed = bool(header.get("PixelRepresentation"))
    known = [_as_stored(value, bits, signed) for value in ends if value not in (None, "")]
    if ends[0] in (None, "") or None in known:
        return np.zeros(stored.shape, dtype=bool)
    numbers = [value for value in known if value is not None]
    return (stored >= min(numbers)) & (stored <= max(numbers))


def _fills(padded: Mask, values: Float32[np.ndarray, "rows columns"]) -> Mask:
    """Where padding is: everywhere below air; above air, where tissue may have its value, only if it fills the edge."""
    below = padded & (values < AIR_HU)
    higher = padded & (values > ABOVE_AIR_HU)
    if not higher.any():
        return below
    # Only here: most series have no such padding, and reading them needs no SciPy.
    from scipy import ndimage

    edge = np.zeros_like(higher)
    edge[[0, -1]], edge[:, [0, -1]] = higher[[0, -1]], higher[:, [0, -1]]
    filled = ndimage.binary_propagation(edge, mask=higher)
    return np.logical_or(below, filled) if filled.mean() >= LEAST_FILLED else below


def _as_stored(value: object, bits: int, signed: bool) -> int | None:
    """A padding value as pixels hold it: writers mix up signed and unsigned."""
    number = whole_number(value)
    if number is None or (signed and number < bits // 2) or (not signed and number >= 0):
        return number
    return number - bits if signed else number + bits


def _stored(path: Path, dataset: Dataset, frames: Sequence[int]) -> Iterator[np.ndarray]:
    try:
        with quiet():
            if is_multi_frame(dataset):
                yield from iter_pixels(dataset, indices=frames)
            else:
                yield dataset.pixel_array
    except Exception as error:
        # Each decoder has its own exceptions; what they share is that the pixels of this file cannot be had.
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        # The last line names the reason where several decoders were tried.
        reason = str(error).split("\n")[-1].strip()
        reason = f"{reason}; " if reason else ""
        found = f"pixel data that cannot be read ({reason}transfer syntax: {getattr(syntax, 'name', 'unknown')})"
        do = "Copy this file again; it may be cut."
        if getattr(syntax, "is_compressed", False):
            decompress = "Decompress the series first, for instance with gdcmconv --raw or dcmdjpeg"
            do = f"{decompress}; if it is cut, copy it again."
        raise InputError(path, found=found, expected="a whole slice", do=do) from None


def _rescale(path: Path, header: Dataset, keyword: str, neutral: float) -> float:
    """One number of the rescale; MR may lack it, but without it the values of a CT slice have no meaning."""
    with quiet():
        value = header.get(keyword)
        absent = value is None or value == ""
        if absent and header.get("Modality") != "CT":
            return neutral
        try:
            number = float(str(value))
        except (TypeError, ValueError):
            number = float("nan")
        text = f"no {keyword}" if absent else f"{keyword} {value!s}"
    if not np.isfinite(number):
        expected = "a number that turns stored values into HU" if header.get("Modality") == "CT" else "a number"
        do = "Export the series again with its rescale, or convert it to NIfTI with values in HU."
        raise InputError(path, found=text, expected=expected, do=do)
    return number


SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

# The functional groups whose attributes are, or stand for, those of a single slice.
GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "CTImageFrameTypeSequence",
    "CTGeometrySequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "MRImageFrameTypeSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRAveragesSequence",
    # The same for files that were converted from single slices.
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)

# What a single slice calls otherwise.
RENAMED = {"FrameType": "ImageType", "EffectiveEchoTime": "EchoTime"}


def is_multi_frame(header: Dataset) -> bool:
    """Whether a file holds frames with functional groups."""
    return SHARED in header or PER_FRAME in header


def frame_headers(path: Path, header: Dataset) -> list[Dataset]:
    """A flat header for each frame, with the keywords of single slices; an `InputError` if groups are missing."""
    frames = int(header.get("NumberOfFrames") or 1)
    own = list(header.get(PER_FRAME) or [])
    if len(own) != frames:
        found = f"{frames} frame{'s' if frames != 1 else ''} and functional groups for {len(own)}"
        raise InputError(path, found=found, expected="a group for each frame", do="Export the series again.")
    common = copied(header)
    for keyword in (SHARED, PER_FRAME):
        if keyword in common:
            delattr(common, keyword)
    _lay_flat(common, header.get(SHARED) or [])
    # Enhanced files code the contrast agent and its route; what is read of them is their words.
    agents = common.get("ContrastBolusAgentSequence") or []
    if agents and not common.get("ContrastBolusAgent"):
        common.ContrastBolusAgent = str(agents[0].get("CodeMeaning") or "")
        routes = agents[0].get("ContrastBolusAdministrationRouteSequence") or []
        if routes:
            common.ContrastBolusRoute = str(routes[0].get("CodeMeaning") or "")
    flat = [copied(common) for _ in own]
    for one, groups in zip(flat, own, strict=True):
        _lay_flat(one, [groups])
    return flat


def _lay_flat(header: Dataset, groups: Sequence[Dataset]) -> None:
    for group in groups:
        for sequence in GROUPS:
            for item in group.get(sequence) or []:
                for element in item:
                    header.add(element)
    for old, new in RENAMED.items():
        if header.get(old) not in (None, ""):
            setattr(header, new, header.get(old))


# Names that promise an image: such a file that is no DICOM is a broken slice, not a stranger to be ignored.
IMAGE_SUFFIXES = (".dcm", ".dicom", ".ima")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_headers(path: Path) -> tuple[DicomSlice, ...] | NotASlice:
    """One slice, or the frames of a multi-frame file, by the headers; an `InputError` if the file is cut or broken."""
    if not is_dicom(path):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            size = path.stat().st_size
            found = f"{size} byte{'s' if size != 1 else ''} that are not DICOM"
            raise InputError(path, found=found, expected="a DICOM slice", do="Restore or remove this file.")
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
        sop_class = header.get("SOPClassUID")
        name = getattr(sop_class, "name", "")
        # The class is named twice, the first time at the very start: where they differ, the file was cut in between.
        whole = bool(sop_class) and sop_class == header.file_meta.get("MediaStorageSOPClassUID", sop_class)
        if not whole or "Image Storage" in name:
            raise cut(path)
        return NotASlice(f"a {name} without an image")
    if header.get("SOPClassUID") == SegmentationStorage:
        # Drawn on a series and useless without it: it may be in the folder of its slices.
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
