"""CT from the knees to the crown for tests: a phantom's trunk, with a pelvis, legs, a neck and a head drawn onto it.

The phantom goes on above and below its abdomen, up with lungs, heart and ribs, down with fat, muscle and spine. What is
drawn are ellipses in millimetres of about the size of an adult's.
"""

import numpy as np

from crossmod.data.volume import Volume
from crossmod.phantom.anatomy import ORGANS, Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_ct

KNEES, CROWN = -650.0, 560.0
# Millimetres above the middle of the liver, as the phantom counts them.
CREST, CROTCH, SHOULDERS, CHIN = -155.0, -330.0, 330.0, 400.0


def whole_body(
    person: int, *, bottom: float = KNEES, top: float = CROWN, step: float = 5.0, size: int = 64, contrast: bool = True
) -> Volume:
    """Somebody's CT with all organs labelled; heights in mm above the middle of the liver."""
    slices = round((top - bottom) / step) + 1
    grid = Grid(size=size, slices=slices, field=440.0, bottom=bottom, top=bottom + step * (slices - 1))
    anatomy = lay_on_grid(draw_person(person), grid)
    volume = render_ct(anatomy, person, contrast=contrast)
    noise = np.random.default_rng(person)
    voxels = volume.voxels.copy()
    pixel = grid.field / size
    across = (np.arange(size) - (size - 1) / 2) * pixel
    x, y = across[None, :], across[:, None]
    for index in range(slices):
        z = bottom + step * index
        voxels[index] = _drawn(voxels[index].astype(float), x, y, z, noise)
    return Volume(voxels, grid.affine, "ct", contrast=contrast, labels=organ_labels(anatomy), label_names=ORGANS)


def _drawn(hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, noise: np.random.Generator) -> np.ndarray:
    if z < CROTCH:
        hu = _air(hu, noise)
        for side in (-1, 1):
            _fill(hu, x - side * 95, y, (85, 85), -50)
            _fill(hu, x - side * 95, y, (65, 65), 55)
            _fill(hu, x - side * 95, y, (15, 15), 600)
    elif z < CREST:
        for side in (-1, 1):
            _fill(hu, x - side * (95 - 0.1 * (CREST - z)), y - 25, (11, 48), 420)
    elif z > CHIN:
        hu = _air(hu, noise)
        _fill(hu, x, y, (75, 95), 900)
        _fill(hu, x, y, (67, 87), 40)
        for side in (-1, 1):
            _fill(hu, x - side * 60, y - 20, (12, 18), -600)
    elif z > SHOULDERS:
        hu = _air(hu, noise)
        _fill(hu, x, y, (58, 62), 50)
        _fill(hu, x, y - 20, (14, 14), 500)
        _fill(hu, x, y + 15, (9, 9), -1000)
    return np.rint(hu).clip(-1000, 3000).astype(np.int16)


def _air(hu: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    return -1000 + np.abs(noise.normal(0, 12, hu.shape))


def _fill(hu: np.ndarray, x: np.ndarray, y: np.ndarray, radii: tuple[float, float], value: float) -> None:
    hu[(x / radii[0]) ** 2 + (y / radii[1]) ** 2 < 1] = value
