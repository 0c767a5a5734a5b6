"""Kernel inception distance: like Fréchet's, but without a bias for few images (Binkowski et al. 2018).

Notable:
- It is an unbiased estimate of a squared distance: of two samples of one distribution it is 0 on average, and below 0
  about as often as above. A negative one says that no difference was found.
"""

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError


def kernel(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> Float[np.ndarray, "n m"]:
    """k(x, y) = (x . y / d + 1)^3 of all pairs, d features (Binkowski et al. 2018, Sec. 4)."""
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def kernel_distance(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> float:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, Eq. 3), of the features of two sets of images.

    sum_{i != j} k(a_i, a_j) / n(n-1) + sum_{i != j} k(b_i, b_j) / m(m-1) - 2 sum_{ij} k(a_i, b_j) / nm

    Args:
        a: one row an image.
        b: one row an image; they need not be as many.

    Raises:
        InputError: a set of fewer than two rows, or features that are no numbers.
    """
    for rows in (a, b):
        if len(rows) < 2 or not np.isfinite(rows).all():
            few = len(rows) < 2
            found = f"features of {len(rows)} image{'s' * (len(rows) != 1)}" if few else "features that are no numbers"
            wanted = "those of two or more on each side" if few else "finite ones"
            do = "Use more slices." if few else "Look at the images they are of."
            raise InputError("kernel distance", found=found, wanted=wanted, do=do)
    ones = np.ones(len(a)), np.ones(len(b))
    return weighted_distance(kernel(a, a), kernel(b, b), kernel(a, b), *ones)


def weighted_distance(
    aa: Float[np.ndarray, "n n"],
    bb: Float[np.ndarray, "m m"],
    ab: Float[np.ndarray, "n m"],
    times_a: Float[np.ndarray, " n"],
    times_b: Float[np.ndarray, " m"],
) -> float:
    """The same distance of sets in which images come several times, from the kernel of each image once.

    Args:
        aa: kernel of the first set's images with one another.
        bb: the second set's.
        ab: between the two.
        times_a: how often each image of the first set comes, a whole number; two or more in all.
        times_b: the second set's.
    """
    n, m = times_a.sum(), times_b.sum()
    # Pairs of two places; an image that comes twice is a pair with itself, at two places.
    within_a = (times_a @ aa @ times_a - times_a @ np.diagonal(aa)) / (n * (n - 1))
    within_b = (times_b @ bb @ times_b - times_b @ np.diagonal(bb)) / (m * (m - 1))
    return float(within_a + within_b - 2 * (times_a @ ab @ times_b) / (n * m))
