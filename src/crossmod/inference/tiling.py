"""From a slice of any size to what a network sees, and back.

Notable:
- Along the body nothing is resampled: a slice goes in, a slice comes out.
- The frame is that of training and of `synthesize` (`crossmod.data.frame`): the model's millimetres, around the body.
- A body that is larger than the frame is cut into tiles of the model's pixels that overlap, and these are put together
  by Gaussian weights, so that no edge of a tile shows.
- Models that stretch the whole field of view see it whole, unless a pixel would be more than 1.5 times as large as in
  training: organs would then look smaller than any that the network saw. There the slice is cut into tiles as well.
- The way back is the same grid turned round: a pixel ends exactly where it came from.
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

# So many times as coarse as in training is still seen whole. Fields of view differ by as much among patients.
COARSER = 1.5
# A body that fills less of the frame, or more than so many frames, is of no patient like those of the training.
SMALL, LARGE = 0.35, 1.6
# Of a tile: standard deviation of its weights, and the least of them.
SIGMA, LEAST_WEIGHT = 0.125, 1e-3


@dataclass(frozen=True)
class Tiling:
    """How slices of one shape become a network's, and back.

    Args:
        shape: rows and columns of a slice.
        spacing: their millimetres.
        frame: what of a slice is seen, in the network's pixels.
        size: pixels a side of what the network sees: those of the frame, or of a tile of it.
        starts: where tiles begin, along either axis.
    """

    shape: Shape
    spacing: Pair
    frame: Frame
    size: int
    starts: tuple[int, ...] = (0,)

    @property
    def work(self) -> int:
        """Pixels a side of the frame."""
        return self.frame.size

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile."""
        return [(slice(r, r + self.size), slice(c, c + self.size)) for r in self.starts for c in self.starts]

    def to_work(
        self, slices: Num[np.ndarray, "slices rows columns"], fill: float
    ) -> Float32[np.ndarray, "slices work work"]:
        """Slices on the frame's pixels, `fill` where it reaches beyond them."""
        return self.frame.take(slices, self.spacing, fill)

    def back(
        self, images: Float32[np.ndarray, "slices work work"], fill: float
    ) -> Float32[np.ndarray, "slices rows columns"]:
        """What was made, on the slices' own pixels; `fill` beyond the frame."""
        return self.frame.back(images, self.shape, self.spacing, fill)

    def labels_back(self, labels: UInt8[np.ndarray, "slices work work"]) -> UInt8[np.ndarray, "slices rows columns"]:
        """Classes, on the slices' own pixels: those of the nearest; 0 beyond the frame."""
        return self.frame.labels_back(labels, self.shape, self.spacing)

    def cut(
        self, images: Float32[np.ndarray, "slices images work work"]
    ) -> Float32[np.ndarray, "many images size size"]:
        """All tiles of all slices: those of the first place first."""
        return np.concatenate([images[..., rows, columns] for rows, columns in self.places])

    def blend(self, tiles: Float32[np.ndarray, "many size size"]) -> Float32[np.ndarray, "slices work work"]:
        """Tiles put together; where they overlap, by their weights, which add up to 1."""
        if len(self.places) == 1:
            return tiles
        by_place = np.split(tiles, len(self.places))
        whole = np.zeros((len(by_place[0]), self.work, self.work), np.float32)
        for tile, (rows, columns) in zip(by_place, self.places, strict=True):
            whole[:, rows, columns] += tile * (self._weights / self._sum[rows, columns])
        return whole

    def blend_labels(self, tiles: UInt8[np.ndarray, "many size size"]) -> UInt8[np.ndarray, "slices work work"]:
        """Tiles of classes put together: of the tile whose middle is nearest."""
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
    """Where the body of a volume lies.

    Args:
        box: as training measures it, of the first input.
        ends: first and last row and column, in millimetres from the first pixel's centre, over all slices; None where
            no slice shows a body.
    """

    box: BodyBox
    ends: tuple[Pair, Pair] | None

    def side_around(self, centre: Pair) -> float:
        """Millimetres a side of the smallest square around `centre` that holds all of it."""
        if self.ends is None:
            return 0.0
        return 2 * max(max(at - low, high - at) for (low, high), at in zip(self.ends, centre, strict=True))


