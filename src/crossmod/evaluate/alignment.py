"""Whether a synthetic slice lies where its source lies: what label consistency cannot see.

A translator may shift everything, and translate back what it shifted: the cycle closes, the discriminators know no
source, and a segmentor that was trained along learns the same shift. Labels then lie beside their organs.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_gradient_magnitude

# No translator was seen to shift further; a wider search finds chance likenesses.
FURTHEST = 1 / 8


def shift_between(
    first: Float[np.ndarray, "rows columns"], second: Float[np.ndarray, "rows columns"]
) -> tuple[int, int]:
    """How many rows and columns `second` lies away from `first`, to the nearest pixel.

    The edges of the two images, whatever the contrast across them, are laid over each other where they correlate best.
    """
    edges = [gaussian_gradient_magnitude(image.astype(np.float64), 1.0) for image in (first, second)]
    a, b = (np.fft.rfft2(edge - edge.mean()) for edge in edges)
    likeness = np.fft.irfft2(np.conj(a) * b, first.shape)
    limits = [max(1, int(length * FURTHEST)) for length in first.shape]
    near = np.roll(likeness, limits, axis=(0, 1))[: 2 * limits[0] + 1, : 2 * limits[1] + 1]
    if near.max() <= 0:  # an image without edges lies nowhere
        return 0, 0
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    return int(row) - limits[0], int(column) - limits[1]
