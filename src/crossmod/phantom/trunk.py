"""Painting the trunk: skin, fat, wall, ribs, lungs, heart and spine, which move as one stiff frame."""

from dataclasses import dataclass

import numpy as np

from crossmod.phantom.person import Person
from crossmod.phantom.shapes import Canvas, Ellipsoid, Length, Plane, Shape, Tube, smooth_minimum, tubes
from crossmod.phantom.tissues import TISSUES

SKIN = 2.0
DIAPHRAGM = 3.0
# Ribs: mm from one to the next, fall per mm of way around the chest, and how far round each goes, lowest first.
RIB_PITCH, RIB_FALL = 26.0, 0.42
RIB_WAYS = np.array([105.0, 175.0, 245.0, 265.0, 285.0, 300.0, 310.0, 310.0, 310.0])
# Places of the spine's parts in the person's frame: centre of the vertebral bodies and of the canal.
BODY_Y, CANAL_Y = 48.0, 76.0


@dataclass(frozen=True, eq=False)
class OrganSpace:
    """The spaces that organs lie in, as distances over one plane."""

    cavity: Plane  # to the inside of the body wall
    dome: Plane  # to the diaphragm, negative below it


def paint_trunk(canvas: Canvas, person: Person) -> OrganSpace:
    """Paint skin to lungs and heart; what is left for the organs, the space returned, is fat."""
    x, y, z = canvas.frame
    # Trunks are not cylinders.
    widening = 1 / (1 + person.taper * z * (1 / 120))
    x, y = x * widening, y * widening
    wide, front, back = person.cavity
    side, before, behind = person.fat_under_skin
    half, depth, rear = wide + person.wall, front + person.wall - 3, back + 16
    cavity = _oval(x, y, (wide, front, back), person.roundness)
    wall = _oval(x, y, (half, depth, rear), person.roundness)
    skin = _oval(x, y, (half + side, depth + before, rear + behind), person.roundness)
    # The furrow over the spine.
    skin += (0.25 * behind + 2) * np.exp(-((x / 13) ** 2)) * (y > 0)
    canvas.paint(TISSUES["skin"], skin)
    canvas.paint(TISSUES["fat"], skin + SKIN)
    canvas.paint(TISSUES["muscle"], wall)
    _paint_ribs(canvas, person, x, y, z, wall)
    canvas.paint(TISSUES["fat"], cavity)
    _paint_flank(canvas, person, wall)
    dome = smooth_minimum(_dome(person.right_dome, x, y, z), _dome(person.left_dome, x, y, z), 14)
    _paint_chest(canvas, person, cavity, dome)
    return OrganSpace(cavity, dome)


def _paint_flank(canvas: Canvas, person: Person, wall: Plane) -> None:
    """Paint the thin fat that parts the muscles of the wall: in the midline, beside the straight ones, in layers."""
    x, y, z = canvas.frame
    across, front = np.abs(x), np.maximum(wall, y + 0.45 * person.cavity[1])
    midline = across - 1.5
    beside = np.abs(across - 62) - 1.5
    canvas.paint(TISSUES["fat"], np.maximum(np.minimum(midline, beside), front))
    layers = np.abs(np.abs(wall + 0.5 * person.wall) - 0.17 * person.wall) - 0.6
    flank = np.maximum(np.maximum(62 - across, z + 45), np.abs(y) - 60)
    canvas.paint(TISSUES["fat"], np.maximum(layers, flank))


def _oval(x: Plane, y: Plane, reach: tuple[float, float, float], roundness: float) -> Plane:
    """Distance along the ray to an oval of half width, depth to the front and depth to the back `reach`."""
    wide, front, back = reach
    depth = np.where(y < 0, front, back).astype(np.float32)
    ring = (np.abs(x / wide) ** roundness + np.abs(y / depth) ** roundness) ** (1 / roundness)
    return np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(ring, 1e-3))


def _dome(dome: Ellipsoid, x: Plane, y: Plane, z: Plane) -> Plane:
    # Below its equator a dome goes straight down: there the wall, not the diaphragm, bounds the belly.
    return dome.distance(x, y, np.maximum(z, dome.centre[2]))


def _paint_ribs(canvas: Canvas, person: Person, x: Plane, y: Plane, z: Plane, wall: Plane) -> None:
    way = np.arctan2(np.abs(x), y) * 118
    turns = (z + RIB_FALL * way - person.rib_at) * (1 / RIB_PITCH)
    number = np.rint(turns)
    height = (turns - number) * (RIB_PITCH * 0.92)
    depth = wall + 0.55 * person.wall
    scaled = np.sqrt((depth / 4.6) ** 2 + (height / 7.0) ** 2)
    known = np.clip(number, 0, len(RIB_WAYS) - 1).astype(int)
    end = np.where(number < 0, -100.0, RIB_WAYS[known]).astype(np.float32)
    rib = np.maximum((scaled - 1) * 5.0, np.maximum(way - end, 22 - way))
    canvas.paint(TISSUES["bone"], rib)
    canvas.paint(TISSUES["marrow"], rib + 2.2)


