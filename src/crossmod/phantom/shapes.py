"""Shapes of a body in millimetres, and the canvas they are drawn on.

- A shape is a function of position, not of voxels, so that one person can be drawn on any grid.
- `x` runs to the person's left, `y` to the back, `z` to the head. Distances are negative inside; they are exact near
  the surface and only roughly right far from it, which is enough for soft borders.
- Every shape knows its bounding box: most are small, and a plane that they do not cross costs nothing.
- A voxel at a border belongs in part to each side: this partial volume softens edges in every image and makes the dark
  outline of out-of-phase MR, where fat and water in one voxel cancel.
- The person's two smooth deformations are applied to the coordinates, once per plane: a stiff one that moves the whole
  person and a soft one, on top, that moves only the organs, so that the spine does not wobble with the stomach.
- `no_type_check`: the small functions run hundreds of times per plane; checking their types in tests took longer than
  their work.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float

# Whole millimetres may be written without a point; the run-time type check separates int and float.
Length = float | int
Point = tuple[Length, Length, Length]
Box = tuple[Point, Point]
Plane = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid: radii in mm along its own axes, turned by degrees about the x, the y and the z axis, in this
    order."""

    centre: Point
    radii: Point
    turn: Point = (0.0, 0.0, 0.0)

    @cached_property
    def _axes(self) -> Float[np.ndarray, "3 3"]:
        # Rows are the ellipsoid's own axes, seen in the person's frame.
        matrix = np.eye(3)
        for axis, degrees in enumerate(self.turn):
            cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
            i, j = (axis + 1) % 3, (axis + 2) % 3
            step = np.eye(3)
            step[i, i] = step[j, j] = cosine
            step[i, j], step[j, i] = -sine, sine
            matrix = step @ matrix
        return matrix.T

    @cached_property
    def box(self) -> Box:
        """Lowest and highest corner, mm."""
        reach = np.sqrt(((self._axes * np.array(self.radii)[:, None]) ** 2).sum(axis=0))
        return _corners(np.array(self.centre) - reach, np.array(self.centre) + reach)

    @no_type_check
    def distance(self, x: Plane, y: Plane, z: Plane) -> Plane:
        """Millimetres to the surface, negative inside: k(k - 1)/|grad| with k the scaled radius."""
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        # Not from 0, so that the very centre has a distance too.
        square, slope = np.full_like(dx, 1e-6), np.full_like(dx, 1e-6 / min(self.radii) ** 2)
        for (a, b, c), radius in zip(self._axes.tolist(), self.radii, strict=True):
            along = (a * dx + b * dy + c * dz) * (1 / radius)
            along *= along
            square += along
            slope += along * (1 / radius**2)
        scaled = np.sqrt(square)
        return scaled * (scaled - 1) / np.sqrt(slope)

    def grown(self, by: Length) -> "Ellipsoid":
        """The same ellipsoid with longer radii, mm."""
        a, b, c = (max(radius + by, 1.0) for radius in self.radii)
        return Ellipsoid(self.centre, (a, b, c), self.turn)


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends and a radius (mm) at each of them."""

    start: Point
    end: Point
    radii: tuple[Length, Length]

    @cached_property
    def box(self) -> Box:
        """Lowest and highest corner, mm."""
        ends, radius = np.array([self.start, self.end]), max(self.radii)
        return _corners(ends.min(axis=0) - radius, ends.max(axis=0) + radius)

    @no_type_check
    def distance(self, x: Plane, y: Plane, z: Plane) -> Plane:
        """Millimetres to the surface, negative inside."""
        ax, ay, az = (b - a for a, b in zip(self.start, self.end, strict=True))
        dx, dy, dz = x - self.start[0], y - self.start[1], z - self.start[2]
        along = np.clip((dx * ax + dy * ay + dz * az) * (1 / max(ax**2 + ay**2 + az**2, 1e-6)), 0, 1)
        away = np.sqrt((dx - along * ax) ** 2 + (dy - along * ay) ** 2 + (dz - along * az) ** 2)
        return away - (self.radii[0] + along * (self.radii[1] - self.radii[0]))


@dataclass(frozen=True)
class Melted:
    """Shapes melted into one over `blend` mm; 0 leaves a crease."""

    parts: tuple[Ellipsoid | Tube, ...]
    blend: Length = 0.0

    @cached_property
    def box(self) -> Box:
        """Lowest and highest corner, mm."""
        low = np.min([part.box[0] for part in self.parts], axis=0)
        high = np.max([part.box[1] for part in self.parts], axis=0)
        # Melting adds at most a quarter of `blend` between two parts.
        return _corners(low - self.blend / 4, high + self.blend / 4)

    def distance(self, x: Plane, y: Plane, z: Plane) -> Plane:
        """Millimetres to the surface, negative inside."""
        total = self.parts[0].distance(x, y, z)
        for part in self.parts[1:]:
            total = smooth_minimum(total, part.distance(x, y, z), self.blend)
        return total


Shape = Ellipsoid | Tube | Melted


def tubes(points: Sequence[Point], radius: Length) -> Melted:
    """A bent tube through `points`, mm."""
    return Melted(tuple(Tube(start, end, (radius, radius)) for start, end in pairwise(points)))


def smooth_minimum(first: Plane, second: Plane, blend: Length) -> Plane:
    """The lower of two distances, rounded where they meet (polynomial, width `blend` mm)."""
    lower = np.minimum(first, second)
    if blend <= 0:
        return lower
    overlap = np.maximum(blend - np.abs(first - second), 0)
    return lower - overlap * overlap * (0.25 / blend)


def smooth_maximum(first: Plane, second: Plane, blend: Length) -> Plane:
    """The higher of two distances, rounded where they meet."""
    return -smooth_minimum(-first, -second, blend)


def _corners(low: np.ndarray, high: np.ndarray) -> Box:
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    return (a, b, c), (d, e, f)


# The farthest that both deformations together move a point along an axis, mm; boxes are widened by it.
REACH = 14.0

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth displacement: for each axis a sum of products of three cosines, one per direction.

    Products, because a whole plane of them is then one small matrix product. Amplitude in mm, `[axis, wave]`; frequency
    in radians per mm and phase in radians, `[axis, direction, wave]`.
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
    """A random displacement of at most `reach` mm along each axis, with `count` wavelengths from `shortest` to
    `longest` mm."""
    amplitude = rng.normal(size=(3, count))
    amplitude *= reach / np.abs(amplitude).sum(axis=1, keepdims=True)
    frequency = 2 * np.pi / rng.uniform(shortest, longest, size=(3, 3, count))
    return Waves(amplitude, frequency, rng.uniform(0, 2 * np.pi, size=(3, 3, count)))


class Canvas:
    """One plane of sample points in the person's own millimetres, to the left, back and head, and what was painted on
    it. `stiff` displaces everything, `soft` the organs on top; two tissues share a border over `edge` mm, about a
    voxel."""

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
        """Paint a shape, grown by `margin` mm, over what is there, but not beyond the distance `within` of the whole
        plane."""
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
