"""Models compared with real images: real against real as the unit, with intervals over patients (Crespi et al., 4.1).

"Two subsets of the two real CT datasets [...] have been kept apart to be compared with the other real images to compute
a baseline [...]. The scores of our models are then normalized by dividing by their baseline"; "also, the averaged value
is divided by the average value of its baseline".

Notable: the reference, a set of real slices, is one side of every comparison. On the other side, the held-out real
slices and those of every model are equal in number in each layer, and of equally many patients. Distances shrink with
either number: a set of more patients would come out nearer to real than real is.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from crossmod.errors import InputError
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import METRICS, ImageStatistics, weighted_comparison, weighted_set
from crossmod.seeds import rng
from crossmod.statistics.intervals import Estimate, Move, estimate, patient_draws

Values = Float[np.ndarray, "draws layers metrics"]
Row = Float[np.ndarray, "draws metrics"]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Table:
    """Estimates by layer and metric, and by metric of the mean over the layers that have it."""

    layers: Mapping[int, Mapping[str, Estimate]]
    average: Mapping[str, Estimate]


@dataclass(frozen=True)
class BaselineComparison:
    """Models and the baseline, compared with the reference."""

    patients: tuple[int, int]  # of the reference, and of each other set
    images: Mapping[int, tuple[int, int]]  # layer -> slices of the reference, and of each other set
    baseline: Table  # scores of held-out real slices
    scores: Mapping[str, Table]  # model -> scores of its synthetic slices
    ratios: Mapping[str, Table]  # model -> score divided by baseline: 1 is as near to real as real is


def hold_out(patients: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide real patients in two: the reference, and those held out for the baseline (half of them, rounded down)."""
    names = sorted(set(patients))
    if len(names) < 2:
        found = f"{len(names)} real patient{'s' * (len(names) != 1)}"
        expected = "two or more, since a baseline holds one out"
        raise InputError("baseline", found=found, expected=expected, do="Give a store with more patients.")
    order = rng(seed, "baseline").permutation(len(names))
    held = {names[int(i)] for i in order[: len(names) // 2]}
    return tuple(name for name in names if name not in held), tuple(name for name in names if name in held)


def compare_with_baseline(
    reference: ImageStatistics,
    held: ImageStatistics,
    models: Mapping[str, ImageStatistics],
    *,
    seed: int = 0,
    draws: int = 1000,
) -> BaselineComparison:
    """Score models against real slices, by layer and on average, and divide by what real slices score.

    Args:
        reference: real slices, one side of every comparison.
        held: real slices of other patients.
        models: name -> synthetic slices; the same source patients are drawn together in all models.
        seed: of the choice of equal numbers, and of the draws.
        draws: of patients, with replacement, from each set; 0: no intervals.
    """
    _refuse_unusable(reference, held, models)
    # None is the baseline, which no model can be called.
    others: dict[str | None, ImageStatistics] = {None: held, **models}
    count = min(len(set(statistics.patients)) for statistics in others.values())
    others = {name: _of_some_patients(statistics, count, seed) for name, statistics in others.items()}
    chosen = {layer: _equally_many(others, layer, seed) for layer in range(1, LAYERS + 1)}
    values = layer_scores(reference, others, chosen, seed, draws)
    patients = len(set(reference.patients)), count
    baseline, sure = values[None], min(patients) > 1
    return BaselineComparison(
        patients=patients,
        images={
            layer: (int(np.count_nonzero(reference.layers == layer)), max(map(len, sets.values())))
            for layer, sets in chosen.items()
        },
        baseline=_scores(baseline, sure),
        scores={name: _scores(values[name], sure) for name in models},
        ratios={name: _ratios(values[name], baseline, sure) for name in models},
    )


def layer_scores(
    reference: ImageStatistics,
    sets: Mapping[Name, ImageStatistics],
    chosen: Mapping[int, Mapping[Name, np.ndarray]],
    seed: int,
    draws: int,
    advance: Callable[[], object] = lambda: None,
) -> dict[Name, Values]:
    """Every metric of each set against the reference, by draw and layer; NaN where it is undefined.

    Args:
        sets: the sets that are compared with them.
        chosen: layer -> set -> the indexes of its slices in that layer.
        draws: how many; the first row of the result is the sets themselves.
        advance: called after each comparison.
    """
    times_real = patient_draws(reference.patients, seed, draws)
    times = {name: patient_draws(statistics.patients, seed, draws) for name, statistics in sets.items()}
    values = {name: np.full((draws + 1, LAYERS, len(METRICS)), math.nan) for name in sets}
    for layer, slices in chosen.items():
        real = np.flatnonzero(reference.layers == layer)
        one_side = weighted_set(reference.take(real)) if len(real) else None
        for name, which in slices.items():
            if one_side is not None and len(which):
                pair = weighted_comparison(one_side, weighted_set(sets[name].take(which)))
                drawn = zip(times_real[:, real], times[name][:, which], strict=True)
                values[name][:, layer - 1] = [[*pair.scores(a, b).values()] for a, b in drawn]
            advance()
    return values


def mean_of_known(values: Float[np.ndarray, "draws several ..."]) -> Float[np.ndarray, "draws ..."]:
    """Mean over the second axis of what is not NaN; NaN if nothing is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    return np.where(counts > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(counts, 1), math.nan)


def _refuse_unusable(reference: ImageStatistics, held: ImageStatistics, models: Mapping[str, ImageStatistics]) -> None:
    both = sorted(set(reference.patients) & set(held.patients))
    if both:
        do = "Divide the patients with `hold_out`."
        raise InputError("baseline", found=f"patient {both[0]} on both sides", expected="other patients", do=do)
    for name, statistics in {"reference": reference, "held out": held, **models}.items():
        if len(statistics) == 0:
            raise InputError(name, found="no slices", expected="one or more", do="Omit the set, or give slices.")


def _of_some_patients(statistics: ImageStatistics, count: int, seed: int) -> ImageStatistics:
    """`count` of the patients; sets of the same patients keep the same ones."""
    names = sorted(set(statistics.patients))
    order = rng(seed, "equal patients", *names).permutation(len(names))
    return statistics if len(names) == count else statistics.of_patients([names[int(i)] for i in order[:count]])


def _equally_many(sets: Mapping[str | None, ImageStatistics], layer: int, seed: int) -> dict[str | None, np.ndarray]:
    """Equally many slices of each set in a layer; sets of one slice, which have no distance, do not count."""
    there = {name: np.flatnonzero(statistics.layers == layer) for name, statistics in sets.items()}
    count = min((len(where) for where in there.values() if len(where) > 1), default=1)
    return {name: _evenly(statistics, there[name], count, seed) for name, statistics in sets.items()}


def _evenly(statistics: ImageStatistics, where: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the slices at `where`, from all patients in turn so that none dominates."""
    if len(where) <= count:
        return where
    turns: dict[str, int] = {}
    ranked = []
    for place, index in enumerate(rng(seed, "equal numbers").permutation(where)):
        patient = statistics.patients[index]
        turns[patient] = turns.get(patient, -1) + 1
        ranked.append((turns[patient], place, int(index)))
    return np.sort([index for _, _, index in sorted(ranked)[:count]])


def _scores(values: Values, sure: bool) -> Table:
    return _table(values, mean_of_known(values), "difference", sure, limited=True)


def _ratios(values: Values, baseline: Values, sure: bool) -> Table:
    # Means over the layers that both have, then one divided by the other.
    usable = ~np.isnan(values) & ~np.isnan(baseline) & np.array([metric.divided for metric in METRICS.values()])
    over, under = (np.where(usable, part, math.nan) for part in (values, baseline))
    means = _divided(mean_of_known(over), mean_of_known(under))
    return _table(_divided(over, under), means, "factor", sure, limited=False)


def _divided(values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """NaN where the baseline is not above 0."""
    above = baseline > 0
    return np.where(above, values / np.where(above, baseline, 1), math.nan)


def _table(values: Values, means: Row, move: Move, sure: bool, *, limited: bool) -> Table:
    def estimates(columns: Row) -> dict[str, Estimate]:
        columns = columns if sure else columns[:1]  # all draws of one patient are equal
        limits = [metric.limits if limited else (-math.inf, math.inf) for metric in METRICS.values()]
        return {name: estimate(columns[:, i], move, limits[i]) for i, name in enumerate(METRICS)}

    return Table({layer: estimates(values[:, layer - 1]) for layer in range(1, LAYERS + 1)}, estimates(means))
