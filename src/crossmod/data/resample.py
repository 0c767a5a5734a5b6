"""Stretching: the whole field of view of a slice, padded to a square and scaled to a number of pixels per side.

Models trained before frames were in millimetres see slices this way; `frame: stretch` requests it.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float32, Num, UInt8

from crossmod.data.frame import Pair, Shape, padding
from crossmod.data.volume import Volume


def square(volume: Volume) -> Volume:
    """Pad slices evenly with their lowest value until they measure the same number of millimetres either way.

    A slice that is square already is left as it is. The affine follows; it is exact to the last added pixel.
    """
    _, rows, columns = volume.voxels.shape
    _, row_mm, column_mm = volume.spacing
    pads = padding((rows, columns), (row_mm, column_mm))
    if not any(sum(pad) for pad in pads):
        return volume
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, 1] * pads[0][0] + affine[:3, 2] * pads[1][0]
    every = [(0, 0), *pads]
    voxels = np.pad(volume.voxels, every, constant_values=volume.voxels.min())
    labels = None if volume.labels is None else np.pad(volume.labels, every)
    return replace(volume, voxels=voxels, labels=labels, affine=affine)


def to_size(volume: Volume, size: int) -> Volume:
    """A volume of square slices, `size` pixels per side, over the same field of view.

    Images are resampled linearly, with a wider kernel where pixels are merged, so that nothing is aliased; labels by
    the nearest pixel. The affine is that of the new pixels.
    """
    volume = square(volume)
    _, rows, columns = volume.voxels.shape
    if (rows, columns) == (size, size):
        return volume
    labels = volume.labels if volume.labels is None else _nearest(volume.labels, (size, size))
    affine = volume.affine.copy()
    # The centre of new pixel 0 lies (scale - 1) / 2 old pixels from the centre of old pixel 0.
    for axis, scale in ((1, rows / size), (2, columns / size)):
        affine[:3, 3] += affine[:3, axis] * (scale - 1) / 2
        affine[:3, axis] *= scale
    voxels = _scaled(volume.voxels.astype(np.float32), (size, size))
    return replace(volume, voxels=voxels, labels=labels, affine=affine)


def stretched(
    images: Num[np.ndarray, "slices a b"], shape: Shape, spacing: Pair, size: int, fill: float | None, *, back: bool
) -> Num[np.ndarray, "slices c d"]:
    """What `to_size` makes of slices of `shape` that are padded with `fill`, or of labels (no fill); or `back`."""
    pads = padding(shape, spacing)
    resize = _nearest if fill is None else _scaled
    if not back:
        values = images if fill is None else images.astype(np.float32)
        return resize(np.pad(values, [(0, 0), *pads], constant_values=fill or 0), (size, size))
    (top, bottom), (left, right) = pads
    padded = resize(images, (top + shape[0] + bottom, left + shape[1] + right))
    return padded[:, top : top + shape[0], left : left + shape[1]]


def _scaled(images: Float32[np.ndarray, "slices a b"], shape: Shape) -> Float32[np.ndarray, "slices c d"]:
    if images.shape[1:] == shape:
        return images
    tensor = torch.from_numpy(np.ascontiguousarray(images))[:, None]
    return F.interpolate(tensor, shape, mode="bilinear", antialias=True)[:, 0].numpy()


def _nearest(labels: UInt8[np.ndarray, "slices a b"], shape: Shape) -> UInt8[np.ndarray, "slices c d"]:
    tensor = torch.from_numpy(np.ascontiguousarray(labels))[:, None].float()
    return F.interpolate(tensor, shape, mode="nearest-exact")[:, 0].to(torch.uint8).numpy()
