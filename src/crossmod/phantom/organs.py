"""Painting the organs of the upper abdomen, from the back of the picture to its front."""

from itertools import compress

import numpy as np

from crossmod.phantom.person import Bowel, Person
from crossmod.phantom.shapes import Canvas, Ellipsoid, Plane, smooth_maximum, smooth_minimum
from crossmod.phantom.tissues import TISSUES
from crossmod.phantom.trunk import OrganSpace

# Thicknesses, mm.
WALL_OF_GUT = 3.0
CORTEX = 8.0
DISTANCE_TO_DOME = 4.0


def paint_organs(canvas: Canvas, person: Person, space: OrganSpace) -> None:
    """Paint all organs into the fat of the belly; later ones press into earlier ones."""
    # No organ touches the wall or the diaphragm.
    inside = np.maximum(space.cavity + 2.5, space.dome + DISTANCE_TO_DOME)
    for piece in compress(person.bowel, canvas.crosses(piece.shape for piece in person.bowel)):
        _paint_bowel(canvas, piece, inside)
    canvas.paint_shape(TISSUES["spleen"], person.spleen, within=inside)
    _paint_stomach(canvas, person, inside)
    _paint_liver(canvas, person, inside)
    canvas.paint_shape(TISSUES["fat"], person.gallbladder, within=inside, margin=2.0)
    canvas.paint_shape(TISSUES["gut_wall"], person.gallbladder, within=inside, margin=1.2)
    canvas.paint_shape(TISSUES["bile"], person.gallbladder, within=inside)
    canvas.paint_shape(TISSUES["fat"], person.pancreas, margin=2.0)
    canvas.paint_shape(TISSUES["pancreas"], person.pancreas)
    canvas.paint_shape(TISSUES["vein"], person.portal)
    _paint_kidney(canvas, person.right_kidney, "right", 1)
    _paint_kidney(canvas, person.left_kidney, "left", -1)
    canvas.paint_shape(TISSUES["vein"], person.cava)
    canvas.paint_shape(TISSUES["fat"], person.aorta, margin=3.0)


def paint_aorta(canvas: Canvas, person: Person) -> None:
    """Paint the aorta; last, because it lies before the crura and the spine."""
    canvas.paint_shape(TISSUES["gut_wall"], person.aorta, margin=1.2)
    canvas.paint_shape(TISSUES["artery"], person.aorta)


def _paint_bowel(canvas: Canvas, piece: Bowel, inside: Plane) -> None:
    window = canvas.window(piece.shape.box)
    if window is None:
        return
    x, y, z = (place[window] for place in canvas.organs)
    loop = np.maximum(piece.shape.distance(x, y, z), inside[window] + 2)
    canvas.paint(TISSUES["fat"], loop - 1.5, window)
    canvas.paint(TISSUES["gut_wall"], loop, window)
    canvas.paint(TISSUES[piece.content], loop + WALL_OF_GUT, window)
    canvas.paint(TISSUES["gas"], np.maximum(loop + WALL_OF_GUT, y - piece.gas_above), window)


def _paint_stomach(canvas: Canvas, person: Person, inside: Plane) -> None:
    window = canvas.window(person.stomach.box)
    if window is None:
        return
    x, y, z = (place[window] for place in canvas.organs)
    stomach = smooth_maximum(person.stomach.distance(x, y, z), inside[window], 8)
    canvas.paint(TISSUES["fat"], stomach - 3, window)
    canvas.paint(TISSUES["gut_wall"], stomach, window)
    canvas.paint(TISSUES["stomach_fluid"], stomach + WALL_OF_GUT + 1, window)
    canvas.paint(TISSUES["gas"], np.maximum(stomach + WALL_OF_GUT + 1, y - person.gas_above), window)


def _paint_liver(canvas: Canvas, person: Person, inside: Plane) -> None:
    (x0, y0, z0), (x1, y1, z1) = person.right_lobe.box
    (x2, y2, z2), (x3, y3, z3) = person.left_lobe.box
    box = ((min(x0, x2), min(y0, y2), min(z0, z2)), (max(x1, x3), max(y1, y3), max(z1, z3)))
    window = canvas.window(box)
    if window is None:
        return
    x, y, z = (place[window] for place in canvas.organs)
    # The visceral surface: an oblique plane that leaves, going down, less and less beside the kidney.
    under = (x - z + 0.25 * y + 6 - person.liver_tip) * 0.69
    right = smooth_maximum(person.right_lobe.distance(x, y, z), under, 30)
    left = person.left_lobe.distance(x, y, z)
    liver = smooth_maximum(smooth_minimum(right, left, 16), inside[window], 6)
    canvas.paint(TISSUES["fat"], liver - 1.5, window)
    canvas.paint(TISSUES["liver"], liver, window)
    whole = np.full(inside.shape, 100, np.float32)
    whole[window] = liver + 3
    for vessel in compress(person.liver_vessels, canvas.crosses(person.liver_vessels)):
        canvas.paint_shape(TISSUES["liver_vessel"], vessel, within=whole)
    # The cleft of the falciform ligament, between the lobes.
    cleft = np.maximum(np.maximum(np.abs(x - 4 - 0.15 * (y + 60)) - 1.5, np.abs(z - 14) - 26), y + 46)
    canvas.paint(TISSUES["fat"], np.maximum(cleft, liver), window)


def _paint_kidney(canvas: Canvas, kidney: Ellipsoid, name: str, inwards: int) -> None:
    """Paint a kidney in its fat; `inwards` is the direction of `x` that its hilum looks to."""
    canvas.paint_shape(TISSUES["fat"], kidney, margin=7.0)
    canvas.paint_shape(TISSUES[f"{name}_cortex"], kidney)
    window = canvas.window(kidney.box)
    if window is None:
        return
    x, y, z = (place[window] for place in canvas.organs)
    (cx, cy, cz), length = kidney.centre, kidney.radii[2]
    core = kidney.distance(x, y, z) + CORTEX
    # Pyramids: columns of cortex run in between them.
    around = np.arctan2(z - cz, 2.2 * (x - cx - inwards * 8)) * 5
    columns = (np.cos(around) - 0.75) * 4
    canvas.paint(TISSUES[f"{name}_medulla"], np.maximum(core, columns), window)
    sinus = Ellipsoid((cx + inwards * 13, cy - 9, cz), (15, 9, 0.42 * length))
    hollow = sinus.distance(x, y, z)
    canvas.paint(TISSUES["fat"], hollow, window)
    canvas.paint(TISSUES["urine"], sinus.grown(-4.5).distance(x, y, z), window)
    out = Ellipsoid((cx + inwards * 26, cy - 16, cz + 4), (16, 4.5, 4.5), (0, 0, inwards * 25))
    canvas.paint_shape(TISSUES["vein"], out)
