"""Painting shapes, one over the other, onto a thin axial plane; borders are shared between tissues.

Notable:
- A voxel at a border belongs in part to each side: this partial volume gives edges their softness in every image and
  makes the dark outline of out-of-phase MR, where fat and water in one voxel cancel.
- The person's two smooth deformations are applied to the coordinates, once a plane: a stiff one that moves the whole
  person and a soft one, on top, that moves only the organs, so that the spine does not wobble with the stomach.
- `no_type_check`: the small functions run hundreds of times a plane; checking their types in tests took longer than
  their work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float

from crossmod.phantom.shapes import Box, Length, Plane, Shape

# The farthest that both deformations together move a point along an axis, mm; boxes are widened by it.
REACH = 14.0

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth displacement: for each axis a sum of products of three cosines, one per direction.

    Products, because a whole plane of them is then one small matrix product.

    Args:
        amplitude: mm, `[axis, wave]`.
        frequency: radians per mm, `[axis, direction, wave]`.
        phase: radians, `[axis, direction, wave]`.
    """

    amplitude: Float[np.ndarray, "3 waves"]
    frequency: Float[np.ndarray, "3 3 waves"]
    phase: Float[np.ndarray, "3 3 waves"]

    def at(self, axis: int, x: Float[np.ndarray, " columns"], y: Float[np.ndarray, " rows"], z: float) -> Plane:
        """Displacement along `axis` (0 left, 1 back, 2 head) over one plane, mm."""
        along_x, along_y, along_z = (
            np.cos(np.multiply.outer(np.asarray(place), self.frequency[axis, direction]) + self.phase[axis, direction])
            for direction, place in enumerate((x, y, z))
        )
        return ((along_y * (self.amplitude[axis] * along_z)) @ along_x.T).astype(np.float32)


def draw_waves(rng: np.random.Generator, *, reach: Length, shortest: Length, longest: Length, count: int = 6) -> Waves:
    """A random displacement.

    Args:
        rng: where the draws come from.
        reach: the most it can move a point along one axis, mm.
        shortest: wavelength, mm.
        longest: wavelength, mm.
        count: waves an axis.
    """
    amplitude = rng.normal(size=(3, count))
    amplitude *= reach / np.abs(amplitude).sum(axis=1, keepdims=True)
    frequency = 2 * np.pi / rng.uniform(shortest, longest, size=(3, 3, count))
    return Waves(amplitude, frequency, rng.uniform(0, 2 * np.pi, size=(3, 3, count)))


class Canvas:
    """One plane of sample points in the person's own millimetres, and what was painted on it.

    Args:
        x: mm to the left, one a column.
        y: mm to the back, one a row.
        z: mm to the head.
        stiff: displaces everything.
        soft: displaces the organs, on top of `stiff`.
        edge: mm over which two tissues share a border; about the width of a voxel.
    """

    def __init__(
        self,
        x: Float[np.ndarray, " columns"],
        y: Float[np.ndarray, " rows"],
        z: float,
        *,
        stiff: Waves,
        soft: Waves,
        edge: float,
    ):
        self.columns, self.rows, self.height, self.edge = x, y, z, edge
        grid = np.broadcast_arrays(x[None, :], y[:, None], np.float64(z))
        self.frame = tuple((place + stiff.at(axis, x, y, z)).astype(np.float32) for axis, place in enumerate(grid))
        self.organs = tuple(place + soft.at(axis, x, y, z) for axis, place in enumerate(self.frame))
        self.layers: list[tuple[int, Window, Plane]] = []

    @no_type_check
    def window(self, box: Box, margin: float = 0.0) -> Window | None:
        """The rows and columns that `box` can touch, or None where it misses the plane."""
        (x0, y0, z0), (x1, y1, z1) = box
        room = margin + REACH + self.edge
        if not z0 - room <= self.height <= z1 + room:
            return None
        columns, rows = _between(self.columns, x0 - room, x1 + room), _between(self.rows, y0 - room, y1 + room)
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        return rows, columns

    def crosses(self, shapes: Iterable[Shape]) -> list[bool]:
        """Which of many shapes this plane can cut; quicker than asking one by one."""
        low, high = self.height - REACH - self.edge, self.height + REACH + self.edge
        return [box[0][2] <= high and box[1][2] >= low for box in (shape.box for shape in shapes)]

    @no_type_check
    def paint(self, tissue: int, distance: Plane, window: Window = (slice(None), slice(None))) -> None:
        """Lay a tissue over what is there, wherever `distance` is negative."""
        covered = np.clip(0.5 - distance * (1 / self.edge), 0, 1)
        if covered.any():
            self.layers.append((tissue, window, covered))

    @no_type_check
    def paint_shape(self, tissue: int, shape: Shape, *, within: Plane | None = None, margin: float = 0.0) -> None:
        """Lay a shape of tissue over what is there.

        Args:
            tissue: code.
            shape: in the organs' frame.
            within: a distance, over the whole plane, that the shape must not leave.
            margin: mm to grow the shape by.
        """
        window = self.window(shape.box, max(margin, 0.0))
        if window is None:
            return
        x, y, z = (place[window] for place in self.organs)
        distance = shape.distance(x, y, z) - margin
        self.paint(tissue, distance if within is None else np.maximum(distance, within[window]), window)

    def shares(self, tissues: int) -> Float[np.ndarray, "tissues rows columns"]:
        """How much of each sample every tissue has; they sum to 1, the rest being tissue 0."""
        left = np.ones((len(self.rows), len(self.columns)), np.float32)
        result = np.zeros((tissues, *left.shape), np.float32)
        # From the front to the back: a layer gets what those over it left, which takes two planes and not `tissues`.
        for tissue, window, covered in reversed(self.layers):
            seen = covered * left[window]
            result[tissue][window] += seen
            left[window] -= seen
        result[0] += left
        return result


@no_type_check
def _between(places: np.ndarray, low: float, high: float) -> slice:
    return slice(int(np.searchsorted(places, low)), int(np.searchsorted(places, high, side="right")))
