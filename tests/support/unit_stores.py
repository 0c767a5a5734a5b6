"""Volumes and stores whose values are in a certain unit."""

from dataclasses import replace

import numpy as np

from crossmod.data.volume import Volume

SIZE = 96


def ct(seed: int = 0, slices: int = 4) -> np.ndarray:
    """HU of a trunk: air, fat under the skin, muscle, liver, lungs, a spine; noise of 12 HU."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    r = np.hypot(x, 1.2 * y)
    one = np.select(
        [np.hypot(x, y - 0.5) < 0.08, np.hypot(x - 0.3, y) < 0.2, np.hypot(x + 0.35, y) < 0.15, r < 0.7, r < 0.85],
        [500, 110, -800, 50, -105],
        -1000,
    )
    return np.rint(one + rng.normal(0, 12, (slices, SIZE, SIZE)))


def mr(seed: int = 0, slices: int = 4) -> np.ndarray:
    """Signal of the same trunk: air near 0, tissue of some hundreds."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    r = np.hypot(x, 1.2 * y)
    one = np.select([np.hypot(x - 0.3, y) < 0.2, r < 0.7, r < 0.85], [420, 260, 640], 0)
    return np.rint(np.hypot(one + rng.normal(0, 8, (slices, SIZE, SIZE)), rng.normal(0, 8, (slices, SIZE, SIZE))))


NOISE = np.random.default_rng(5).normal(0, 1, (4, SIZE, SIZE))


def volume_of(values: np.ndarray, modality: str = "ct", **more: object) -> Volume:
    affine = np.array([[0, 0, -2, 0], [0, -2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    return replace(Volume(values.astype(np.float32), affine, "ct"), modality=modality, **more)  # pyright: ignore[reportArgumentType]