def _paint_chest(canvas: Canvas, person: Person, cavity: Plane, dome: Plane) -> None:
    x, y, z = canvas.frame
    # The lungs reach lower behind than in front.
    floor = (person.sulcus - np.where(y > 0, 0.42, 0.2).astype(np.float32) * y - z) * 0.92
    lung = np.maximum(np.maximum(cavity + 2, -dome), floor)
    canvas.paint(TISSUES["muscle"], lung - DIAPHRAGM)
    canvas.paint(TISSUES["lung"], lung)
    above = np.maximum(cavity + 3, -dome)
    middle = Ellipsoid((4, 26, 140), (30, 34, 130))
    canvas.paint(TISSUES["fat"], np.maximum(middle.distance(x, y, z), above))
    heart = person.heart
    for tissue, margin in (("fat", 7.0), ("heart", 0.0)):
        canvas.paint(TISSUES[tissue], np.maximum(heart.grown(margin).distance(x, y, z), above))
    hx, hy, hz = heart.centre
    for chamber in (
        Ellipsoid((hx + 14, hy + 8, hz), (30, 19, 30), heart.turn),
        Ellipsoid((hx - 24, hy - 8, hz), (26, 26, 32), heart.turn),
    ):
        canvas.paint(TISSUES["artery"], np.maximum(chamber.distance(x, y, z), above))
    _paint_stiff(canvas, "muscle", tubes([(5, 30, 170), (10, 22, 74), (38, 16, 62)], 8))
    breastbone = Ellipsoid((0, -(person.cavity[1] + 6), 140), (17, 6, 62))
    _paint_stiff(canvas, "bone", breastbone)
    _paint_stiff(canvas, "marrow", breastbone.grown(-2.2))


def paint_spine(canvas: Canvas, person: Person) -> None:
    """Paint the muscles of the back, the vertebrae and the canal over what is there."""
    for side in (-1, 1):
        for muscle in (
            Ellipsoid((side * 33, 82, 0), (28, 18, 900)),
            Tube((side * 24, 46, 0), (side * 44, 40, -140), (5, 21)),
            Ellipsoid((side * 64, 68, -110), (20, 9, 95), (0, 0, side * 15)),
            Tube((side * 14 - 2, 30, 72), (side * 17, 40, -50), (5, 6)),
        ):
            _paint_stiff(canvas, "muscle", muscle)
    x, y, z = canvas.frame
    window = canvas.window(((-50, 20, -900), (50, 110, 900)))
    if window is None:
        return
    x, y, z = x[window], y[window], z[window]
    turns = (z - person.disc_at) * (1 / person.vertebra) - 0.5
    centre = np.abs(turns - np.rint(turns)) * person.vertebra
    half = person.vertebra / 2 - 4.0
    # The waist of a vertebra is narrower than its plates.
    column = _ring(x, y, BODY_Y, 23, 17) + 2.5 * (1 - np.minimum(centre / half, 1))
    canvas.paint(TISSUES["disc"], column, window)
    canvas.paint(TISSUES["bone"], np.maximum(column, centre - half), window)
    canvas.paint(TISSUES["marrow"], np.maximum(column + 2.2, centre - half + 1.8), window)
    _paint_arch(canvas, window, (x, y), centre)


def _paint_arch(canvas: Canvas, window: tuple[slice, slice], place: tuple[Plane, Plane], centre: Plane) -> None:
    x, y = place
    across = np.abs(x)
    arch = np.minimum(_ring(x, y, CANAL_Y, 16, 15), _segment(across, y, (12, 73), (36, 79), 4.0) + (centre - 7).clip(0))
    arch = np.minimum(arch, _segment(across, y, (0, 90), (0, 98), 4.0))
    canvas.paint(TISSUES["muscle"], _ring(x, y, CANAL_Y, 16, 15), window)
    canvas.paint(TISSUES["bone"], np.maximum(arch, centre - 11), window)
    canvas.paint(TISSUES["marrow"], np.maximum(arch + 2.6, centre - 8), window)
    canvas.paint(TISSUES["csf"], _ring(x, y, CANAL_Y, 10.5, 9), window)
    # The cord ends at the first lumbar vertebra; below it the nerve roots lie at the back of the canal.
    high = canvas.height > -20
    nerve = _ring(x, y, CANAL_Y, 5.5, 4.5) if high else _ring(x, y, CANAL_Y + 4, 6, 2.5)
    canvas.paint(TISSUES["nerve"], nerve, window)


def _ring(x: Plane, y: Plane, y0: Length, wide: Length, deep: Length) -> Plane:
    scaled = np.sqrt((x / wide) ** 2 + ((y - y0) / deep) ** 2)
    return (scaled - 1) * min(wide, deep)


def _segment(x: Plane, y: Plane, start: tuple[Length, Length], end: tuple[Length, Length], radius: Length) -> Plane:
    ax, ay = end[0] - start[0], end[1] - start[1]
    dx, dy = x - start[0], y - start[1]
    along = np.clip((dx * ax + dy * ay) * (1 / (ax * ax + ay * ay)), 0, 1)
    return np.sqrt((dx - along * ax) ** 2 + (dy - along * ay) ** 2) - radius


def _paint_stiff(canvas: Canvas, tissue: str, shape: Shape) -> None:
    window = canvas.window(shape.box)
    if window is not None:
        x, y, z = (place[window] for place in canvas.frame)
        canvas.paint(TISSUES[tissue], shape.distance(x, y, z), window)
