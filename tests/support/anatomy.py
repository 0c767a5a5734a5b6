"""A phantom's anatomy on a usual grid, for tests."""

import numpy as np

from crossmod.phantom.anatomy import Anatomy, Grid, lay_on_grid
from crossmod.phantom.person import draw_person


def draw_anatomy(
    seed: int | np.random.SeedSequence, size: int = 128, slices: int = 32, *, grid: Grid | None = None
) -> Anatomy:
    """Draw a person and lay them on a grid; the same seed gives the same person on every grid."""
    return lay_on_grid(draw_person(seed), grid or Grid(size=size, slices=slices))