def place_of(volume: Volume, body: Bool[np.ndarray, "slices rows columns"]) -> BodyPlace:
    """Where a body lies, from the mask of every slice."""
    ends = []
    for axis, mm in zip((1, 2), volume.spacing[1:], strict=True):
        on = np.flatnonzero(body.any(axis=(0, 3 - axis)))
        if not on.size:
            return BodyPlace(body_box(volume), None)
        ends.append(((float(on[0]) - 0.5) * mm, (float(on[-1]) + 0.5) * mm))
    return BodyPlace(body_box(volume), (ends[0], ends[1]))


def frame_of(volume: Volume, about: About) -> Frame:
    """What of a volume's slices a model sees where there are no tiles."""
    shape, spacing = (volume.voxels.shape[1], volume.voxels.shape[2]), volume.spacing[1:]
    if about.frame == "stretch":
        return whole_frame(shape, spacing, about.size)
    return about.scale.frame(shape, spacing, body_box(volume))


def tiling_of(volume: Volume, about: About, options: Options, body: BodyPlace | None = None) -> Tiling:
    """How the slices of a volume become those that a model sees.

    Args:
        volume: of any size.
        about: the model's millimetres and pixels.
        options: whether to use tiles.
        body: where it lies; default: it is looked for.
    """
    shape, spacing = (volume.voxels.shape[1], volume.voxels.shape[2]), volume.spacing[1:]
    if about.frame == "stretch":
        work = _stretched_work(shape, spacing, about, options)
        frame = whole_frame(shape, spacing, work)
    else:
        body = body or place_of(volume, body_mask(volume.voxels, volume.modality))
        frame = about.scale.frame(shape, spacing, body.box)
        frame = frame.resized(_work(frame, shape, spacing, options, body))
        _tell_of_size(about, frame, body)
    return Tiling(shape, spacing, frame, about.size, _starts(frame.size, about.size, options.overlap))


def _work(frame: Frame, shape: Shape, spacing: Pair, options: Options, body: BodyPlace) -> int:
    """Pixels a side that hold the body, or the whole field where tiles are wanted: the network's, or more."""
    if options.tiles == "off":
        return frame.size
    needs = body.side_around(frame.centre)
    if options.tiles == "on":
        middle, half = field_centre(shape, spacing), (n * mm / 2 for n, mm in zip(shape, spacing, strict=True))
        needs = 2 * max(abs(a - b) + h for a, b, h in zip(middle, frame.centre, half, strict=True))
    # A border that is off by rounding is none.
    return max(int(np.ceil(needs / frame.pixel_mm[0] - 1e-6)), frame.size)


def _tell_of_size(about: About, frame: Frame, body: BodyPlace) -> None:
    """Warn of a body that is cut, or of a size that no patient of the training can have had."""
    model_mm, seen_mm = about.size * about.pixel_mm, frame.size * about.pixel_mm
    needs = body.side_around(frame.centre)
    if needs > seen_mm + about.pixel_mm / 2:
        log.warning(
            "The body reaches beyond the %.0f mm that %s sees, and is cut there: it needs %.0f mm. Leave --tiles off "
            "out to translate all of it.", seen_mm, about.name, needs,
        )  # fmt: skip
    largest = max(body.box.height, body.box.width)
    if body.box.slices and not SMALL * model_mm <= largest <= LARGE * model_mm:
        log.warning(
            "The body measures %.0f x %.0f mm, where %s sees %.0f mm around those that it was trained on: check the "
            "spacing in the header.", body.box.height, body.box.width, about.name, model_mm,
        )  # fmt: skip


def _stretched_work(shape: Shape, spacing: Pair, about: About, options: Options) -> int:
    """Pixels a side of the whole field of view: the network's, or more, for tiles."""
    side = max(count * mm for count, mm in zip(shape, spacing, strict=True))
    pixels = max(count + sum(pad) for count, pad in zip(shape, padding(shape, spacing), strict=True))
    fine = pixels if about.field_mm is None else round(about.size * side / about.field_mm)
    far = about.field_mm is not None and side > COARSER * about.field_mm
    return max(fine, about.size) if options.tiles == "on" or (options.tiles == "auto" and far) else about.size


def _starts(work: int, size: int, overlap: float) -> tuple[int, ...]:
    """Evenly spread, the first at the beginning and the last at the end."""
    count = int(np.ceil((work - size) / max(size * (1 - overlap), 1))) + 1
    return tuple(int(start) for start in np.rint(np.linspace(0, work - size, count)))
