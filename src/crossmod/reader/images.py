"""Scans as readers see them: alike in everything that is not what the scan shows.

Notable:
- The middle of the body is the middle of the picture: models see slices so, and a body beside the middle would tell a
  real scan. The field of view around it is the smallest of all that were drawn, so that no scan has a rim that was made
  up and none a body that is larger in the picture than another of its size. What is narrower one way is filled up, as
  in training.
- The pixels are no finer than the coarsest that were drawn, and are then enlarged alike: sharpness is the scan's own.
- Real values are whole numbers and synthetic ones are not, or are those of 16-bit arithmetic: each value is first
  spread evenly up to half way to its neighbours, then all are rounded alike. No comb in a histogram tells them apart.
- The lowest and the highest 2 % of the values become the ends: padding is exact in real scans and nearly so in
  synthetic ones, and saturated bone likewise.
- Volumes have the same slices, evenly over the same millimetres around the middle of the layers. The nearest slice
  is taken, never a mix of two, which would blur fine stacks and not coarse ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int16, Num, Shaped
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from crossmod.reader.design import Design

# Share of the range that is made one with its end, either way.
FLAT = 0.02
# A value is spread this share of the range at most: farther apart, two values are no neighbours.
WIDEST = 0.01


@dataclass(frozen=True)
class Look:
    """What all scans of a survey have in common.

    Args:
        field: width of the picture, mm.
        pixels: a side, before it is enlarged: as many as the coarsest scan has.
        step: mm from slice to slice; of a slice by itself 1.
        slices: of a volume; 1 of a slice.
    """

    field: float
    pixels: int
    step: float = 1.0
    slices: int = 1


def common_look(
    sizes: Sequence[tuple[tuple[int, int], tuple[float, float]]], size: int, offsets: Sequence[tuple[float, float]] = ()
) -> tuple[float, int]:
    """Field of view and pixels that all scans have: the smallest field, the coarsest pixels.

    Args:
        sizes: rows and columns, and millimetres of either, of each scan.
        size: pixels a side of the picture, of which there are no more.
        offsets: of each scan, millimetres from the middle of its field to that of its picture; default: none.
    """
    field = min(
        max(count * mm - 2 * abs(off) for count, mm, off in zip(shape, spacing, offset, strict=True))
        for (shape, spacing), offset in zip(sizes, offsets or [(0.0, 0.0)] * len(sizes), strict=True)
    )
    coarsest = max(max(mm) for _, mm in sizes)
    # Half a thousandth of a pixel is rounding, not a missing pixel.
    return round(field, 3), min(size, max(int(field / coarsest + 5e-4), 1))


def common_steps(stacks: Sequence[Float[np.ndarray, " _slices"]]) -> tuple[float, int]:
    """Step and number of slices that all stacks can give: the shortest stack, the widest step.

    Args:
        stacks: rising positions of the slices that may be shown, mm.
    """
    length = min(float(z[-1] - z[0]) for z in stacks)
    widest = max(float(np.diff(z).max()) for z in stacks)
    slices = int(length / widest + 5e-4) + 1
    return (length / (slices - 1) if slices > 1 else widest), slices


def nearest_slices(z: Float[np.ndarray, " slices"], step: float, slices: int) -> list[int]:
    """Indexes of the slices that lie nearest to evenly spaced ones around the middle."""
    expected = (z[0] + z[-1]) / 2 + step * (np.arange(slices) - (slices - 1) / 2)
    return [int(i) for i in np.abs(z[None] - expected[:, None]).argmin(axis=1)]


def value_range(voxels: Num[np.ndarray, "slices rows columns"], design: Design) -> tuple[float, float]:
    """The values of a case that become the lowest and the highest of the picture.

    Args:
        voxels: the slices that may be shown.
        design: of the survey.
    """
    if design.modality == "ct":
        return design.window
    low, high = np.percentile(voxels, design.percentiles)
    return float(low), float(high)


def levels_of(voxels: Num[np.ndarray, "slices rows columns"]) -> Float[np.ndarray, " levels"]:
    """The values that a case uses, rising."""
    return np.unique(voxels).astype(np.float64)


def spread_levels(
    values: Num[np.ndarray, "*shape"],
    levels: Float[np.ndarray, " levels"],
    value_range: tuple[float, float],
    generator: np.random.Generator,
) -> Float[np.ndarray, "*shape"]:
    """Values spread evenly up to half way to their neighbours, so that no gap between them is left.

    Args:
        values: of one or several slices.
        levels: that the whole case uses.
        value_range: of the picture.
        generator: of the spreading.
    """
    most = WIDEST * (value_range[1] - value_range[0])
    half = np.minimum(np.diff(levels) / 2, most)
    at = np.searchsorted(levels, values)
    below, above = np.concatenate([[0.0], half])[at], np.concatenate([half, [0.0]])[at]
    return values - below + generator.random(values.shape) * (below + above)


def picture(
    voxels: Num[np.ndarray, "slices rows columns"],
    mm: tuple[float, float],
    levels: Float[np.ndarray, " levels"],
    value_range: tuple[float, float],
    look: Look,
    design: Design,
    generator: np.random.Generator,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Int16[np.ndarray, "slices size size"]:
    """Slices as they are shown.

    Args:
        voxels: the slices.
        mm: of a row and a column.
        levels: values that their case uses.
        value_range: of their case.
        look: of the survey.
        design: of the survey.
        generator: of their case.
        offset: millimetres from the middle of their field to that of the picture, down the rows and along the columns.
    """
    low, high = value_range
    even = spread_levels(voxels, levels, value_range, generator)
    # Cut before anything is resampled, as synthetic values were: air would darken the rim of a real body alone.
    share = np.clip((even - low) / (high - low), 0, 1).astype(np.float32)
    shown = np.stack([_resampled(one, mm, look, design.size, offset) for one in share])
    first, last = design.levels
    values = np.rint(first + np.clip(shown, 0, 1) * (last - first))
    margin = FLAT * (last - first)
    values[values <= first + margin] = first
    values[values >= last - margin] = last
    return values.astype(np.int16)


def _resampled(
    image: Float[np.ndarray, "rows columns"],
    mm: tuple[float, float],
    look: Look,
    size: int,
    offset: tuple[float, float],
) -> Float[np.ndarray, "size size"]:
    """The field of view around the middle; a wider kernel where pixels are merged, so that nothing is aliased."""
    lengths = [look.field / step for step in mm]
    begins = [
        (count - length) / 2 + off / step
        for count, length, off, step in zip(image.shape, lengths, offset, mm, strict=True)
    ]
    pads = [
        (max(int(np.ceil(-begin)), 0), max(int(np.ceil(begin + length - count)), 0))
        for begin, length, count in zip(begins, lengths, image.shape, strict=True)
    ]
    padded = np.pad(image, pads)
    top, left = (begin + before for begin, (before, _) in zip(begins, pads, strict=True))
    rows, columns = lengths
    # Rounding may reach outside by less than a millionth of a pixel, which Pillow refuses.
    box = (max(left, 0.0), max(top, 0.0), min(left + columns, padded.shape[1]), min(top + rows, padded.shape[0]))
    coarse = Image.fromarray(padded).resize((look.pixels, look.pixels), Image.Resampling.BILINEAR, box=box)
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


def encoded(values: Shaped[np.ndarray, "slices size size"], look: Look, design: Design) -> bytes:
    """A NIfTI file, not compressed, whose header is the same for all scans of a survey.

    Args:
        values: feet to head, front to back, right to left, as volumes lie.
        look: of the survey.
        design: of the survey.
    """
    size = (look.field / design.size, look.field / design.size, look.step)
    affine = np.diag([*size, 1.0])
    turned = np.ascontiguousarray(values[:, ::-1, ::-1].transpose(2, 1, 0), dtype=np.int16)
    affine[:3, 3] = [-mm * (count - 1) / 2 for mm, count in zip(size, turned.shape, strict=True)]
    image = Nifti1Image(turned, affine)
    image.header.set_xyzt_units("mm")
    image.header["cal_min"], image.header["cal_max"] = design.levels
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image.to_bytes()
