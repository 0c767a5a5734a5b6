"""Quality of the synthetic slices that each arm was trained on, and whether better ones went with larger gains.

Notable:
- Fréchet distances are biased by the number of images: those of all arms are of the same number of slices, drawn from
  the slices that each run used. Real slices are training slices of the fold that show the organ, as all synthetic ones.
- The feature network is untrained: its distance ranks gross failures, and does not measure anatomy.
- An independent segmenter measures whether labels fit (`measuring_judge`): one of real labels alone, which has no part
  in any training. Arms with fewer labels could not have it; it measures them, and chooses nothing.
- Arms that draw from the same synthetic store are one case of quality, however many they are: the correlation is over
  stores (a translator in a fold), not over arms.
"""

from collections.abc import Callable, Mapping, Sequence
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
from crossmod.experiment.analysis.measuring_judge import MeasuringJudge
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
from crossmod.report.experiment.schema import Quality, QualityPoint, Relation, SliceQuality
from crossmod.settings import SegmentSettings
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.intervals import CONFIDENCE
from crossmod.statistics.verdicts import MAIN

DETECTOR = "random"
# Slices per side of a Fréchet distance. Arms with fewer than the least have none, so that they limit no other arm.
MOST, LEAST = 64, 20
LOW = 0.5  # label consistency
# Of fewer stores only a nearly perfect order would count, and the p value of Spearman's correlation is not reliable.
ENOUGH = 8
MEASURES = ("consistency", "measured", "frechet")
SEED = 0


class Features:
    """Features of slices as a segmenter sees them, cached by store, case, slice and scale."""

    def __init__(self) -> None:
        self._detector = detector(DETECTOR)
        self._rows: dict[tuple[Path, str, int, Scale], np.ndarray] = {}
        self._intensities: dict[tuple[Path, str], Intensity] = {}
        self._distances: dict[tuple[object, ...], float] = {}

    def distance(
        self, first: Slices, chosen: list[int], second: Slices, against: list[int], settings: SegmentSettings
    ) -> float:
        """Fréchet distance between some slices of two stores; runs with the same slices share it."""
        key = (first.store.path, tuple(chosen), second.store.path, tuple(against), model_scale(settings))
        if key not in self._distances:
            sides = self.of(first, chosen, settings), self.of(second, against, settings)
            self._distances[key] = frechet_distance(*sides)
        return self._distances[key]

    def of(self, slices: Slices, indexes: list[int], settings: SegmentSettings) -> Float[np.ndarray, "n features"]:
        """One row per slice."""
        rows = []
        for case, numbers in slices.by_case(indexes).items():
            keys = [(slices.store.path, case, number, model_scale(settings)) for number in numbers]
            new = [key for key in keys if key not in self._rows]
            if new:
                images = self._images(slices.store, case, [number for _, _, number, _ in new], settings)
                self._rows |= dict(zip(new, self._detector.features(images), strict=True))
            rows += [self._rows[key] for key in keys]
        return np.stack(rows)

    def _images(
        self, store: Store, case: str, numbers: Sequence[int], settings: SegmentSettings
    ) -> Float[np.ndarray, "n size size"]:
        """Some slices of a case in [-1, 1], as `load_slices` gives them to a segmenter."""
        volume = store.read(case).with_labels(None, {})
        key = store.path, case
        if key not in self._intensities:
            self._intensities[key] = intensity_of(volume, settings)
        frame = model_scale(settings).frame_of(store, store.record(case))
        # The frame is filled with the lowest value of the whole volume.
        few = frame.place(take_slices(volume, numbers), float(volume.voxels.min()))
        return self._intensities[key].to_model(few.voxels)


class _Opened:
    """Stores, each opened once."""

    def __init__(self, plan: Plan, root: Path):
        self._plan, self._root = plan, root
        self._stores: dict[tuple[Path, tuple[str, ...]], Any] = {}

    def synthetic(self, result: Result, settings: SegmentSettings) -> SyntheticSlices:
        """The slices from which a run's synthetic ones were drawn."""
        jobs = self._plan.jobs
        return self._open(synthetic_slices, jobs[jobs[result.run.name].needs["synthetic"]].folder(self._root), settings)

    def real(self, result: Result, settings: SegmentSettings) -> RealSlices:
        """The real slices of a run."""
        return self._open(real_slices, real_store(self._plan, result), settings)

    def _open(self, read: Callable[[Path, SegmentSettings], Any], path: Path, settings: SegmentSettings) -> Any:
        key = path, settings.organs
        if key not in self._stores:
            self._stores[key] = read(path, settings)
        return self._stores[key]


