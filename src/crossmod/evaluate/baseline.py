"""What a score is worth: real against real as the unit, and intervals over patients (Crespi et al., Sec. 4.1).

"Two subsets of the real CT have been kept apart to be compared with the other real images to compute a baseline. The
scores of our models are then normalized by dividing by their baseline"; also "the averaged value is divided by the
average value of its baseline".

Notable:
- In each layer, the held-apart real slices and those of every model are as many, and the same real slices stand on the
  other side. Fréchet distances of unequal numbers differ by their bias alone.
- The kernel distance is not divided: without bias, its baseline is near 0, and may be less.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError
from crossmod.evaluate.distribution import METRICS, ImageStatistics
from crossmod.evaluate.gram import Pairing, pairing, side
from crossmod.evaluate.layers import LAYERS
from crossmod.evaluate.statistics import CONFIDENCE
from crossmod.seeds import rng

UNDIVIDED = frozenset({"kid"})
# Fewer draws than this share that have a score at all give no interval of it.
LEAST_DRAWS = 0.5

Values = Float[np.ndarray, "draws layers metrics"]
"""The first draw is the set itself: every patient once."""


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % interval over patients, which has no ends where a set is of one patient.

    nan where there is no score; see `distribution`.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """Estimates of every metric.

    Args:
        layers: layer -> metric -> estimate.
        average: metric -> estimate of the mean over layers.
    """

    layers: Mapping[int, Mapping[str, Estimate]]
    average: Mapping[str, Estimate]


@dataclass(frozen=True)
class Judgement:
    """Models against a baseline.

    Args:
        images: how many slices each layer was scored with: of the real ones on the one side, of the held-apart real ones
            and of each model on the other.
        baseline: held-apart real slices against the real ones.
        scores: model -> its synthetic slices against the same real ones.
        ratios: model -> score divided by baseline; 1 is as good as real where lower is better, and where higher is.
    """

    images: Mapping[int, tuple[int, int]]
    baseline: Table
    scores: Mapping[str, Table]
    ratios: Mapping[str, Table]


def hold_apart(patients: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide real patients in two: the reference, and those held apart for the baseline (half of them, rounded down).

    Raises:
        InputError: fewer than two patients.
    """
    names = sorted(set(patients))
    if len(names) < 2:
        found = f"{len(names)} real patient{'s' * (len(names) != 1)}"
        wanted = "two or more, since a baseline holds one apart"
        raise InputError("baseline", found=found, wanted=wanted, do="Give a store with more patients.")
    order = rng(seed, "baseline").permutation(len(names))
    held = {names[int(i)] for i in order[: len(names) // 2]}
    return tuple(name for name in names if name not in held), tuple(name for name in names if name in held)


def judge(
    reference: ImageStatistics,
    held: ImageStatistics,
    models: Mapping[str, ImageStatistics],
    *,
    seed: int = 0,
    draws: int = 1000,
) -> Judgement:
    """Score models against real slices, by layer and on average, divided by what real slices score.

    Args:
        reference: the real slices on the one side of every comparison.
        held: real slices of other patients.
        models: name -> synthetic slices. Those of one source patient are drawn together in all models.
        seed: of the draws.
        draws: of patients, with repetition, from each set; 0 for no intervals.

    Raises:
        InputError: a patient in `reference` and in `held`, or sets that were not taken alike.
    """
    both = sorted(set(reference.patients) & set(held.patients))
    if both:
        do = "Divide the patients with `hold_apart`."
        raise InputError("baseline", found=f"patient {both[0]} on both sides", wanted="other patients", do=do)
    others = {"": held, **models}
    times = {name: _times(statistics, seed, draws) for name, statistics in (("real", reference), *others.items())}
    values = {name: np.full((draws + 1, LAYERS, len(METRICS)), math.nan) for name in others}
    images = {}
    for layer in range(1, LAYERS + 1):
        real = np.flatnonzero(reference.layers == layer)
        where = {name: np.flatnonzero(statistics.layers == layer) for name, statistics in others.items()}
        count = min((len(found) for found in where.values() if len(found) > 1), default=1)
        images[layer] = len(real), min(count, max(map(len, where.values())))
        if len(real) == 0:
            continue
        unit = side(reference.take(real))
        for name, found in where.items():
            chosen = _evenly(others[name], found, count, seed)
            if len(chosen):
                pair = pairing(unit, side(others[name].take(chosen)))
                values[name][:, layer - 1] = _draw(pair, times["real"][:, real], times[name][:, chosen])
    certain = {name: len(set(s.patients)) > 1 and len(set(reference.patients)) > 1 for name, s in others.items()}
    baseline = values[""]
    return Judgement(
        images=images,
        baseline=_table(baseline, _mean(baseline), certain[""]),
        scores={name: _table(values[name], _mean(values[name]), certain[name]) for name in models},
        ratios={name: _ratios(values[name], baseline, certain[name] and certain[""]) for name in models},
    )


def _times(statistics: ImageStatistics, seed: int, draws: int) -> Float[np.ndarray, "draws slices"]:
    """How often each slice comes in each draw: as often as its patient was drawn; once in the first.

    Sets of the same patients are drawn alike, so that models are compared on the same draws.
    """
    patients, which = np.unique(np.array(statistics.patients), return_inverse=True)
    many = len(patients)
    drawn = rng(seed, "bootstrap", *patients).multinomial(many, np.full(many, 1 / many), size=draws)
    return np.concatenate([np.ones((1, many)), drawn])[:, which]


def _evenly(statistics: ImageStatistics, found: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the slices at `found`, taking turns between patients so that none dominates."""
    if len(found) <= count:
        return found
    turns: dict[str, int] = {}
    ranked = []
    for place, index in enumerate(rng(seed, "equal numbers").permutation(found)):
        patient = statistics.patients[index]
        turns[patient] = turns.get(patient, -1) + 1
        ranked.append((turns[patient], place, int(index)))
    return np.sort([index for _, _, index in sorted(ranked)[:count]])


def _draw(pair: Pairing, real: np.ndarray, synthetic: np.ndarray) -> Float[np.ndarray, "draws metrics"]:
    return np.array([list(pair.scores(a, b).values()) for a, b in zip(real, synthetic, strict=True)])


def _mean(values: Values) -> Float[np.ndarray, "draws metrics"]:
    """Over the layers that have a score; nan where none has."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)


def _ratios(values: Values, baseline: Values, certain: bool) -> Table:
    divided = np.array([metric not in UNDIVIDED for metric in METRICS])
    # The mean is divided by the mean, over the layers that both have.
    usable = ~np.isnan(values) & ~np.isnan(baseline) & divided
    means = (_mean(np.where(usable, part, math.nan)) for part in (values, baseline))
    return _table(_divided(np.where(usable, values, math.nan), baseline), _divided(*means), certain)


def _divided(values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """nan where the baseline is not above 0: nothing can be measured by it."""
    return np.where(baseline > 0, values / np.where(baseline > 0, baseline, 1), math.nan)


def _table(values: Values, means: Float[np.ndarray, "draws metrics"], certain: bool) -> Table:
    def estimates(columns: Float[np.ndarray, "draws metrics"]) -> dict[str, Estimate]:
        return {metric: _estimate(columns[:, i], certain) for i, metric in enumerate(METRICS)}

    return Table({layer: estimates(values[:, layer - 1]) for layer in range(1, LAYERS + 1)}, estimates(means))


def _estimate(values: Float[np.ndarray, " draws"], certain: bool) -> Estimate:
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    if not certain or len(drawn) == 0 or len(drawn) < LEAST_DRAWS * (len(values) - 1):
        return Estimate(value, -math.inf, math.inf)
    tail = 50 * (1 - CONFIDENCE)
    low, high = (float(end) for end in np.percentile(drawn, [tail, 100 - tail]))
    return Estimate(value, low, high)
