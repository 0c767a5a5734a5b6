"""The controls as families: they are trained and applied by the commands for translators, and compared with these."""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import median_filter

from crossmod.data.slices import SliceSet
from crossmod.synthesis import controls
from crossmod.synthesis.families import Control, Family, Images, SourceSlices, Statistics

Draw = np.random.Generator


def _each(change: Callable[[int], controls.Slice], case: SourceSlices) -> Images:
    return np.stack([change(place) for place in range(len(case.images))])


def _unchanged(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    return case.images


def _quantiles(source: SliceSet, target: SliceSet) -> Statistics:
    return {"quantiles": controls.quantiles(target.images)}


def _matched(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    return controls.match_histogram(case.images, statistics["quantiles"])


def _amplitude(source: SliceSet, target: SliceSet) -> Statistics:
    return {"amplitude": controls.mean_amplitude(target.image(place) for place in range(len(target)))}


def _swapped(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    return controls.swap_amplitude(case.images, statistics["amplitude"])


def _random(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    return _each(lambda place: controls.random_contrast(case.images[place], rng), case)


def _by_class(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    labels = case.classes
    assert labels is not None  # `needs_labels`
    return _each(lambda place: controls.class_contrast(case.images[place], labels[place].astype(int), rng), case)


def _painted(case: SourceSlices, statistics: Statistics, rng: Draw) -> Images:
    labels, hu = case.classes, case.hu
    assert labels is not None  # `needs_labels`
    assert hu is not None  # `needs_hu`

    def paint(place: int) -> controls.Slice:
        # Noise of CT would otherwise be painted as specks of other tissues.
        smooth = median_filter(hu[place], 3)
        return controls.painted(controls.tissue_classes(smooth, labels[place].astype(int)), rng)

    return _each(paint, case)


SOURCE = Family("Unchanged source", control=Control(_unchanged))
HISTOGRAM = Family("Histogram matching", control=Control(_matched, _quantiles))
FDA = Family("Fourier domain adaptation", control=Control(_swapped, _amplitude))
RANDOM_CONTRAST = Family("Random contrast", control=Control(_random))
CLASS_CONTRAST = Family("Contrast by class", control=Control(_by_class, needs_labels=True))
PAINTED = Family("Painted tissues", control=Control(_painted, needs_labels=True, needs_hu=True))
