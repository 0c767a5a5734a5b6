"""Quality of the synthetic slices that each arm was trained on, and whether better ones went with larger gains.

Notable:
- Fréchet distances are biased by the number of images: all arms are measured by draws of one number, the same for all,
  each from the slices that the run used. Real slices are of the fold's training side and show the organ, as all
  synthetic ones do.
- The detector was never trained: its distance ranks gross failures, and sees no anatomy.
- Arms that draw from the same synthetic store are one case of quality, however many they are: the correlation is over
  stores (a translator in a fold), not over arms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.pixel_size import Scale, model_scale
from crossmod.data.slices import draw_evenly
from crossmod.data.store import Store
from crossmod.data.volume import take_slices
from crossmod.experiment.analysis.slices import (
    RealSlices,
    Slices,
    SyntheticSlices,
    real_slices,
    real_store,
    synthetic_slices,
)
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result, arm_scores
from crossmod.metrics.features import detector, frechet_distance
from crossmod.settings import SegmentSettings
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import CONFIDENCE

DETECTOR = "random"


class Features:
    """Features of slices as a segmenter sees them, kept by store, case, slice and scale."""

    def __init__(self) -> None:
        self._detector = detector(DETECTOR)
        self._found: dict[tuple[Path, str, int, Scale], np.ndarray] = {}
        self._steps: dict[tuple[Path, str], Intensity] = {}
        self._distances: dict[tuple[object, ...], float] = {}

    def distance(
        self, first: Slices, chosen: list[int], second: Slices, against: list[int], settings: SegmentSettings
    ) -> float:
        """Fréchet distance between some slices of two stores; runs that drew the same slices share one.

        Args:
            first: of one store.
            chosen: which of them.
            second: of the other store.
            against: which of them.
            settings: scale and intensity.
        """
        key = (first.store.path, tuple(chosen), second.store.path, tuple(against), model_scale(settings))
        if key not in self._distances:
            sides = self.of(first, chosen, settings), self.of(second, against, settings)
            self._distances[key] = frechet_distance(*sides)
        return self._distances[key]

    def of(self, slices: Slices, indexes: list[int], settings: SegmentSettings) -> Float[np.ndarray, "n features"]:
        """One row a slice."""
        rows = []
        for case, numbers in slices.where(indexes).items():
            keys = [(slices.store.path, case, number, model_scale(settings)) for number in numbers]
            new = [number for number, key in zip(numbers, keys, strict=True) if key not in self._found]
            if new:
                made = self._detector.features(self._images(slices.store, case, new, settings))
                for number, row in zip(new, made, strict=True):
                    self._found[slices.store.path, case, number, model_scale(settings)] = row
            rows += [self._found[key] for key in keys]
        return np.stack(rows)

    def _images(
        self, store: Store, case: str, numbers: Sequence[int], settings: SegmentSettings
    ) -> Float[np.ndarray, "n size size"]:
        """Some slices of a case in [-1, 1], as `load_slices` brings them before a segmenter."""
        volume = store.read(case).with_labels(None, {})
        key = store.path, case
        if key not in self._steps:
            self._steps[key] = intensity_of(volume, settings)
        frame = model_scale(settings).frame_of(store, store.record(case))
        # What fills is the lowest value of the whole volume.
        few = frame.place(take_slices(volume, numbers), float(volume.voxels.min()))
        return self._steps[key].to_model(few.voxels)


# Slices on each side of a Fréchet distance. Arms with fewer than the least get none, so that they limit no other arm.
MOST, LEAST = 64, 20
LOW = 0.5  # label consistency
# Of fewer cases only a nearly perfect order would count, and the p of Spearman's is not to be relied on.
ENOUGH = 8
MEASURES = ("consistency", "frechet")
SEED = 0


@dataclass(eq=False)
class _Opened:
    """Stores, each opened once."""

    plan: Plan
    root: Path
    synthetic: dict[tuple[Path, str], SyntheticSlices] = field(default_factory=dict)
    real: dict[tuple[Path, str], RealSlices] = field(default_factory=dict)

    def made(self, result: Result, settings: SegmentSettings) -> SyntheticSlices:
        """What a run's synthetic slices were drawn from."""
        path = self.plan.jobs[self.plan.jobs[result.run.name].needs["synthetic"]].folder(self.root)
        key = path, settings.organs[0]
        if key not in self.synthetic:
            self.synthetic[key] = synthetic_slices(path, settings)
        return self.synthetic[key]

    def beside(self, result: Result, settings: SegmentSettings) -> RealSlices:
        """The real slices."""
        key = real_store(self.plan, result), settings.organs[0]
        if key not in self.real:
            self.real[key] = real_slices(key[0], settings)
        return self.real[key]


