"""Scans as readers see them: equal in everything but their content.

Notable:
- The picture is centred on the body, as models see slices: a body off centre would reveal a real scan. The field of
  view is the smallest of all drawn scans, so that no scan has a padded rim, and bodies of one size are shown equally
  large. A scan that is narrower in one direction is padded, as in training.
- The pixels are as coarse as the coarsest of all drawn scans, and are then enlarged equally, so that sharpness is that
  of the scan.
- Real values are whole numbers; synthetic ones are not, or are those of 16-bit arithmetic. Each value is first spread
  evenly up to half way to its neighbours, then all are rounded, so that no comb in a histogram distinguishes them.
- The lowest and the highest 2 % of the range become its ends: padding and saturated bone are exact in real scans and
  nearly so in synthetic ones.
- Volumes have equally many slices, evenly over the same millimetres around the middle of the layers. The nearest slice
  is taken, never an interpolation, which would blur only stacks with thin slices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int16, Num, Shaped
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from crossmod.reader.design import Design

# Share of the range that is set to its end, on both sides.
FLAT = 0.02
# A value is spread by at most this share of the range.
WIDEST = 0.01


@dataclass(frozen=True)
class Look:
    """Geometry that all scans of a survey share."""

    field: float  # width of the picture, mm
    pixels: int  # per side before enlarging, those of the coarsest scan
    step: float = 1.0  # mm from slice to slice; 1 of single slices
    slices: int = 1  # of a volume; 1 of single slices


def common_look(
    sizes: Sequence[tuple[tuple[int, int], tuple[float, float]]], size: int, offsets: Sequence[tuple[float, float]] = ()
) -> tuple[float, int]:
    """Field of view and pixels of all scans: the smallest field, the coarsest pixels; `offsets` move pictures, mm."""
    field = min(
        max(count * mm - 2 * abs(off) for count, mm, off in zip(shape, spacing, offset, strict=True))
        for (shape, spacing), offset in zip(sizes, offsets or [(0.0, 0.0)] * len(sizes), strict=True)
    )
    coarsest = max(max(mm) for _, mm in sizes)
    # Half a thousandth of a pixel is rounding, not a missing pixel.
    return round(field, 3), min(size, max(int(field / coarsest + 5e-4), 1))


def common_steps(stacks: Sequence[Float[np.ndarray, " _slices"]]) -> tuple[float, int]:
    """Step and number of slices that fit all stacks: the shortest stack, the widest step."""
    length = min(float(z[-1] - z[0]) for z in stacks)
    widest = max(float(np.diff(z).max()) for z in stacks)
    slices = int(length / widest + 5e-4) + 1
    return (length / (slices - 1) if slices > 1 else widest), slices


def nearest_slices(z: Float[np.ndarray, " slices"], step: float, slices: int) -> list[int]:
    """Indexes of the slices nearest to evenly spaced positions around the middle."""
    expected = (z[0] + z[-1]) / 2 + step * (np.arange(slices) - (slices - 1) / 2)
    return [int(i) for i in np.abs(z[None] - expected[:, None]).argmin(axis=1)]


def value_range(voxels: Num[np.ndarray, "slices rows columns"], design: Design) -> tuple[float, float]:
    """The values of a case that become the lowest and the highest of the picture."""
    if design.modality == "ct":
        return design.window
    low, high = np.percentile(voxels, design.percentiles)
    return float(low), float(high)


def levels_of(voxels: Num[np.ndarray, "slices rows columns"]) -> Float[np.ndarray, " levels"]:
    """The distinct values of a case, rising."""
    return np.unique(voxels).astype(np.float64)


def spread_levels(
    values: Num[np.ndarray, "*shape"],
    levels: Float[np.ndarray, " levels"],
    value_range: tuple[float, float],
    generator: np.random.Generator,
) -> Float[np.ndarray, "*shape"]:
    """Values spread evenly up to half way to their neighbours, without gaps."""
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
    """Slices as they are shown."""
    low, high = value_range
    even = spread_levels(voxels, levels, value_range, generator)
    # Clipped before resampling, as synthetic values were: else air would darken the rim of real bodies only.
    share = np.clip((even - low) / (high - low), 0, 1).astype(np.float32)
    shown = np.stack([_resampled(image, mm, look, design.size, offset) for image in share])
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
    """The field of view around the middle; merging pixels widens the kernel, so that nothing is aliased."""
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
    """A NIfTI file, not compressed, whose header is the same for all scans of a survey."""
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
