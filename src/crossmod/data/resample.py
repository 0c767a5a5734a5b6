"""In-plane resampling of a volume to square slices of the model's size."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows

from crossmod.data.volume import Volume


def square(volume: Volume) -> Volume:
    """Pad slices evenly with their lowest value until they measure the same number of millimetres either way.

    A slice that is square already is left as it is. The affine follows; it is exact to the last added pixel.
    """
    _, rows, columns = volume.voxels.shape
    _, row_mm, column_mm = volume.spacing
    side = max(rows * row_mm, columns * column_mm)
    pads = [(0, 0), *(_both_sides(side / mm - count) for count, mm in ((rows, row_mm), (columns, column_mm)))]
    if not any(sum(pad) for pad in pads):
        return volume
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, 1] * pads[1][0] + affine[:3, 2] * pads[2][0]
    voxels = np.pad(volume.voxels, pads, constant_values=volume.voxels.min())
    labels = None if volume.labels is None else np.pad(volume.labels, pads)
    return replace(volume, voxels=voxels, labels=labels, affine=affine)


def _both_sides(missing: float) -> tuple[int, int]:
    count = max(round(missing), 0)
    return count // 2, count - count // 2


def to_size(volume: Volume, size: int) -> Volume:
    """A volume of square slices, `size` pixels a side, over the same field of view.

    Images are resampled linearly, with a wider kernel where pixels are merged, so that nothing is aliased; labels by
    the nearest pixel. The affine is that of the new pixels.
    """
    volume = square(volume)
    _, rows, columns = volume.voxels.shape
    if (rows, columns) == (size, size):
        return volume
    image = torch.from_numpy(volume.voxels.astype(np.float32))[:, None]
    image = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
    labels = volume.labels
    if labels is not None:
        nearest = F.interpolate(torch.from_numpy(labels)[:, None].float(), (size, size), mode="nearest-exact")
        labels = nearest[:, 0].to(torch.uint8).numpy()
    affine = volume.affine.copy()
    # The centre of new pixel 0 lies (scale - 1) / 2 old pixels from the centre of old pixel 0.
    for axis, scale in ((1, rows / size), (2, columns / size)):
        affine[:3, 3] += affine[:3, axis] * (scale - 1) / 2
        affine[:3, axis] *= scale
    return replace(volume, voxels=image[:, 0].numpy(), labels=labels, affine=affine)