def quality(plan: Plan, root: Path, results: Sequence[Result]) -> Quality | None:
    """Quality of the slices of each arm, and its relation to the gain in 3D Dice; None without synthetic slices."""
    used = [result for result in results if result.arm.translator is not None]
    if not used:
        return None
    opened = _Opened(plan, root)
    number = _number(opened, used)
    features, judge = Features(), MeasuringJudge(results)
    rows = {
        (result.arm.name, result.fold, result.seed): _of_run(opened, features, judge, result, number) for result in used
    }
    points = _points(plan, arm_scores(results, MAIN), rows)
    return {
        "detector": DETECTOR,
        "frechet_slices": number,
        "arms": {
            name: _mean([row for (arm, _, _), row in rows.items() if arm == name])
            for name in dict.fromkeys(arm for arm, _, _ in rows)
        },
        "points": points,
        "relations": {measure: relation(points, measure) for measure in MEASURES},
    }


def _number(opened: _Opened, used: Sequence[Result]) -> int | None:
    """The number of slices in all Fréchet distances; None if no arm has enough."""
    one_per_fold = {result.fold: result for result in used}.values()
    settings = [(result, _settings(result)) for result in one_per_fold]
    real = [len(opened.real(result, s).training_side(s)) for result, s in settings]
    counts = [result.card["settings"]["count"] for result in used]
    enough = [count for count in (*real, *counts) if count >= LEAST]
    return min([MOST, *enough]) if min(real) >= LEAST and max(counts) >= LEAST else None


def _of_run(
    opened: _Opened, features: Features, judge: MeasuringJudge, result: Result, number: int | None
) -> SliceQuality:
    settings = _settings(result)
    synthetic = opened.synthetic(result, settings)
    drawn = synthetic.drawn(settings)
    scores = synthetic.consistency[drawn]
    known, judged = scores[np.isfinite(scores)], synthetic.judged[drawn]
    measured = judge.of(result, synthetic)
    distance = None
    if number is not None and len(drawn) >= number:
        real = opened.real(result, settings)
        # The same real slices for all arms of a fold; of the run's own draw, the first ones.
        chosen = draw_evenly(real.thin, real.training_side(settings), number, SEED)
        distance = features.distance(synthetic, synthetic.drawn(settings, number), real, chosen, settings)
    return {
        "slices": float(len(drawn)),
        "consistency": float(known.mean()) if known.size else None,
        "low": float((known < LOW).mean()) if known.size else None,
        "frechet": distance,
        "judged": float(np.nanmean(judged)) if np.isfinite(judged).any() else None,
        "measured": measured and measured.dice,
        "measured_rows": measured and measured.rows_mm,
        "measured_columns": measured and measured.columns_mm,
        "rows": float(synthetic.shifts[drawn, 0].mean()),
        "columns": float(synthetic.shifts[drawn, 1].mean()),
    }


def _points(
    plan: Plan, scores: Mapping[str, ArmScores], rows: Mapping[tuple[str, int, int], SliceQuality]
) -> list[QualityPoint]:
    """A point for each fold of each arm, averaged over seeds."""
    points: list[QualityPoint] = []
    for name, fold in dict.fromkeys((arm, fold) for arm, fold, _ in rows):
        arm = plan.arms[name]
        base, own = scores.get(arm.baseline or ""), scores.get(name)
        if base is not None and own is not None and arm.translator is not None:
            seeds = [row for (of_arm, of_fold, _), row in rows.items() if (of_arm, of_fold) == (name, fold)]
            points.append(
                {
                    "arm": name,
                    "fold": fold,
                    "translator": arm.translator,
                    "min_consistency": arm.min_consistency,
                    "gain": float((own.by_patient - base.by_patient)[own.folds == fold].mean()),
                    **_mean(seeds),
                }
            )
    return points


def relation(points: Sequence[Mapping[str, Any]], measure: str) -> Relation:
    """Spearman's correlation of a measure and the gain over synthetic stores, also in words."""
    stores: dict[tuple[object, ...], list[Mapping[str, Any]]] = {}
    for point in points:
        if point.get(measure) is not None:
            key = point["fold"], point["translator"], point["min_consistency"]
            stores.setdefault(key, []).append(point)
    pairs = np.array(
        [[np.mean([point[key] for point in own]) for key in (measure, "gain")] for own in stores.values()]
    ).reshape(-1, 2)
    found: Relation = {
        "n": len(pairs), "points": sum(map(len, stores.values())), "rho": None, "p": None, "shown": False, "words": "",
    }  # fmt: skip
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
    direction = f"{'more' if rho > 0 else 'less'} of it went with more gain: {numbers}; no proof of a cause"
    return {**found, "rho": rho, "p": p, "shown": shown, "words": f"{direction if shown else f'not shown: {numbers}'}."}


def _mean(rows: Sequence[SliceQuality]) -> SliceQuality:
    """Mean of each value over the runs that have it."""
    known = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
    means: Any = {key: float(np.mean(values)) if values else None for key, values in known.items()}
    return means


def _settings(result: Result) -> SegmentSettings:
    return SegmentSettings(**result.card["settings"])
