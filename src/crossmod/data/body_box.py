"""Where the body is in a volume's slices, in millimetres: what frames are centred on and sized by.

- Medians over a few slices, evenly along the body: single slices are often wrong about the body.
- In a slice the body ends where rows (columns) hold a tenth of what the widest one holds. Of an ellipse that leaves out
  0.5 %; a table's edge, a cable or a hand beside the body do not reach it.
- The mask of MR is smoothed, and extends one or two of the averaged pixels beyond the skin: boxes of MR are some
  millimetres larger, evenly on all sides.
- A body cut by the field of view ends there. The box says how often that is.
- From side to side the middle is the axis about which the body's depth is most nearly symmetric: unlike the middle of
  what is seen, it does not move when the field cuts one flank more than the other.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Num
from pydantic import BaseModel, ConfigDict, Field

from crossmod.data.volume import Volume

# Slices that are examined, and pixels per side that they are averaged down to.
LOOKED_AT, PIXELS = 16, 192
# Of the widest row or column: what belongs to the body's outline.
EDGE = 0.1
# Of the body's width: the farthest that its axis lies from the middle of what the field shows of it.
ASIDE = 0.15
# Where half of the slices' axes lie farther apart, in mm, the middle of what is seen is taken: a stout body that the
# field cuts on all sides has no outline to go by.
AGREE_MM = 10.0
# Over slices: the body as nearly all of them show it.
OUTER = (5.0, 95.0)

Share = Annotated[float, Field(ge=0, le=1)]
Pair = tuple[float, float]


class BodyBox(BaseModel):
    """Where the body lies in slices, in millimetres from the centre of the volume's first pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    rows: Pair
    """Front and back of the body: the 5th and 95th percentile over slices."""
    columns: Pair
    """Right and left of it."""
    centre: Pair
    """Row of its middle, halfway between the medians of its ends, and column of its axis of symmetry (or middle)."""
    touching: tuple[Share, Share]
    """Share of slices whose body reaches the first or last row, and the first or last column, of the field of view."""
    slices: int = Field(ge=0)
    """Slices that showed a body; 0: none did, and the box is the field of view."""

    @property
    def height(self) -> float:
        """Front to back, mm."""
        return self.rows[1] - self.rows[0]

    @property
    def width(self) -> float:
        """Side to side, mm."""
        return self.columns[1] - self.columns[0]

    def side_around(self, centre: Pair) -> float:
        """Millimetres a side of the smallest square around `centre` that holds it."""
        ends = zip((self.rows, self.columns), centre, strict=True)
        return 2 * max(max(at - low, high - at) for (low, high), at in ends)


