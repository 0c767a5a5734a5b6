"""The square of millimetres that a model sees of a slice, where it is centred, and resampling to its pixels and back.

- Training, synthesis, segmentation, evaluation and translation all use this one resampling.
- Nothing is stretched: pixels that are not square in the scan become square, and a slice is cut or padded.
- Linear resampling by two small matrices, one per axis. Where pixels are merged the kernel is a triangle as wide as the
  new pixel, so that nothing is aliased (the filter of Pillow and of torch's `antialias`). A pixel whose centre is
  outside the scan gets the fill value, and all others only values of the scan.
- Each label is resampled separately, and a pixel gets the one with the largest share: by the nearest pixel alone, an
  organ's area would vary more with the position of the grid.
- Each slice is computed separately: how many are computed together changes no bit.
- `whole` frames are those of models trained before frames were in millimetres: the whole slice, padded to a square and
  scaled (`crossmod.data.resample.to_size`), to the last bit. Only these need torch.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Num, UInt8

from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Affine, Volume
from crossmod.settings import FrameKind

# Millimetres: grids this alike are the same.
SAME_MM = 1e-6
# Shares of a pixel this alike are equal.
EVEN = 1e-5
# Decimals of a position in pixels: what lies below is rounding.
DECIMALS = 9

Pair = tuple[float, float]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """The pixels that a model sees of the slices of one volume."""

    size: int  # pixels per side
    pixel_mm: Pair  # mm per pixel along rows and columns; equal unless the frame is `whole`
    centre: Pair  # the frame's centre: mm from the centre of the volume's first pixel, along rows and columns
    whole: bool = False  # the whole field of view, padded to a square and scaled

    @property
    def first(self) -> Pair:
        """Where the centre of its first pixel lies, in the millimetres of `centre`."""
        down, along = (c - (self.size - 1) / 2 * mm for c, mm in zip(self.centre, self.pixel_mm, strict=True))
        return down, along

    def resized(self, size: int) -> "Frame":
        """Pixels of the same millimetres around the same centre, more or fewer of them."""
        return replace(self, size=size)

    def take(
        self, slices: Num[np.ndarray, "slices rows columns"], spacing: Pair, fill: float
    ) -> Float32[np.ndarray, "slices size size"]:
        """Slices on the frame's pixels; `spacing` in mm, `fill` outside the field of view."""
        return self._resampled(slices, slices.shape[1:], spacing, fill)

    def take_labels(
        self, labels: UInt8[np.ndarray, "slices rows columns"], spacing: Pair
    ) -> UInt8[np.ndarray, "slices size size"]:
        """Labels on the frame's pixels: those that have most of each; 0 outside of the field of view."""
        return self._resampled(labels, labels.shape[1:], spacing, None)

    def back(
        self, images: Float32[np.ndarray, "slices size size"], shape: Shape, spacing: Pair, fill: float
    ) -> Float32[np.ndarray, "slices rows columns"]:
        """Images on the pixels of a volume with slices of `shape`; `spacing` in mm, `fill` outside the frame."""
        return self._resampled(images, shape, spacing, fill, back=True)

    def labels_back(
        self, labels: UInt8[np.ndarray, "slices size size"], shape: Shape, spacing: Pair
    ) -> UInt8[np.ndarray, "slices rows columns"]:
        """Labels on the pixels of the volume: those that have most of each; 0 outside of the frame."""
        return self._resampled(labels, shape, spacing, None, back=True)

    def _resampled(
        self, images: np.ndarray, shape: tuple[int, ...], spacing: Pair, fill: float | None, *, back: bool = False
    ) -> np.ndarray:
        """Images, or labels (no fill), on the frame's pixels or `back` on those of slices of `shape`."""
        height, width = shape
        if self.whole:
            from crossmod.data.resample import stretched

            return stretched(images, (height, width), spacing, self.size, fill, back=back)
        rows, columns = (
            _way(count, self.size, -first / own, mm / own, lower=True)
            if back
            else _way(self.size, count, first / mm, own / mm)
            for count, mm, own, first in zip(shape, spacing, self.pixel_mm, self.first, strict=True)
        )
        made = _most(rows, columns, images) if fill is None else _linear(rows, columns, images)
        made[:, ~rows.inside] = fill or 0
        made[:, :, ~columns.inside] = fill or 0
        return made

    def place(self, volume: Volume, fill: float | None = None) -> Volume:
        """A volume on the frame's pixels, with their affine; unchanged if these are its own.

        `fill` is the value outside the field of view; default: the volume's lowest.
        """
        spacing, (rows, columns) = volume.spacing[1:], volume.voxels.shape[1:]
        apart = [abs(mm - own) for mm, own in zip(spacing, self.pixel_mm, strict=True)]
        # Over the whole slice: a difference of spacing grows with every pixel.
        alike = max(apart) * self.size < SAME_MM and max(map(abs, self.first)) < SAME_MM
        if alike and (rows, columns) == (self.size, self.size):
            return volume
        fill = float(volume.voxels.min()) if fill is None else fill
        labels = None if volume.labels is None else self.take_labels(volume.labels, spacing)
        voxels = self.take(volume.voxels, spacing, fill)
        return replace(volume, voxels=voxels, labels=labels, affine=self.affine(volume.affine))

    def affine(self, affine: Affine) -> Affine:
        """The affine of the frame's pixels, from that of the volume."""
        made = affine.copy()
        for axis, (mm, first) in enumerate(zip(self.pixel_mm, self.first, strict=True), start=1):
            direction = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
            made[:3, axis] = direction * mm
            made[:3, 3] += direction * first
        return made

    def inside(self, shape: Shape, spacing: Pair) -> tuple[slice, slice]:
        """Rows and columns of the volume whose centres the frame holds."""
        found = []
        for axis, (count, mm) in enumerate(zip(shape, spacing, strict=True)):
            at = (np.arange(count) * mm - self.first[axis]) / self.pixel_mm[axis]
            where = np.flatnonzero(_within(at, self.size))
            found.append(slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0))
        return found[0], found[1]


