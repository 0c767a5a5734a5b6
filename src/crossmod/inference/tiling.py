"""From slices of any size to the network's input, and back.

Notable:
- Nothing is resampled along the body.
- The frame is that of training and of `synthesize` (`crossmod.data.frame`): the model's millimetres, around the body.
- A body larger than the frame is cut into overlapping tiles of the model's pixels, which are merged with Gaussian
  weights, so that no edge of a tile is visible.
- Models that stretch the whole field of view see it whole, unless a pixel would be more than 1.5 times as large as in
  training: organs would then look smaller than in training. Then the slice is cut into tiles as well.
- The inverse uses the same grid: every pixel returns exactly to its position.
"""

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Num, UInt8

from crossmod.data.body_box import BodyBox, body_box
from crossmod.data.body_mask import body_mask
from crossmod.data.frame import Frame, Pair, Shape, field_centre, padding, whole_frame
from crossmod.data.volume import Volume
from crossmod.inference.types import About, Options

log = logging.getLogger(__name__)

# Maximum ratio to the training pixel size at which whole slices are used. Fields of view of patients differ as much.
COARSER = 1.5
# Plausible size of a body, in frames.
SMALL, LARGE = 0.35, 1.6
# Standard deviation of a tile's weights in tiles, and the smallest weight.
SIGMA, LEAST_WEIGHT = 0.125, 1e-3


@dataclass(frozen=True)
class Tiling:
    """Conversion of slices of one shape to the network's, and back."""

    shape: Shape  # rows and columns of a slice
    spacing: Pair  # millimetres of rows and columns
    frame: Frame  # the part of a slice that is seen, in the network's pixels
    size: int  # side of the network's input in pixels: of the frame, or of a tile
    starts: tuple[int, ...] = (0,)  # of the tiles, along either axis

    @property
    def work(self) -> int:
        """Side of the frame in pixels."""
        return self.frame.size

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile."""
        return [(slice(r, r + self.size), slice(c, c + self.size)) for r in self.starts for c in self.starts]

    def to_work(
        self, slices: Num[np.ndarray, "slices rows columns"], fill: float
    ) -> Float32[np.ndarray, "slices work work"]:
        """Slices on the frame's pixels, `fill` beyond them."""
        return self.frame.take(slices, self.spacing, fill)

    def back(
        self, images: Float32[np.ndarray, "slices work work"], fill: float
    ) -> Float32[np.ndarray, "slices rows columns"]:
        """The output on the slices' own pixels; `fill` beyond the frame."""
        return self.frame.back(images, self.shape, self.spacing, fill)

    def labels_back(self, labels: UInt8[np.ndarray, "slices work work"]) -> UInt8[np.ndarray, "slices rows columns"]:
        """Classes of the nearest pixels on the slices' own pixels; 0 beyond the frame."""
        return self.frame.labels_back(labels, self.shape, self.spacing)

    def cut(
        self, images: Float32[np.ndarray, "slices images work work"]
    ) -> Float32[np.ndarray, "many images size size"]:
        """All tiles of all slices: those of the first position first."""
        return np.concatenate([images[..., rows, columns] for rows, columns in self.places])

    def blend(self, tiles: Float32[np.ndarray, "many size size"]) -> Float32[np.ndarray, "slices work work"]:
        """Merge tiles with weights that sum to 1."""
        if len(self.places) == 1:
            return tiles
        by_place = np.split(tiles, len(self.places))
        whole = np.zeros((len(by_place[0]), self.work, self.work), np.float32)
        for tile, (rows, columns) in zip(by_place, self.places, strict=True):
            whole[:, rows, columns] += tile * (self._weights / self._sum[rows, columns])
        return whole

    def blend_labels(self, tiles: UInt8[np.ndarray, "many size size"]) -> UInt8[np.ndarray, "slices work work"]:
        """Merge tiles of classes: the tile with the nearest centre."""
        if len(self.places) == 1:
            return tiles
        by_place = np.split(tiles, len(self.places))
        whole = np.zeros((len(by_place[0]), self.work, self.work), np.uint8)
        most = np.zeros((self.work, self.work))
        for tile, (rows, columns) in zip(by_place, self.places, strict=True):
            nearer = self._weights > most[rows, columns]
            whole[:, rows, columns][:, nearer] = tile[:, nearer]
            most[rows, columns] = np.maximum(most[rows, columns], self._weights)
        return whole

    @cached_property
    def _weights(self) -> Float[np.ndarray, "size size"]:
        at = (np.arange(self.size) - (self.size - 1) / 2) / (SIGMA * self.size)
        line = np.maximum(np.exp(-(at**2) / 2), LEAST_WEIGHT)
        return np.outer(line, line)

    @cached_property
    def _sum(self) -> Float[np.ndarray, "work work"]:
        total = np.zeros((self.work, self.work))
        for rows, columns in self.places:
            total[rows, columns] += self._weights
        return total