def body_box(volume: Volume) -> BodyBox:
    """Where the body lies in a volume, and how often it reaches the edge of the field of view.

    The same volume gives the same box, to a hundredth of a millimetre, whatever else is done to it.
    """
    # Only here: listing a store needs no SciPy.
    from crossmod.data.body_mask import body_mask

    chosen = np.unique(np.linspace(0, len(volume.voxels) - 1, LOOKED_AT).round().astype(int))
    factor = max(-(-max(volume.voxels.shape[1:]) // PIXELS), 1)
    small = _averaged(volume.voxels[chosen], factor)
    bodies = [one for one in body_mask(small, volume.modality) if one.any()]
    edges = [np.array([_ends(one.sum(axis=1)), _ends(one.sum(axis=0))]) for one in bodies]
    return box_of(edges, [_symmetry_axis(one) for one in bodies], volume.voxels.shape[1:], volume.spacing[1:], factor)


def box_of(
    edges: Sequence[Float[np.ndarray, "2 2"]],
    axes: Sequence[float],
    shape: tuple[int, ...],
    spacing: Pair,
    factor: int = 1,
) -> BodyBox:
    """The box of a body, from its edges and axes in some slices.

    Args:
        edges: per slice, first and last row and column of the body, in pixels from the outer edge of the first pixel.
        axes: per slice, the body's axis of symmetry, in the same pixels.
        shape: rows and columns of a slice.
        spacing: mm of rows and columns.
        factor: pixels of the slice per pixel of `edges` and `axes`.
    """
    mm = np.array(spacing)
    far = np.array(shape, dtype=np.float64)
    if not edges:
        ends = np.stack([np.zeros(2), far], axis=1)[None]
    else:
        # Averaging drops what is left over at the far end: a body that reaches the last whole block reaches the end.
        ends = np.stack(edges) * factor
        ends[:, :, 1] = np.where(ends[:, :, 1] >= far // factor * factor, far, ends[:, :, 1])
    touching = ((ends[:, :, 0] <= 0) | (ends[:, :, 1] >= far)).mean(axis=0)
    # From pixel edges to millimetres from the centre of the first pixel.
    ends = (ends - 0.5) * mm[None, :, None]
    low, high = np.percentile(ends[:, :, 0], OUTER[0], axis=0), np.percentile(ends[:, :, 1], OUTER[1], axis=0)
    middle = np.median(ends, axis=0).mean(axis=1)
    if axes and np.subtract(*np.percentile(axes, (75, 25))) * factor * mm[1] <= AGREE_MM:
        middle[1] = (float(np.median(axes)) * factor - 0.5) * mm[1]
    return BodyBox(
        rows=_pair(low[0], high[0]),
        columns=_pair(low[1], high[1]),
        centre=_pair(*middle),
        touching=_pair(*touching, digits=4),
        slices=len(edges),
    )


def _symmetry_axis(body: Bool[np.ndarray, "rows columns"]) -> float:
    """The column about which the body's depth, front to back, is most nearly symmetric, in pixels from the outer edge.

    To half a pixel, no farther than `ASIDE` of the body's width from the middle of what is seen of it.
    """
    depth = body.sum(axis=0).astype(np.float64)
    on = np.flatnonzero(depth)
    first, last = int(on[0]), int(on[-1])
    room = ASIDE * (last - first + 1)

    def asymmetry(twice: int) -> float:
        columns = np.arange(max(0, twice - len(depth) + 1), min(len(depth) - 1, twice) + 1)
        return float(np.abs(depth[columns] - depth[twice - columns]).mean())

    # Twice the axis, so that it may lie between two pixels; columns mirrored about it sum to it.
    twice = np.arange(int(np.ceil(first + last - 2 * room)), int(np.floor(first + last + 2 * room)) + 1)
    apart = [asymmetry(int(one)) for one in twice]
    # Of equal ones, the middle one.
    best = np.flatnonzero(np.array(apart) <= min(apart) + 1e-9)
    return float(np.median(twice[best])) / 2 + 0.5


def _ends(lengths: Num[np.ndarray, " n"]) -> Pair:
    """Where a profile rises above `EDGE` of its peak, and where it falls below it; its ends where it is cut there.

    In pixels from the outer edge of the first one: between two rows (columns) where their lengths cross the limit.
    """
    least = EDGE * lengths.max()
    on = np.flatnonzero(lengths >= least)
    behind = len(lengths) - 1 - int(on[-1])
    return _crossing(lengths, int(on[0]), least), len(lengths) - _crossing(lengths[::-1], behind, least)


def _crossing(lengths: Num[np.ndarray, " n"], at: int, least: float) -> float:
    if at == 0:
        return 0.0
    before, here = float(lengths[at - 1]), float(lengths[at])
    # Lengths are those at the middle of each row.
    return at + 0.5 - (here - least) / (here - before)


def _averaged(voxels: Num[np.ndarray, "slices rows columns"], factor: int) -> Float[np.ndarray, "slices r c"]:
    """Means of blocks of pixels; what is left over at the far ends is dropped."""
    count, rows, columns = voxels.shape
    rows, columns = rows // factor, columns // factor
    blocks = voxels[:, : rows * factor, : columns * factor].astype(np.float32)
    return blocks.reshape(count, rows, factor, columns, factor).mean(axis=(2, 4))


def _pair(first: float, second: float, digits: int = 2) -> Pair:
    return round(float(first), digits), round(float(second), digits)
