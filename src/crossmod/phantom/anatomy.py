"""A person on a grid: the tissues of each voxel.

Notable:
- The person is defined in millimetres, without voxels, so that CT and MR grids of one person agree.
- A voxel holds its two commonest tissues and the share of the first: partial volume at the price of three arrays.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from crossmod.data.volume import Affine, Labels
from crossmod.phantom.organs import paint_aorta, paint_organs
from crossmod.phantom.person import Person
from crossmod.phantom.shapes import Canvas
from crossmod.phantom.tissues import ORGAN_TISSUES, ORGANS, TISSUES, table
from crossmod.phantom.trunk import paint_spine, paint_trunk

__all__ = ["ORGANS", "TISSUES", "Anatomy", "Grid", "lay_on_grid", "organ_labels"]

# Thick slices are averaged over planes this far apart, mm, but over no more planes than that.
PLANE_DISTANCE = 4.0
MOST_PLANES = 3


@dataclass(frozen=True)
class Grid:
    """Where a scan's voxels are; lengths in mm, relative to the middle of the liver.

    Args:
        size: rows and columns.
        slices: their number.
        field: width and height of a slice.
        bottom: lowest slice.
        top: highest slice.
        thickness: of one slice, as a fraction of the distance between two.
        centre: middle of the slices, to the left and to the back of the person's own.
    """

    size: int = 128
    slices: int = 32
    field: float = 380.0
    bottom: float = -120.0
    top: float = 110.0
    thickness: float = 0.8
    centre: tuple[float, float] = (0.0, 0.0)

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
        paint_aorta(canvas, person)
        total += canvas.shares(len(TISSUES))
    return total / planes


def _two_commonest(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = shares.argmax(axis=0)[None]
    most = np.take_along_axis(shares, first, axis=0)
    np.put_along_axis(shares, first, -1.0, axis=0)
    second = shares.argmax(axis=0)[None]
    next_most = np.maximum(np.take_along_axis(shares, second, axis=0), 0)
    return first[0].astype(np.uint8), second[0].astype(np.uint8), (most / (most + next_most))[0]
