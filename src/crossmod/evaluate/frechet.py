"""Fréchet distance between two sets of features, exactly and fast also where images are few.

Notable:
- With S1 = A.T A and S2 = B.T B, where A and B are the centred rows divided by sqrt(n - 1), the eigenvalues of S1 S2
  are the squared singular values of A B.T: Tr sqrt(S1 S2) is their sum, the nuclear norm. No matrix square root is
  taken, and no small eigenvalue loses half of its digits, as it does where covariances are formed.
- It is biased: two samples of one distribution lie far apart where they are small (Chong and Forsyth 2020). Only
  distances of equal numbers of images can be compared.
"""

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError


def frechet_distance(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features: 0 or more, in squared feature units.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 sqrt(S1 S2)), with unbiased covariances (Dowson and Landau 1982; Heusel et al. 2017,
    Eq. 6, who call it FID where the features are Inception's).

    Args:
        a: one row an image.
        b: one row an image; they need not be as many.

    Raises:
        InputError: a set of fewer than two rows, which has no covariance, or features that are no numbers.
    """
    for rows in (a, b):
        _refuse_unusable(rows)
    mean_a, first = _mean_and_spread(a)
    mean_b, second = _mean_and_spread(b)
    apart = mean_a - mean_b
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()  # Tr sqrt(S1 S2)
    distance = apart @ apart + np.sum(first**2) + np.sum(second**2) - 2 * shared
    return max(0.0, float(distance))  # of two equal sets, rounding may leave a little less than 0


def _mean_and_spread(
    rows: Float[np.ndarray, "n features"],
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "least features"]]:
    """The mean, and a matrix R with R.T R = the covariance and no more rows than columns."""
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    centred = (rows - mean) / np.sqrt(len(rows) - 1)
    # Q of centred = Q R has orthonormal columns, which change no singular value: many images leave a small R.
    return mean, np.asarray(np.linalg.qr(centred, mode="r")) if len(rows) > rows.shape[1] else centred


def _refuse_unusable(rows: Float[np.ndarray, "n features"]) -> None:
    if len(rows) < 2:
        raise InputError(
            "Fréchet distance",
            found=f"features of {len(rows)} image{'' if len(rows) == 1 else 's'}",
            wanted="those of two or more on each side, since a covariance needs two",
            do="Use more slices.",
        )
    if not np.isfinite(rows).all():
        found = "features that are no numbers"
        raise InputError("Fréchet distance", found=found, wanted="finite ones", do="Look at the images they are of.")