def quality(plan: Plan, root: Path, results: list[Result]) -> dict[str, Any] | None:
    """Quality of what each arm used, and against the gain in 3D Dice; None without synthetic slices.

    Raises:
        InputError: a store is not there any more.
    """
    used = [result for result in results if result.arm.translator is not None]
    if not used:
        return None
    opened = _Opened(plan, root)
    number = _number(opened, used)
    features = Features()
    rows = {(one.arm.name, one.fold, one.seed): _of_run(opened, features, one, number) for one in used}
    points = _points(plan, arm_scores(results, "dice"), rows)
    return {
        "detector": DETECTOR,
        "frechet_slices": number,
        "arms": {name: _mean([row for (arm, _, _), row in rows.items() if arm == name]) for name in _names(used)},
        "points": points,
        "relations": {measure: relation(points, measure) for measure in MEASURES},
    }


def _number(opened: _Opened, used: Sequence[Result]) -> int | None:
    """How many slices all Fréchet distances are taken of; None where no arm has enough."""
    real = [len(opened.beside(one, s).training_side(s)) for one, s in _one_a_fold(used)]
    counts = [one.card["settings"]["count"] for one in used]
    enough = [count for count in (*real, *counts) if count >= LEAST]
    return min([MOST, *enough]) if min(real) >= LEAST and max(counts) >= LEAST else None


def _one_a_fold(used: Sequence[Result]) -> list[tuple[Result, SegmentSettings]]:
    return [(one, _settings(one)) for one in {one.fold: one for one in used}.values()]


def _of_run(opened: _Opened, features: Features, result: Result, number: int | None) -> dict[str, Any]:
    settings = _settings(result)
    made = opened.made(result, settings)
    drawn = made.drawn(settings)
    scores = made.consistency[drawn]
    known = scores[np.isfinite(scores)]
    apart = None
    if number is not None and len(drawn) >= number:
        beside = opened.beside(result, settings)
        # The same real slices for all arms of a fold; of the run's own draw, the first ones.
        real = draw_evenly(beside.thin, beside.training_side(settings), number, SEED)
        apart = features.distance(made, made.drawn(settings, number), beside, real, settings)
    return {
        "slices": float(len(drawn)),
        "consistency": float(known.mean()) if known.size else None,
        "low": float((known < LOW).mean()) if known.size else None,
        "frechet": apart,
        "rows": float(made.shifts[drawn, 0].mean()),
        "columns": float(made.shifts[drawn, 1].mean()),
    }


def _points(
    plan: Plan, scores: Mapping[str, ArmScores], rows: Mapping[tuple[str, int, int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A point for each fold of each arm, averaged over seeds."""
    points = []
    for name, fold in dict.fromkeys((arm, fold) for arm, fold, _ in rows):
        arm = plan.arms[name]
        base, own = scores.get(arm.baseline or ""), scores.get(name)
        if base is None or own is None:
            continue
        there = own.folds == fold
        gain = float((own.by_patient - base.by_patient)[there].mean())
        seeds = [row for (one, where, _), row in rows.items() if (one, where) == (name, fold)]
        head = {"arm": name, "fold": fold, "translator": arm.translator, "min_consistency": arm.min_consistency}
        points.append({**head, "gain": gain, **_mean(seeds)})
    return points


def relation(points: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Any]:
    """Spearman's correlation of a measure and the gain, over synthetic stores, with words that follow the numbers.

    Args:
        points: as `quality` gives them.
        measure: one of `MEASURES`.
    """
    stores: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for point in points:
        if point[measure] is not None:
            key = point["fold"], point["translator"], point["min_consistency"]
            stores.setdefault(key, []).append(point)
    pairs = np.array(
        [[np.mean([one[measure] for one in own]), np.mean([one["gain"] for one in own])] for own in stores.values()]
    ).reshape(-1, 2)
    found = {"n": len(pairs), "points": sum(map(len, stores.values())), "rho": None, "p": None, "shown": False}
    if len(pairs) < ENOUGH:
        there = f"there {'is' if len(pairs) == 1 else 'are'} {len(pairs)}"
        few = f"not shown: needs at least {ENOUGH} synthetic sets; {there}."
        return {**found, "words": few if len(pairs) else "not measured."}
    if (np.ptp(pairs, axis=0) == 0).any():
        return {**found, "words": "not shown: it is the same everywhere."}
    test: Any = stats.spearmanr(pairs[:, 0], pairs[:, 1])
    rho, p = float(test.statistic), float(test.pvalue)
    shown = p < 1 - CONFIDENCE
    numbers = f"Spearman {rho:+.2f} over {len(pairs)} synthetic sets, p {p:.2g}"
    said = f"{'more' if rho > 0 else 'less'} of it went with more gain: {numbers}; no proof of a cause"
    return {**found, "rho": rho, "p": p, "shown": shown, "words": f"{said if shown else f'not shown: {numbers}'}."}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of each value over runs, of those that have it."""
    known = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _names(used: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.arm.name for result in used))


def _settings(result: Result) -> SegmentSettings:
    return SegmentSettings(**result.card["settings"])
