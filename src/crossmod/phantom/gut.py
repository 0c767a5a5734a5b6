"""Draws of the gut: stomach, colon and small bowel, with what they hold."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crossmod.phantom.draws import Draws
from crossmod.phantom.shapes import Ellipsoid, Melted, Tube


@dataclass(frozen=True, eq=False)
class Bowel:
    """One piece of bowel."""

    shape: Ellipsoid
    content: str
    """Tissue that fills it."""
    gas_above: float
    """It holds gas in front of this `y`, mm."""


def draw_stomach(draw: Draws) -> tuple[Melted, float]:
    """The stomach, and the `y` in front of which it holds gas."""
    fill = draw.between(0.6, 1.15)
    fundus = draw.ellipsoid((62, 12, 54), (42 * fill, 44 * fill, 34), (0, 0, 0), spread=5, tilt=8)
    body = draw.ellipsoid((62, -14, 16), (34 * fill, 38 * fill, 44), (15, 0, 0), spread=5, tilt=8)
    antrum = Tube(draw.near((52, -44, -14), 5), draw.near((-8, -40, -18), 5), (21 * fill, 13 * fill))
    return Melted((fundus, body, antrum), blend=18), draw.between(-42, -12)


def draw_colon(draw: Draws) -> tuple[Bowel, ...]:
    """The colon as a chain of haustra, each with its own fold, content and gas."""
    wide, sag = draw.between(0.85, 1.15), draw.between(-25, 10)
    corners = [
        draw.near(point, 6)
        for point in (
            (-98, 14, -150),
            (-88, -12, -82),
            (-50, -52, -76 + sag),
            (10, -60, -70 + sag),
            (62, -48, -48),
            (96, -6, -14),
            (104, 22, -70),
            (106, 24, -150),
        )
    ]
    haustra: list[Bowel] = []
    for part, (start, end) in enumerate(pairwise(corners)):
        way = np.array(end) - np.array(start)
        count = max(round(float(np.linalg.norm(way)) / 21), 1)
        radius = wide * (21 - 1.3 * part)
        content = "stool" if draw.between(0, 1) < 0.7 else "chyme"
        fill = draw.between(-0.9, 0.7)
        for step in range(count):
            x, y, z = (np.array(start) + way * (step / count)).tolist()
            ball = draw.ellipsoid((x, y, z), (radius, radius, radius), (0, 0, 0), spread=3, tilt=40)
            haustra.append(Bowel(ball, content, y + fill * radius))
    return tuple(haustra)


def draw_small_bowel(draw: Draws) -> tuple[Bowel, ...]:
    """Loops of small bowel, mostly below the stomach; some hold fluid, some are empty, a few hold gas."""
    loops: list[Bowel] = []
    for _ in range(int(draw.rng.integers(52, 68))):
        x, y, z = (place + draw.between(-1, 1) * room for place, room in zip((20, -32, -78), (74, 40, 76), strict=True))
        loop = draw.ellipsoid((x, y, z), (25, 14, 14), (0, 0, 0), spread=0, tilt=80)
        gas = y - draw.between(2, 10) if draw.between(0, 1) < 0.15 else -1000.0
        content = "chyme" if draw.between(0, 1) < 0.6 else "gut_wall"
        loops.append(Bowel(loop, content, gas))
    return tuple(loops)
