"""How alike neighbouring pixels are: in a scan they are, in noise without an image they are not."""

import numpy as np
from jaxtyping import Float, Shaped

# Slices that are looked at.
LOOKED_AT = 16
# Percentiles that values are clipped to.
CLIPPED = (1.0, 99.0)


def likeness(voxels: Shaped[np.ndarray, "slices rows columns"]) -> tuple[float, float]:
    """Correlation of pixels with those beside or below them, whichever is less, and the standard deviation of all.

    Of some slices, evenly spread; the correlation is 1 where all values are one.
    """
    chosen = np.unique(np.linspace(0, len(voxels) - 1, LOOKED_AT).round().astype(int))
    seen = voxels[chosen].astype(np.float64)
    # Single bright voxels, such as of metal, would outweigh all others.
    seen = np.clip(seen, *np.percentile(seen, CLIPPED))
    seen -= seen.mean()
    variance = float(np.mean(seen**2))
    pairs = [(seen[:, :, :-1], seen[:, :, 1:]), (seen[:, :-1], seen[:, 1:])]
    along = [_mean_product(one, next_) / variance for one, next_ in pairs if one.size and variance > 0]
    return min(along, default=1.0), variance**0.5


def _mean_product(one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."]) -> float:
    return float(np.mean(one * other))
