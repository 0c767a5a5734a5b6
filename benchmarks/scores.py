"""Time for the scores of seven models: ten layers, seven metrics, 1000 draws, 1000 slices of 256 px per set.

Run: `OMP_NUM_THREADS=1 python benchmarks/scores.py`. Target: 60 s on two cores, after features and spectra were
computed; those are computed once per slice, and their time is also printed.
"""

import time
from dataclasses import replace

import numpy as np

from crossmod.evaluation.baseline import compare_with_baseline
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import METRICS, ImageStatistics, image_statistics
from crossmod.metrics.features import detector
from crossmod.seeds import rng

SLICES, SIZE, PATIENTS, MODELS, DRAWS = 1000, 256, 20, 7, 1000
# Slices whose features are computed: all others would take the same time each.
MEASURED = 50
TARGET = 60.0


def taken(seconds: list[float]) -> ImageStatistics:
    """Statistics of a few slices of smooth noise; their time is stored in `seconds`."""
    draws = rng(0, "benchmark", "scores")
    images = np.tanh(draws.normal(size=(MEASURED, SIZE, SIZE)).cumsum(axis=1) / 16).astype(np.float32)
    judge_of, edges = detector("random"), np.array([-1.0, -0.1, 0.9, 1.0])
    before = time.perf_counter()
    found = image_statistics(images, np.zeros(MEASURED, np.int64), ["a"] * MEASURED, judge_of, edges)
    seconds.append(time.perf_counter() - before)
    return found


def made_up(few: ImageStatistics, name: str) -> ImageStatistics:
    """A thousand slices that vary like the few, each slightly different, so that no product is degenerate."""
    draws = rng(0, "benchmark", "slices", name)
    many = few.take(draws.integers(0, len(few), SLICES))
    spread = few.features.std(axis=0)
    return replace(
        many,
        features=(many.features + draws.normal(0, 1, many.features.shape) * spread).astype(np.float32),
        layers=draws.integers(1, LAYERS + 1, SLICES),
        patients=tuple(f"{name}-{number}" for number in draws.integers(0, PATIENTS, SLICES)),
    )


def main() -> None:
    seconds: list[float] = []
    few = taken(seconds)
    each = seconds[0] / MEASURED
    sets = 2 + MODELS
    print(
        f"statistics: {1e3 * each:.1f} ms a slice, {each * SLICES:.0f} s for {SLICES} slices of {SIZE} px, once a set"
    )
    # One model, and its baseline, are measured; the others take as long, and share the baseline.
    reference, held, model = (made_up(few, name) for name in ("real", "held", "model"))
    timed = []
    for models in ({}, {"model": model}):
        before = time.perf_counter()
        compare_with_baseline(reference, held, models, draws=DRAWS)
        timed.append(time.perf_counter() - before)
    total = timed[0] + MODELS * (timed[1] - timed[0])
    print(f"scores: baseline {timed[0]:.1f} s, a model {timed[1] - timed[0]:.1f} s ({LAYERS} layers, {DRAWS} draws)")
    print(f"projected: {total:.0f} s for {MODELS} models and {len(METRICS)} metrics on one core; target {TARGET:.0f} s")
    print(f"with the statistics of {sets} sets: {total + sets * each * SLICES:.0f} s")


if __name__ == "__main__":
    main()
