"""The anatomy of one invented patient: organs, on a grid of voxels.

Notable:
- The person is defined in millimetres, without voxels, so that CT and MR grids of one person agree.
- A voxel holds its two commonest tissues and the share of the first: partial volume at the price of three arrays.
"""

from dataclasses import dataclass
from itertools import compress

import numpy as np
from jaxtyping import Float, Float32

from crossmod.data.volume import Affine, Labels
from crossmod.phantom.person import Bowel, Person
from crossmod.phantom.shapes import Canvas, Ellipsoid, Plane, smooth_maximum, smooth_minimum
from crossmod.phantom.tissues import ORGAN_TISSUES, ORGANS, TISSUES, table
from crossmod.phantom.trunk import OrganSpace, paint_spine, paint_trunk

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


# Thick slices are averaged over planes this far apart, mm, but over no more planes than that.
PLANE_DISTANCE = 4.0
MOST_PLANES = 3


@dataclass(frozen=True)
class Grid:
    """Where a scan's voxels are; lengths in mm, relative to the middle of the liver."""

    size: int = 128  # rows and columns
    slices: int = 32  # their number
    field: float = 380.0  # width and height of a slice
    bottom: float = -120.0  # lowest slice
    top: float = 110.0  # highest slice
    thickness: float = 0.8  # of one slice, as a fraction of the distance between two
    centre: tuple[float, float] = (0.0, 0.0)  # middle of the slices, to the left and to the back of the person's own

    @property
    def spacing(self) -> tuple[float, float]:
        """Millimetres between slices and between pixels."""
        return (self.top - self.bottom) / max(self.slices - 1, 1), self.field / self.size

    @property
    def affine(self) -> Affine:
        """Index `(slice, row, column)` to RAS+ millimetres."""
        between, pixel = self.spacing
        corner = -(self.size - 1) / 2 * pixel
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = between, -pixel, -pixel, 1.0
        affine[:3, 3] = -(corner + self.centre[0]), -(corner + self.centre[1]), self.bottom
        return affine


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A person on a grid: codes of the two commonest tissues of each voxel, and the share of the first of both.

    `affine` maps `(slice, row, column, 1)` to RAS+ mm; `liver_fat` is the person's proton fraction of fat in the liver.
    """

    tissues: Labels
    partners: Labels
    share: Float32[np.ndarray, "slices rows columns"]
    affine: Affine
    liver_fat: float

    @property
    def spacing(self) -> tuple[float, float]:
        """Millimetres between slices and between pixels."""
        between, pixel, _ = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return between, pixel

    def mix(self, values: Float[np.ndarray, " tissues"]) -> Float32[np.ndarray, "slices rows columns"]:
        """The mean of a tissue property over each voxel; `values` has one number per tissue code."""
        values = values.astype(np.float32)
        partner = values[self.partners]
        return partner + self.share * (values[self.tissues] - partner)

    @property
    def fat_fractions(self) -> Float[np.ndarray, " tissues"]:
        """Proton fraction of fat in each tissue, in this person."""
        fractions = table("fat")
        fractions[TISSUES["liver"]] = self.liver_fat
        return fractions

    @property
    def fat(self) -> Float32[np.ndarray, "slices rows columns"]:
        """Fraction of each voxel that is fat, 0 to 1."""
        return self.mix(self.fat_fractions)


def lay_on_grid(person: Person, grid: Grid) -> Anatomy:
    """The tissues of `person` in the voxels of `grid`."""
    shape = (grid.slices, grid.size, grid.size)
    tissues, partners = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    share = np.ones(shape, np.float32)
    for index in range(grid.slices):
        shares = _slice_shares(person, grid, index)
        tissues[index], partners[index], share[index] = _two_commonest(shares)
    return Anatomy(tissues, partners, share, grid.affine, person.liver_fat)


def organ_labels(anatomy: Anatomy) -> Labels:
    """The organ that has most of each voxel, by the values of `ORGANS`; 0 elsewhere."""
    labels = np.zeros(len(TISSUES), np.uint8)
    for value, organ in ORGANS.items():
        labels[[TISSUES[name] for name in ORGAN_TISSUES[organ]]] = value
    return labels[anatomy.tissues]


def _slice_shares(person: Person, grid: Grid, index: int) -> Float[np.ndarray, "tissues rows columns"]:
    between, pixel = grid.spacing
    thickness = between * grid.thickness
    planes = min(max(int(np.ceil(thickness / PLANE_DISTANCE)), 1), MOST_PLANES)
    offsets = ((np.arange(planes) + 0.5) / planes - 0.5) * thickness
    across = (np.arange(grid.size) - (grid.size - 1) / 2) * pixel
    total = np.zeros((len(TISSUES), grid.size, grid.size), np.float32)
    for offset in offsets:
        canvas = Canvas(
            (across + grid.centre[0]) / person.scale,
            (across + grid.centre[1]) / person.scale,
            float(grid.bottom + index * between + offset) / person.scale,
            stiff=person.stiff,
            soft=person.soft,
            edge=pixel / person.scale,
        )
        paint_organs(canvas, person, paint_trunk(canvas, person))
        paint_spine(canvas, person)
        # Last, because it lies before the crura and the spine.
        canvas.paint_shape(TISSUES["gut_wall"], person.aorta, margin=1.2)
        canvas.paint_shape(TISSUES["artery"], person.aorta)
        total += canvas.shares(len(TISSUES))
    return total / planes


def _two_commonest(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = shares.argmax(axis=0)[None]
    most = np.take_along_axis(shares, first, axis=0)
    np.put_along_axis(shares, first, -1.0, axis=0)
    second = shares.argmax(axis=0)[None]
    next_most = np.maximum(np.take_along_axis(shares, second, axis=0), 0)
    return first[0].astype(np.uint8), second[0].astype(np.uint8), (most / (most + next_most))[0]
