"""Draws of the vessels: the great ones before the spine and the two trees in the liver."""

import numpy as np

from crossmod.phantom.draws import Draws
from crossmod.phantom.shapes import Melted, Point, Tube, tubes


def great_vessels(draw: Draws) -> tuple[Melted, Melted, Melted]:
    """Aorta, vena cava and the trunk of the portal vein."""
    x, y, _ = draw.near((9, 24, 0), 3)
    radius = draw.between(9, 12)
    aorta = tubes([(x + 4, y + 10, 170), (x, y, 40), (x - 3, y, -170)], radius)
    x, y, _ = draw.near((-23, 22, 0), 3)
    width = draw.between(9, 12)
    cava = tubes([(x + 2, y - 8, 110), (x, y, 40), (x + 3, y + 2, -170)], width)
    portal = tubes([(-6, 4, -22), (-16, 2, 0), (-44, 2, 14)], draw.between(6, 8))
    return aorta, cava, portal


def liver_vessels(draw: Draws) -> tuple[Tube, ...]:
    """Three hepatic veins that meet in the cava, and the portal tree; each branch forks again and again."""
    meet, gate = (-20, 12, 78), (-42, 2, 14)
    trunks = [
        (meet, draw.near((-92, 14, 42), 8), 6.5),
        (meet, draw.near((-52, -48, 34), 8), 6.0),
        (meet, draw.near((24, -50, 52), 8), 5.5),
        (gate, draw.near((-92, 22, 8), 8), 7.5),
        (gate, draw.near((-84, -40, 16), 8), 6.5),
        (gate, draw.near((2, -54, 32), 8), 6.0),
    ]
    vessels: list[Tube] = []
    for start, end, radius in trunks:
        _fork(draw, start, end, radius, forks=4, into=vessels)
    return tuple(vessels)


def _fork(draw: Draws, start: Point, end: Point, radius: float, *, forks: int, into: list[Tube]) -> None:
    into.append(Tube(start, end, (radius, radius * 0.75)))
    if forks == 0:
        return
    way = np.array(end) - np.array(start)
    length = float(np.linalg.norm(way)) * 0.62
    aside = np.cross(way, draw.rng.normal(size=3))
    aside *= 1 / np.linalg.norm(aside)
    for sign in (-1, 1):
        step = way / np.linalg.norm(way) + sign * draw.between(0.35, 0.75) * aside
        x, y, z = (np.array(end) + length * step / np.linalg.norm(step)).tolist()
        _fork(draw, end, (x, y, z), radius * 0.74, forks=forks - 1, into=into)
