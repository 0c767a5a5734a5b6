"""Who lies in the scanner: every random draw about one person's body, made once and then only read.

Notable:
- Lengths are mm in the person's own frame: `x` to the left, `y` to the back, `z` to the head; the origin lies in front
  of the spine at the height of the liver's hilum.
- Ranges are those of adults; the numbers are round on purpose, none is fitted to any image.
"""

from dataclasses import dataclass

import numpy as np

from crossmod.phantom.canvas import Waves, draw_waves
from crossmod.phantom.draws import Draws
from crossmod.phantom.gut import Bowel, draw_colon, draw_small_bowel, draw_stomach
from crossmod.phantom.shapes import Ellipsoid, Melted, Tube
from crossmod.phantom.vessels import great_vessels, liver_vessels


@dataclass(frozen=True, eq=False)
class Person:
    """One person's anatomy, before any grid."""

    scale: float
    """Size of the whole body; 1 is a middle-sized adult."""
    cavity: tuple[float, float, float]
    """Half width, depth to the front and depth to the back of the space inside the abdominal wall."""
    wall: float
    """Thickness of the muscular wall."""
    fat_under_skin: tuple[float, float, float]
    """At the sides, in front and behind."""
    roundness: float
    """Exponent of the trunk's outline: 2 is an ellipse, more is boxier."""
    taper: float
    """How much wider the trunk is per 120 mm towards the head, as a fraction."""
    stiff: Waves
    soft: Waves
    disc_at: float
    """Height of one disc; the others follow at `vertebra`."""
    vertebra: float
    rib_at: float
    """Height of the lowest rib beside the spine."""
    right_dome: Ellipsoid
    left_dome: Ellipsoid
    sulcus: float
    """Height of the lungs' lower border in the body's middle."""
    heart: Ellipsoid
    right_lobe: Ellipsoid
    left_lobe: Ellipsoid
    liver_tip: float
    """How far the liver reaches down beside the kidney, mm more than the middle."""
    liver_fat: float
    """Proton fraction of fat in the liver; above 0.05 it is called fatty."""
    liver_vessels: tuple[Tube, ...]
    gallbladder: Ellipsoid
    spleen: Ellipsoid
    right_kidney: Ellipsoid
    left_kidney: Ellipsoid
    stomach: Melted
    gas_above: float
    """The stomach holds gas in front of this `y`."""
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
