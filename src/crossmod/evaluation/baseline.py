"""What a score is worth: real against real as the unit, with intervals over patients (Crespi et al., Sec. 4.1).

"Two subsets of the two real CT datasets [...] have been kept apart to be compared with the other real images to compute
a baseline [...]. The scores of our models are then normalized by dividing by their baseline"; "also, the averaged value
is divided by the average value of its baseline".

Notable:
- The same real slices, the reference, stand on one side of every comparison. On the other side, the held-apart real
  slices and those of every model are as many in each layer, and of as many patients. Distances shrink with either
  number, whatever the images: a set of more patients would come out nearer to real than real is.
- The kernel distance is not divided: without bias, its baseline is near 0, and may be less.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import LIMITS, METRICS, ImageStatistics, WeightedComparison, pairing, side
from crossmod.seeds import rng
from crossmod.statistics.intervals import Estimate, Move, estimate, patient_draws

UNDIVIDED = frozenset({"kid"})

Values = Float[np.ndarray, "draws layers metrics"]
Row = Float[np.ndarray, "draws metrics"]


@dataclass(frozen=True)
class Table:
    """Estimates of every metric.

    Args:
        layers: layer -> metric -> estimate.
        average: metric -> estimate of the mean over the layers that have it.
    """

    layers: Mapping[int, Mapping[str, Estimate]]
    average: Mapping[str, Estimate]


@dataclass(frozen=True)
class BaselineComparison:
    """Models against a baseline.

    Args:
        patients: of the reference, and of each set on the other side.
        images: layer -> slices of the reference, and of each set on the other side.
        baseline: held-apart real slices against the reference.
        scores: model -> its synthetic slices against the reference.
        ratios: model -> score divided by baseline: 1 is as near to real as real is.
    """

    patients: tuple[int, int]
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
        expected = "two or more, since a baseline holds one apart"
        raise InputError("baseline", found=found, expected=expected, do="Give a store with more patients.")
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
) -> BaselineComparison:
    """Score models against real slices, by layer and on average, divided by what real slices score.

    Args:
        reference: the real slices on the one side of every comparison.
        held: real slices of other patients.
        models: name -> synthetic slices; those of the same source patients are drawn together in all models.
        seed: of the choice of equal numbers, and of the draws.
        draws: of patients, with repetition, from each set; 0 for no intervals.

    Raises:
        InputError: a patient in `reference` and in `held`, a set without slices, or sets that were not taken alike.
    """
    _refuse_unusable(reference, held, models)
    # None names the baseline, which no model can.
    others: dict[str | None, ImageStatistics] = {None: held, **models}
    count = min(len(set(statistics.patients)) for statistics in others.values())
    others = {name: _of_some_patients(statistics, count, seed) for name, statistics in others.items()}
    times = {name: patient_draws(statistics.patients, seed, draws) for name, statistics in others.items()}
    times_real = patient_draws(reference.patients, seed, draws)
    values = {name: np.full((draws + 1, LAYERS, len(METRICS)), math.nan) for name in others}
    images = {}
    for layer in range(1, LAYERS + 1):
        real = np.flatnonzero(reference.layers == layer)
        chosen = _equally_many({name: (s, np.flatnonzero(s.layers == layer)) for name, s in others.items()}, seed)
        images[layer] = len(real), max(map(len, chosen.values()))
        unit = side(reference.take(real)) if len(real) else None
        for name, which in chosen.items():
            if unit is not None and len(which):
                pair = pairing(unit, side(others[name].take(which)))
                values[name][:, layer - 1] = _scored(pair, times_real[:, real], times[name][:, which])
    patients = len(set(reference.patients)), count
    baseline = values[None]
    sure = min(patients) > 1
    return BaselineComparison(
        patients=patients,
        images=images,
        baseline=_scores(baseline, sure),
        scores={name: _scores(values[name], sure) for name in models},
        ratios={name: _ratios(values[name], baseline, sure) for name in models},
    )


def _refuse_unusable(reference: ImageStatistics, held: ImageStatistics, models: Mapping[str, ImageStatistics]) -> None:
    both = sorted(set(reference.patients) & set(held.patients))
    if both:
        do = "Divide the patients with `hold_apart`."
        raise InputError("baseline", found=f"patient {both[0]} on both sides", expected="other patients", do=do)
    for name, statistics in {"reference": reference, "held apart": held, **models}.items():
        if len(statistics) == 0:
            raise InputError(name, found="no slices", expected="one or more", do="Leave it out, or give slices.")


def _of_some_patients(statistics: ImageStatistics, count: int, seed: int) -> ImageStatistics:
    """`count` of the patients, the same of every set of the same patients."""
    names = sorted(set(statistics.patients))
    order = rng(seed, "equal patients", *names).permutation(len(names))
    return statistics if len(names) == count else statistics.of_patients([names[int(i)] for i in order[:count]])


def _equally_many(
    sets: Mapping[str | None, tuple[ImageStatistics, np.ndarray]], seed: int
) -> dict[str | None, np.ndarray]:
    """As many slices of each set as the smallest has; sets without two, which have no distance, do not count."""
    count = min((len(where) for _, where in sets.values() if len(where) > 1), default=1)
    return {name: _evenly(statistics, where, count, seed) for name, (statistics, where) in sets.items()}


def _evenly(statistics: ImageStatistics, where: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the slices at `where`, taking turns between patients so that none dominates."""
    if len(where) <= count:
        return where
    turns: dict[str, int] = {}
    ranked = []
    for place, index in enumerate(rng(seed, "equal numbers").permutation(where)):
        patient = statistics.patients[index]
        turns[patient] = turns.get(patient, -1) + 1
        ranked.append((turns[patient], place, int(index)))
    return np.sort([index for _, _, index in sorted(ranked)[:count]])


def _scored(pair: WeightedComparison, real: np.ndarray, synthetic: np.ndarray) -> Row:
    return np.array([[*pair.scores(a, b).values()] for a, b in zip(real, synthetic, strict=True)])


def _mean_of_layers(values: Values) -> Row:
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    return np.where(counts > 0, np.where(there, values, 0).sum(axis=1) / np.maximum(counts, 1), math.nan)


def _scores(values: Values, sure: bool) -> Table:
    return _table(values, _mean_of_layers(values), LIMITS, "difference", sure)


def _ratios(values: Values, baseline: Values, sure: bool) -> Table:
    # Means over the layers that both have, and one divided by the other.
    usable = ~np.isnan(values) & ~np.isnan(baseline) & np.array([metric not in UNDIVIDED for metric in METRICS])
    over, under = (np.where(usable, part, math.nan) for part in (values, baseline))
    means = _divided(_mean_of_layers(over), _mean_of_layers(under))
    return _table(_divided(over, under), means, {}, "factor", sure)


def _divided(values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """nan where the baseline is not above 0: nothing can be measured by it."""
    above = baseline > 0
    return np.where(above, values / np.where(above, baseline, 1), math.nan)


def _table(values: Values, means: Row, limits: Mapping[str, tuple[float, float]], move: Move, sure: bool) -> Table:
    def estimates(columns: Row) -> dict[str, Estimate]:
        columns = columns if sure else columns[:1]  # draws of one patient are all alike
        wide = (-math.inf, math.inf)
        return {m: estimate(columns[:, i], move, limits.get(m, wide)) for i, m in enumerate(METRICS)}

    return Table({layer: estimates(values[:, layer - 1]) for layer in range(1, LAYERS + 1)}, estimates(means))
