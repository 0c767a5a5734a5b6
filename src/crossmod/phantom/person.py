"""One invented patient: all random draws about a body.

- Lengths are mm in the person's own frame: `x` to the left, `y` to the back, `z` to the head; the origin is in front of
  the spine at the height of the liver's hilum.
- Ranges are those of adults; the numbers are round on purpose, none is fitted to any image.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crossmod.phantom.shapes import Ellipsoid, Length, Melted, Point, Tube, Waves, draw_waves, tubes


class Draws:
    """Random draws about a body from one seed."""

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


@dataclass(frozen=True, eq=False)
class Bowel:
    """One piece of bowel."""

    shape: Ellipsoid
    content: str  # tissue that fills it
    gas_above: float  # it holds gas in front of this `y`, mm


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


@dataclass(frozen=True, eq=False)
class Person:
    """One person's anatomy, before any grid."""

    scale: float  # size of the whole body; 1 is a middle-sized adult
    # Half width, depth to the front and depth to the back of the space inside the abdominal wall
    cavity: tuple[float, float, float]
    wall: float  # thickness of the muscular wall
    fat_under_skin: tuple[float, float, float]  # at the sides, in front and behind
    roundness: float  # exponent of the trunk's outline: 2 is an ellipse, more is boxier
    taper: float  # how much wider the trunk is per 120 mm towards the head, as a fraction
    stiff: Waves
    soft: Waves
    disc_at: float  # height of one disc; the others follow at `vertebra`
    vertebra: float
    rib_at: float  # height of the lowest rib beside the spine
    right_dome: Ellipsoid
    left_dome: Ellipsoid
    sulcus: float  # height of the lungs' lower border in the body's middle
    heart: Ellipsoid
    right_lobe: Ellipsoid
    left_lobe: Ellipsoid
    liver_tip: float  # how far the liver reaches down beside the kidney, mm more than the middle
    liver_fat: float  # proton fraction of fat in the liver; above 0.05 it is called fatty
    liver_vessels: tuple[Tube, ...]
    gallbladder: Ellipsoid
    spleen: Ellipsoid
    right_kidney: Ellipsoid
    left_kidney: Ellipsoid
    stomach: Melted
    gas_above: float  # the stomach holds gas in front of this `y`
    pancreas: Melted
    cava: Melted
    aorta: Melted
    portal: Melted
    bowel: tuple[Bowel, ...]

    @property
    def width(self) -> float:
        """Of the whole body from side to side, mm."""
        return 2 * self.scale * (self.cavity[0] + self.wall + self.fat_under_skin[0])


def draw_person(seed: int | np.random.SeedSequence) -> Person:
    """One person; the same seed gives the same person."""
    draw = Draws(seed)
    fatness = float(draw.rng.beta(1.6, 2.4))
    side = 5 + 34 * fatness
    # Fat inside goes with fat outside, but not strictly.
    inside = 14 * float(np.clip(fatness + draw.between(-0.3, 0.3), 0, 1))
    cavity = (126 + inside + draw.between(-4, 4), 74 + inside + draw.between(-5, 5), 82 + draw.between(-3, 3))
    lobes = _lobes(draw, cavity[0])
    aorta, cava, portal = great_vessels(draw)
    stomach, gas_above = draw_stomach(draw)
    return Person(
        scale=draw.between(0.93, 1.07),
        cavity=cavity,
        wall=draw.between(12, 17),
        fat_under_skin=(side, side * draw.between(0.7, 1.2), side * draw.between(0.5, 0.8)),
        roundness=draw.between(2.1, 2.6),
        taper=draw.between(-0.04, 0.05),
        stiff=draw_waves(draw.rng, reach=5.0, shortest=220, longest=500),
        soft=draw_waves(draw.rng, reach=9.0, shortest=70, longest=200),
        disc_at=draw.between(0, 36),
        vertebra=draw.between(33, 38),
        rib_at=draw.between(10, 28),
        right_dome=Ellipsoid((-62, -4, -18), (80, 88, 112 + draw.between(-8, 8))),
        left_dome=Ellipsoid((64, 2, -22), (76, 84, 102 + draw.between(-10, 8))),
        sulcus=draw.between(28, 44),
        heart=draw.ellipsoid((26, -34, 122), (62, 46, 46), (0, 15, -30), spread=6, tilt=6),
        right_lobe=lobes[0],
        left_lobe=lobes[1],
        liver_tip=draw.between(-22, 16),
        liver_fat=0.02 + 0.14 * float(draw.rng.beta(1, 4)),
        liver_vessels=liver_vessels(draw),
        gallbladder=draw.ellipsoid((-34, -52, -22), (14, 20, 27), (25, 0, 0), spread=8, tilt=15),
        spleen=draw.ellipsoid((100, 40, 32), (34, 50, 58), (12, -12, 28), spread=7, tilt=10),
        right_kidney=draw.ellipsoid((-60, 40, -54), (25, 29, 55), (10, 8, 30), spread=7, tilt=9),
        left_kidney=draw.ellipsoid((61, 41, -38), (25, 29, 57), (10, -8, -30), spread=7, tilt=9),
        stomach=stomach,
        gas_above=gas_above,
        pancreas=_pancreas(draw),
        cava=cava,
        aorta=aorta,
        portal=portal,
        bowel=draw_colon(draw) + draw_small_bowel(draw),
    )


def _lobes(draw: Draws, half_width: float) -> tuple[Ellipsoid, Ellipsoid]:
    # The right lobe reaches beyond the wall, which then shapes it; a wide cavity must not leave it hanging in fat.
    right = draw.ellipsoid((-66, -4, 24), (half_width - 38, 92, 104), (0, 18, 0), spread=7, tilt=7)
    reach = draw.between(62, 104)
    left = draw.ellipsoid((10, -46, 44), (reach, 42, 42), (0, -8, 14), spread=8, tilt=8)
    return right, left


def _pancreas(draw: Draws) -> Melted:
    tail, trunk, neck, head = (draw.near(point, 3) for point in ((78, 24, 8), (42, 4, 2), (2, -8, -14), (-22, -2, -30)))
    return Melted(
        (Tube(tail, trunk, (9, 11)), Tube(trunk, neck, (11, 9)), Tube(neck, head, (10, 16))),
        blend=8,
    )