def whole_frame(shape: Shape, spacing: Pair, size: int) -> Frame:
    """The whole field of view, padded to a square in mm and scaled to `size` pixels per side; `spacing` in mm."""
    pixels, centres = [], []
    for count, mm, (before, after) in zip(shape, spacing, padding(shape, spacing), strict=True):
        padded = before + count + after
        pixels.append(padded * mm / size)
        centres.append(((padded - 1) / 2 - before) * mm)
    return Frame(size, (pixels[0], pixels[1]), (centres[0], centres[1]), whole=True)


def frame_between(volume: Volume, affine: Affine, size: int) -> Frame:
    """The frame in which slices with the affine `affine`, `size` pixels per side, were made from a volume.

    Their axes are those of the volume; their position along the body does not matter.
    """
    pixels, centres = [], []
    for axis in (1, 2):
        direction = volume.affine[:3, axis] / np.linalg.norm(volume.affine[:3, axis])
        mm = float(np.linalg.norm(affine[:3, axis]))
        first = float(direction @ (affine[:3, 3] - volume.affine[:3, 3]))
        pixels.append(mm)
        centres.append(first + (size - 1) / 2 * mm)
    return Frame(size, (pixels[0], pixels[1]), (centres[0], centres[1]))


def padding(shape: Shape, spacing: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels to add before and after rows and columns so that both measure the same, to the nearest pixel."""
    side = max(count * mm for count, mm in zip(shape, spacing, strict=True))
    added = [max(round(side / mm - count), 0) for count, mm in zip(shape, spacing, strict=True)]
    rows, columns = ((one // 2, one - one // 2) for one in added)
    return rows, columns


@dataclass(frozen=True, eq=False)
class _Way:
    """Weights of each old pixel of an axis in each new one, the nearest old one, and which new centres are inside."""

    weights: Float32[np.ndarray, "new old"]
    nearest: Int[np.ndarray, " new"]
    inside: Bool[np.ndarray, " new"]


@lru_cache(maxsize=64)
def _way(new: int, old: int, first: float, step: float, lower: bool = False) -> _Way:
    """New pixel i lies at `first + step * i`, in old pixels; ties go to the upper old pixel, or with `lower` to the
    lower one, so that there and back again labels do not move twice in one direction.
    """
    at = np.round(first + step * np.arange(new), DECIMALS)
    inside = _within(at, old)
    weights = np.maximum(1 - np.abs(at[:, None] - np.arange(old)) / max(step, 1.0), 0)
    weights[~inside] = 0
    weights[inside] /= weights[inside].sum(axis=1, keepdims=True)
    nearest = np.clip((np.ceil(at - 0.5) if lower else np.floor(at + 0.5)).astype(np.int64), 0, old - 1)
    for array in (made := weights.astype(np.float32), nearest, inside):
        array.flags.writeable = False
    return _Way(made, nearest, inside)


def _within(at: Float[np.ndarray, " n"], count: int) -> Bool[np.ndarray, " n"]:
    return (at >= -0.5 - 10.0**-DECIMALS) & (at <= count - 0.5 + 10.0**-DECIMALS)


def _linear(rows: _Way, columns: _Way, images: Num[np.ndarray, "slices a b"]) -> Float32[np.ndarray, "slices c d"]:
    # NumPy multiplies the matrices of a stack one by one.
    return rows.weights @ images.astype(np.float32, copy=False) @ columns.weights.T


def _most(rows: _Way, columns: _Way, labels: UInt8[np.ndarray, "slices a b"]) -> UInt8[np.ndarray, "slices c d"]:
    """The label with the largest share of each pixel; of two equal ones, that of the nearest old pixel."""
    made = labels[:, rows.nearest][:, :, columns.nearest]
    for index, one in enumerate(labels):
        values = np.unique(one)
        if len(values) > 1:
            masks = (one == value for value in values)
            shares = np.stack([rows.weights @ mask.astype(np.float32) @ columns.weights.T for mask in masks])
            shares += EVEN * (made[index] == values[:, None, None])
            made[index] = values[shares.argmax(axis=0)]
    return made


def field_centre(shape: Shape, spacing: Pair) -> Pair:
    """The middle of the field of view: mm from the first pixel's centre, along rows and columns; `spacing` in mm."""
    return (shape[0] - 1) / 2 * spacing[0], (shape[1] - 1) / 2 * spacing[1]


def centre_of(store: Store, record: CaseRecord, kind: FrameKind) -> Pair:
    """What the frame of a case is centred on: millimetres from its first pixel's centre, down and along.

    The slices of a synthetic case that was made in a frame are that frame already, and stay as they are.
    """
    framed = record.synthetic is not None and record.synthetic.pixel_mm > 0
    if kind == "body" and not framed:
        return store.body(record).centre
    return field_centre(record.shape[1:], record.spacing[1:])