@dataclass(frozen=True)
class BodyPlace:
    """Position of the body in a volume."""

    box: BodyBox  # as measured in training, of the first input
    # first and last row and column, in millimetres from the first pixel's centre, over all slices; None without a body
    ends: tuple[Pair, Pair] | None

    def side_around(self, centre: Pair) -> float:
        """Side in millimetres of the smallest square around `centre` that contains the body."""
        if self.ends is None:
            return 0.0
        return 2 * max(max(at - low, high - at) for (low, high), at in zip(self.ends, centre, strict=True))


def place_of(volume: Volume, body: Bool[np.ndarray, "slices rows columns"]) -> BodyPlace:
    """Position of a body, from its mask."""
    ends = []
    for axis, mm in zip((1, 2), volume.spacing[1:], strict=True):
        on = np.flatnonzero(body.any(axis=(0, 3 - axis)))
        if not on.size:
            return BodyPlace(body_box(volume), None)
        ends.append(((float(on[0]) - 0.5) * mm, (float(on[-1]) + 0.5) * mm))
    return BodyPlace(body_box(volume), (ends[0], ends[1]))


def frame_of(volume: Volume, about: About) -> Frame:
    """The part of a volume's slices that a model sees without tiles."""
    shape, spacing = (volume.voxels.shape[1], volume.voxels.shape[2]), volume.spacing[1:]
    if about.frame == "stretch":
        return whole_frame(shape, spacing, about.size)
    return about.scale.frame(shape, spacing, body_box(volume))


def tiling_of(volume: Volume, about: About, options: Options, body: BodyPlace | None = None) -> Tiling:
    """Conversion of a volume's slices to a model's input."""
    shape, spacing = (volume.voxels.shape[1], volume.voxels.shape[2]), volume.spacing[1:]
    if about.frame == "stretch":
        work = _stretched_work(shape, spacing, about, options)
        frame = whole_frame(shape, spacing, work)
    else:
        body = body or place_of(volume, body_mask(volume.voxels, volume.modality))
        frame = about.scale.frame(shape, spacing, body.box)
        frame = frame.resized(_work(frame, shape, spacing, options, body))
        _warn_of_size(about, frame, body)
    return Tiling(shape, spacing, frame, about.size, _starts(frame.size, about.size, options.overlap))


def _work(frame: Frame, shape: Shape, spacing: Pair, options: Options, body: BodyPlace) -> int:
    """Side in pixels that contains the body, or the whole field with tiles `on`; at least the network's."""
    if options.tiles == "off":
        return frame.size
    needs = body.side_around(frame.centre)
    if options.tiles == "on":
        middle, half = field_centre(shape, spacing), (n * mm / 2 for n, mm in zip(shape, spacing, strict=True))
        needs = 2 * max(abs(a - b) + h for a, b, h in zip(middle, frame.centre, half, strict=True))
    # Ignores rounding.
    return max(int(np.ceil(needs / frame.pixel_mm[0] - 1e-6)), frame.size)


def _warn_of_size(about: About, frame: Frame, body: BodyPlace) -> None:
    """Warn of a body that is cut, or of an implausible size."""
    model_mm, seen_mm = about.size * about.pixel_mm, frame.size * about.pixel_mm
    needs = body.side_around(frame.centre)
    if needs > seen_mm + about.pixel_mm / 2:
        log.warning(
            "The body reaches beyond the %.0f mm that %s sees, and is cut there: it needs %.0f mm. Omit --tiles off to "
            "translate all of it.", seen_mm, about.name, needs,
        )  # fmt: skip
    largest = max(body.box.height, body.box.width)
    if body.box.slices and not SMALL * model_mm <= largest <= LARGE * model_mm:
        log.warning(
            "The body measures %.0f x %.0f mm, but %s sees %.0f mm around the bodies of its training: check the "
            "spacing in the header.", body.box.height, body.box.width, about.name, model_mm,
        )  # fmt: skip


def _stretched_work(shape: Shape, spacing: Pair, about: About, options: Options) -> int:
    """Side in pixels of the whole field of view; at least the network's."""
    side = max(count * mm for count, mm in zip(shape, spacing, strict=True))
    pixels = max(count + sum(pad) for count, pad in zip(shape, padding(shape, spacing), strict=True))
    fine = pixels if about.field_mm is None else round(about.size * side / about.field_mm)
    far = about.field_mm is not None and side > COARSER * about.field_mm
    return max(fine, about.size) if options.tiles == "on" or (options.tiles == "auto" and far) else about.size


def _starts(work: int, size: int, overlap: float) -> tuple[int, ...]:
    """Evenly spaced from the beginning to the end."""
    count = int(np.ceil((work - size) / max(size * (1 - overlap), 1))) + 1
    return tuple(int(start) for start in np.rint(np.linspace(0, work - size, count)))
