"""A set of cases as numbers: the statistics of its slices, and how far its slices step from one to the next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.data.body_mask import FILLED
from crossmod.data.intensity import Intensity
from crossmod.data.pixel_size import Scale
from crossmod.data.slices import spread
from crossmod.errors import InputError
from crossmod.judge.reading import Images, read_images, stack_of
from crossmod.judge.settings import JudgeSettings
from crossmod.metrics.distribution import ImageStatistics, image_statistics, joined
from crossmod.metrics.features import Detector
from crossmod.metrics.histograms import tissue_edges
from crossmod.metrics.organs import Stack, jump_ratio
from crossmod.metrics.slice_positions import Placed
from crossmod.progress import track

# Real volumes that the steps of each volume are held against, evenly drawn; more change their mean little.
COMPARED_STACKS = 8


@dataclass(frozen=True)
class Row:
    """Which slice a row of the statistics is of.

    Args:
        case: name of its case.
        place: its place in the stored case.
        origin: its number in the scan that it was made from.
        low: what became -1, in the case's units.
        high: what became 1.
    """

    case: str
    place: int
    origin: int
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Measured:
    """A set of slices as numbers.

    Args:
        statistics: of its slices.
        rows: which slice each is.
        values: least and most value, in the cases' units, as far as they were not cut.
        still: slices of one single value.
        filled: cases whose body takes more than `FILLED` of their slices, so that it is no body.
        jumps: by case, slice-to-slice jump divided by that of real volumes; without cases that have no neighbours.
        stacks: some of its volumes, where they were asked for.
    """

    statistics: ImageStatistics
    rows: tuple[Row, ...]
    values: tuple[float, float]
    still: int
    filled: int
    jumps: dict[str, float]
    stacks: tuple[Stack, ...]


@dataclass(frozen=True, eq=False)
class Ruler:
    """What all sets are measured with.

    Args:
        detector: of the features.
        edges: of the three tissue bins; None where there are none.
        scale: millimetres and pixels.
        settings: intensity, and where histograms look.
        common: layers that all sets show.
    """

    detector: Detector
    edges: Float[np.ndarray, " edges"] | None
    scale: Scale
    settings: JudgeSettings
    common: frozenset[int]


def edges_for(settings: JudgeSettings) -> Float[np.ndarray, " edges"] | None:
    """The three tissue bins of CT; None for a window that does not reach from fluid to bone."""
    try:
        return tissue_edges(Intensity(*settings.window))
    except InputError:
        return None


def measure(
    name: str, cases: Sequence[Placed], ruler: Ruler, real: Sequence[Stack] = (), *, keep: bool = False
) -> Measured:
    """Read a set, case by case, and keep numbers only.

    Args:
        name: what it is called.
        cases: placed cases.
        ruler: what to measure with.
        real: real volumes, for the slice-to-slice jumps.
        keep: whether to keep some volumes, for the jumps of others.

    Raises:
        InputError: no slice lies in a layer.
    """
    kept = {cases[i].record.id for i in spread(len(cases), COMPARED_STACKS)} if keep else set()
    parts, rows, stacks, jumps = [], [], [], {}
    lows, highs, still, filled = [], [], 0, 0
    for placed in track(cases, f"Measuring {name}"):
        case = read_images(placed, ruler.scale, ruler.settings, ruler.common)
        if case is None:
            continue
        parts.append(_statistics(case, ruler))
        rows += _rows(case)
        step = case.intensity
        lows.append(step.low + (float(case.images.min()) + 1) / 2 * (step.high - step.low))
        highs.append(step.low + (float(case.images.max()) + 1) / 2 * (step.high - step.low))
        still += int(np.count_nonzero(np.ptp(case.images, axis=(1, 2)) == 0))
        filled += bool(case.body.mean() > FILLED)
        stack = stack_of(case, ruler.common)
        if stack is not None:
            if placed.record.id in kept:
                stacks.append(stack)
            ratios = [ratio for one in real if not np.isnan(ratio := jump_ratio(stack, one))]
            if ratios:
                jumps[placed.record.id] = float(np.mean(ratios))
    if not parts:
        do = "Give cases that show the abdomen, or --source with the scans that they were made from."
        raise InputError(name, found="no slice in any axial layer", wanted="some", do=do)
    return Measured(joined(parts), tuple(rows), (min(lows), max(highs)), still, filled, jumps, tuple(stacks))


def _statistics(case: Images, ruler: Ruler) -> ImageStatistics:
    return image_statistics(
        case.images,
        case.layers,
        [case.placed.record.patient] * len(case.images),
        ruler.detector,
        ruler.edges,
        case.body if ruler.settings.inside else None,
    )


def _rows(case: Images) -> list[Row]:
    step = case.intensity
    return [
        Row(case.placed.record.id, int(place), int(case.placed.origins[place]), step.low, step.high)
        for place in case.places
    ]


def layer_counts(cases: Collection[Placed]) -> list[int]:
    """How many slices lie in each of the ten layers."""
    layers = np.concatenate([placed.layers for placed in cases]) if cases else np.zeros(0, np.int64)
    return np.bincount(layers, minlength=11)[1:].tolist()
