"""What the pixels of DICOM slices are worth: decoded, and after the rescale slope and intercept, HU for CT.

Notable: float32 holds every integer that 16 stored bits and an integer rescale can give, exactly.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from crossmod.data.dicom.file import quiet, read_dataset
from crossmod.data.dicom.frames import frame_headers, is_multi_frame
from crossmod.data.dicom.slice import DicomSlice
from crossmod.errors import InputError

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


def _padded(header: Dataset, stored: np.ndarray) -> Bool[np.ndarray, "rows columns"]:
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


def _fills(
    padded: Bool[np.ndarray, "rows columns"], values: Float32[np.ndarray, "rows columns"]
) -> Bool[np.ndarray, "rows columns"]:
    """Where the padding value is padding: everywhere if it lies below air, above air where it fills the edge.

    Headers name values that tissue has too, such as 0: a pixel of it inside the body is none of the padding.
    """
    below = padded & (values < AIR_HU)
    higher = padded & (values > ABOVE_AIR_HU)
    if not higher.any():
        return below
    # Only here: most series have no such padding, and whoever reads them needs no SciPy.
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
    do = "Copy this file anew; it may be cut."
    if getattr(syntax, "is_compressed", False):
        do = (
            "Decompress the series first, for instance with gdcmconv --raw or dcmdjpeg; or, if it is cut, copy it anew."
        )
    return InputError(path, found=found, wanted="a whole slice", do=do)


def _rescale(path: Path, header: Dataset, keyword: str, neutral: float) -> float:
    """One number of the rescale; MR may lack it, but without it nobody knows what the values of a CT slice mean."""
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
        wanted = "a number that turns stored values into HU" if header.get("Modality") == "CT" else "a number"
        do = "Export the series anew with its rescale, or convert it to NIfTI with values in HU."
        raise InputError(path, found=text, wanted=wanted, do=do)
    return number
