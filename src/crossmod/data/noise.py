"""What tells noise from a scan: neighbouring pixels are alike in a scan, and not in noise."""

import math

import numpy as np
from jaxtyping import Float, Shaped

# Slices, and pixels of each, that are looked at, about, each with the one beside it and the one below.
SLICES, PIXELS = 16, 4096
# Percentiles that values are clipped to: single bright voxels, such as of metal, would outweigh all others.
CLIPPED = (1.0, 99.0)


def neighbour_correlation(voxels: Shaped[np.ndarray, "slices rows columns"]) -> tuple[float, float]:
    """Correlation of pixels with those beside or below them, whichever is less, and the standard deviation of all.

    The correlation is 1 where all values are one, and in slices of one row or column.
    """
    chosen = np.unique(np.linspace(0, len(voxels) - 1, SLICES).round().astype(int))
    step = max(1, int(math.sqrt(voxels[0].size / PIXELS)))
    seen = voxels[chosen]
    rows, columns = seen.shape[1] - 1, seen.shape[2] - 1
    if min(rows, columns) < 1:
        return 1.0, float(seen.std())
    one = seen[:, :rows:step, :columns:step].astype(np.float64)
    low, high = np.percentile(one, CLIPPED)
    middle = float(np.clip(one, low, high).mean())

    def centred(values: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.clip(values.astype(np.float64), low, high) - middle

    one = centred(one)
    variance = float(np.mean(one**2))
    if not variance:
        return 1.0, 0.0
    beside, below = seen[:, :rows:step, 1::step], seen[:, 1::step, :columns:step]
    return min(float(np.mean(one * centred(other))) / variance for other in (beside, below)), variance**0.5
