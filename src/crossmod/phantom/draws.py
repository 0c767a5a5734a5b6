"""Random draws about a body, in words."""

import numpy as np

from crossmod.phantom.shapes import Ellipsoid, Length, Point


class Draws:
    """Draws about a body in words.

    Args:
        seed: of all draws.
    """

    def __init__(self, seed: int | np.random.SeedSequence):
        self.rng = np.random.default_rng(seed)

    def between(self, low: Length, high: Length) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))

    def near(self, point: Point, spread: Length) -> Point:
        """A point within `spread` mm of `point` along each axis."""
        x, y, z = (place + self.between(-spread, spread) for place in point)
        return x, y, z

    def ellipsoid(self, centre: Point, radii: Point, turn: Point, *, spread: Length, tilt: Length) -> Ellipsoid:
        """An ellipsoid near another: moved by `spread` mm, turned by `tilt` degrees, an eighth longer or shorter."""
        a, b, c = (radius * self.between(0.88, 1.12) for radius in radii)
        return Ellipsoid(self.near(centre, spread), (a, b, c), self.near(turn, tilt))
