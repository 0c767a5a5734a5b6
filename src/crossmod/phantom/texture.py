"""Random fields over a grid: the grain of organs, the noise of a scanner, the shading of a coil."""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

Field = Float32[np.ndarray, "slices rows columns"]


def grain(rng: np.random.Generator, shape: tuple[int, int, int], width: tuple[float, float, float]) -> Field:
    """Correlated Gaussian noise of mean 0 and standard deviation 1.

    Args:
        rng: where the draws come from.
        shape: of the volume.
        width: standard deviation of the smoothing along each axis, in voxels.
    """
    field = rng.standard_normal(shape, dtype=np.float32)
    if max(width) > 0.2:
        field = gaussian_filter(field, width, mode="wrap", truncate=3)
    # Nearly constant fields are left alone: a wide smoothing of a small volume has no spread to speak of.
    return field / max(float(field.std()), 1e-6)


def shading(rng: np.random.Generator, shape: tuple[int, int, int], strength: float) -> Field:
    """A smooth positive factor about 1, as coils and body size shade MR.

    Args:
        rng: where the draws come from.
        shape: of the volume.
        strength: roughly the relative change from the middle to the edge.
    """
    z, y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    a = rng.normal(0, strength / 2, size=6).astype(np.float32)
    # Surface coils: the rim is brighter than the depth.
    rim = strength * float(rng.uniform(0.3, 1.0)) * (x * x + y * y - np.float32(0.6))
    return np.exp(rim + a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * x * z)


def standing_wave(shape: tuple[int, int, int], loss: float) -> Field:
    """A factor that darkens the middle of each slice, where at 3 T the waves that excite cancel in a wide body.

    Args:
        shape: of the volume.
        loss: how much of the signal the very middle loses, 0 to 1.
    """
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape[1:])
    dip = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) * np.float32(1 / 0.4**2))
    return np.broadcast_to(1 - np.float32(loss) * dip, shape).astype(np.float32)
