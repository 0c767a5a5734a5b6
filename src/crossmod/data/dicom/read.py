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
    """The values of slices of one size, in the order given.

    Raises:
        InputError: a file ends too early, its compression cannot be read, or it does not say how to rescale.
    """
    values = np.empty((len(slices), *slices[0].shape), dtype=np.float32)
    at = 0
    # Neighbours out of one file share one reading of it.
    for path, group in itertools.groupby(slices, key=lambda one: one.path):
        for one in _values_of(path, [one.frame for one in group]):
            values[at] = one
            at += 1
    return values


def _values_of(path: Path, frames: Sequence[int | None]) -> Iterator[Float32[np.ndarray, "rows columns"]]:
    dataset = read_dataset(path, pixels=True)
    chosen = [frame or 0 for frame in frames]
    with quiet():
        headers = frame_headers(path, dataset) if is_multi_frame(dataset) else [dataset]
    for frame, stored in zip(chosen, _stored(path, dataset, chosen), strict=True):
        slope = _rescale(path, headers[frame], "RescaleSlope", 1.0)
        intercept = _rescale(path, headers[frame], "RescaleIntercept", 0.0)
        values = np.asarray(stored * slope + intercept, dtype=np.float32)
        if headers[frame].get("Modality") == "CT":
            values[_fills(_padded(headers[frame], stored), values)] = AIR_HU
        yield values


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
    try:
        number = int(str(value))
    except ValueError:
        return None
    if signed and number >= bits // 2:
        return number - bits
    return number + bits if not signed and number < 0 else number


def _stored(path: Path, dataset: Dataset, frames: Sequence[int]) -> Iterator[np.ndarray]:
    try:
        with quiet():
            if is_multi_frame(dataset):
                yield from iter_pixels(dataset, indices=frames)
            else:
                yield dataset.pixel_array
    except Exception as error:
        # Each decoder has its own exceptions; what they share is that the pixels of this file cannot be had.
        raise _unreadable(path, dataset, error) from None


def _unreadable(path: Path, dataset: Dataset, error: Exception) -> InputError:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    # The last line names the reason where several decoders were tried.
    lines = str(error).split("\n")
    reason = f"{lines[-1].strip()}; " if lines[-1].strip() else ""
    found = f"pixel data that cannot be read ({reason}transfer syntax: {getattr(syntax, 'name', 'unknown')})"
    do = "Copy this file again; it may be cut."
    if getattr(syntax, "is_compressed", False):
        do = "Decompress the series first, for instance with gdcmconv --raw or dcmdjpeg; if it is cut, copy it again."
    return InputError(path, found=found, expected="a whole slice", do=do)


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
    """A flat header for each frame, with the keywords of single slices.

    Raises:
        InputError: the groups are not as many as the frames.
    """
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
    _lay_agent_flat(common)
    flat = []
    for groups in own:
        one = copied(common)
        _lay_flat(one, [groups])
        flat.append(one)
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


def _lay_agent_flat(header: Dataset) -> None:
    # Enhanced files code the contrast agent and its route; what is read of them is their words.
    agents = header.get("ContrastBolusAgentSequence") or []
    if not agents or header.get("ContrastBolusAgent"):
        return
    header.ContrastBolusAgent = str(agents[0].get("CodeMeaning") or "")
    routes = agents[0].get("ContrastBolusAdministrationRouteSequence") or []
    if routes:
        header.ContrastBolusRoute = str(routes[0].get("CodeMeaning") or "")


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
        return _no_image(path, header)
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


def _no_image(path: Path, header: Dataset) -> NotASlice:
    sop_class = header.get("SOPClassUID")
    name = getattr(sop_class, "name", "")
    # The class is named twice, the first time at the very start: where the two differ, the file was cut in between.
    whole = bool(sop_class) and sop_class == header.file_meta.get("MediaStorageSOPClassUID", sop_class)
    if not whole or "Image Storage" in name:
        raise cut(path)
    return NotASlice(f"a {name} without an image")
