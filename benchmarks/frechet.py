"""Time of a Fréchet distance by singular values, compared with the usual matrix square root.

Run: `python benchmarks/frechet.py`. Target: 50 times faster for up to 200 images of 2048 features.
"""

import time
from collections.abc import Callable

import numpy as np
from scipy.linalg import sqrtm

from crossmod.metrics.features import frechet_distance
from crossmod.seeds import rng

FEATURES = (512, 2048)
IMAGES = (50, 100, 200)
# Ours takes milliseconds: median of several. The usual method takes seconds: measured once.
REPEATS = 7


def usual(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as in public FID code: covariances, then the square root of their product."""
    apart = a.mean(axis=0) - b.mean(axis=0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    return float(apart @ apart + np.trace(first + second - 2 * root))


def timed(distance: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Seconds, and the result."""
    before = time.perf_counter()
    found = distance(a, b)
    return time.perf_counter() - before, found


def main() -> None:
    print(f"{'features':>8} {'images':>6} {'usual s':>9} {'ours s':>9} {'faster':>8} {'relative difference':>20}")
    for features in FEATURES:
        for images in IMAGES:
            draws = rng(0, "benchmark", features, images)
            # Decreasing standard deviations, as for real features.
            scale = np.arange(1, features + 1) ** -0.5
            a, b = draws.normal(0, scale, (images, features)), draws.normal(0.1 * scale, scale, (images, features))
            slow, expected = timed(usual, a, b)
            runs = [timed(frechet_distance, a, b) for _ in range(REPEATS)]
            fast, found = float(np.median([seconds for seconds, _ in runs])), runs[0][1]
            print(
                f"{features:8} {images:6} {slow:9.2f} {fast:9.4f} {slow / fast:8.0f} {abs(found / expected - 1):20.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
