"""Solid shapes in millimetres, given by their signed distance: the phantom's bricks.

Notable:
- A shape is a function of place, not of voxels, so that one person can be drawn on any grid.
- `x` runs to the person's left, `y` to the back, `z` to the head. Distances are negative inside; they are exact near
  the surface and only roughly right far from it, which is all that soft borders need.
- `no_type_check`: distances are asked for hundreds of times a plane; checking their types in tests took longer.
- Every shape knows the box it fills: most are small, and a plane that they do not cross costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float

# Whole millimetres may be written without a point; the run-time type check tells int from float.
Length = float | int
Point = tuple[Length, Length, Length]
Box = tuple[Point, Point]
Plane = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid.

    Args:
        centre: mm.
        radii: mm along its own three axes.
        turn: degrees it is turned about the x, the y and the z axis, in this order.
    """

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
    """A straight tube with round ends, from one radius to another.

    Args:
        start: mm.
        end: mm.
        radii: mm at the start and at the end.
    """

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

    def grown(self, by: Length) -> "Tube":
        """The same tube with longer radii, mm."""
        return Tube(self.start, self.end, (max(self.radii[0] + by, 1.0), max(self.radii[1] + by, 1.0)))


@dataclass(frozen=True)
class Melted:
    """Shapes melted into one.

    Args:
        parts: at least one.
        blend: mm over which two parts melt; 0 leaves a crease.
    """

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


def tubes(points: Sequence[Point], radius: Length, *, blend: Length = 0.0) -> Melted:
    """A bent tube through `points`, mm."""
    return Melted(tuple(Tube(start, end, (radius, radius)) for start, end in pairwise(points)), blend)


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
