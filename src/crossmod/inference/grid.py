"""From a slice of any size to what a network sees, and back.

Notable:
- Along the body nothing is resampled: a slice goes in, a slice comes out.
- The rule is that of training and of `synthesize`: the whole slice, padded to a square, scaled to the network's size.
  So a pixel of the network's is as large as the patient's field of view makes it.
- Where it would be more than 1.5 times as large as in training, organs would look smaller than any that the network
  saw. There the slice is scaled to training's pixels, cut into tiles that overlap, and these are put together by
  Gaussian weights, so that no edge of a tile shows.
- The way back is the same grid turned round: a pixel ends exactly where it came from.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float, Float32, Num, UInt8

from crossmod.data.volume import Volume
from crossmod.inference.contract import About, Options

# So many times as coarse as in training is still seen whole. Fields of view differ by as much among patients.
COARSER = 1.5
# Of a tile: standard deviation of its weights, and the least of them.
SIGMA, LEAST_WEIGHT = 0.125, 1e-3


@dataclass(frozen=True)
class Frame:
    """How slices of one shape become a network's, and back.

    Args:
        shape: rows and columns of a slice.
        before: rows and columns that are added above and left of it.
        square: rows and columns then.
        work: pixels a side that the square is scaled to.
        size: pixels a side of what the network sees: those of `work`, or of a tile of it.
        starts: where tiles begin, along either axis.
    """

    shape: tuple[int, int]
    before: tuple[int, int]
    square: tuple[int, int]
    work: int
    size: int
    starts: tuple[int, ...] = (0,)

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile."""
        return [(slice(r, r + self.size), slice(c, c + self.size)) for r in self.starts for c in self.starts]

    def to_work(
        self, slices: Num[np.ndarray, "slices rows columns"], fill: float
    ) -> Float32[np.ndarray, "slices work work"]:
        """Slices padded with `fill` to a square and scaled, linearly and without aliasing."""
        pads = [(a, s - n - a) for a, s, n in zip(self.before, self.square, self.shape, strict=True)]
        image = np.pad(slices.astype(np.float32), [(0, 0), *pads], constant_values=fill)
        return _scaled(image, (self.work, self.work))

    def back(self, images: Float32[np.ndarray, "slices work work"]) -> Float32[np.ndarray, "slices rows columns"]:
        """What was made, on the slices' own pixels."""
        return self._cropped(_scaled(images, self.square))

    def labels_back(self, labels: UInt8[np.ndarray, "slices work work"]) -> UInt8[np.ndarray, "slices rows columns"]:
        """Classes, on the slices' own pixels: those of the nearest."""
        nearest = F.interpolate(torch.from_numpy(labels)[:, None].float(), self.square, mode="nearest-exact")
        return self._cropped(nearest[:, 0].to(torch.uint8).numpy())

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

    def _cropped(self, images: np.ndarray) -> np.ndarray:
        (top, left), (rows, columns) = self.before, self.shape
        return images[:, top : top + rows, left : left + columns]

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


def frame_of(volume: Volume, about: About, options: Options) -> Frame:
    """How the slices of a volume become those that a model sees.

    Args:
        volume: of any size.
        about: the model's size, and the field that it was trained on.
        options: whether to use tiles.
    """
    _, rows, columns = volume.voxels.shape
    _, row_mm, column_mm = volume.spacing
    side = max(rows * row_mm, columns * column_mm)
    # As `data.resample.square` does it.
    added = [max(round(side / mm - count), 0) for count, mm in ((rows, row_mm), (columns, column_mm))]
    square = (rows + added[0], columns + added[1])
    work = _work(side, max(square), about, options.tiles)
    return Frame(
        shape=(rows, columns),
        before=(added[0] // 2, added[1] // 2),
        square=square,
        work=work,
        size=about.size,
        starts=_starts(work, about.size, options.overlap),
    )


def _work(side: float, pixels: int, about: About, tiles: Literal["auto", "on", "off"]) -> int:
    """Pixels a side of the whole slice: the network's, or more, for tiles."""
    fine = pixels if about.field_mm is None else round(about.size * side / about.field_mm)
    far = about.field_mm is not None and side > COARSER * about.field_mm
    return max(fine, about.size) if tiles == "on" or (tiles == "auto" and far) else about.size


def _starts(work: int, size: int, overlap: float) -> tuple[int, ...]:
    """Evenly spread, the first at the beginning and the last at the end."""
    count = int(np.ceil((work - size) / max(size * (1 - overlap), 1))) + 1
    return tuple(int(start) for start in np.rint(np.linspace(0, work - size, count)))


def _scaled(images: Float32[np.ndarray, "slices a b"], shape: tuple[int, int]) -> Float32[np.ndarray, "slices c d"]:
    if images.shape[1:] == shape:
        return images
    given = torch.from_numpy(np.ascontiguousarray(images))[:, None]
    return F.interpolate(given, shape, mode="bilinear", antialias=True)[:, 0].numpy()
