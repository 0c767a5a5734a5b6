from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.config import with_changes
from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import SliceSet, draw_evenly, load_slices
from crossmod.data.store import Store
from crossmod.experiment.analysis.explain import POINTS, together
from crossmod.experiment.analysis.slices import real_slices, synthetic_slices
from crossmod.experiment.analysis.synthetic_quality import quality, relation
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result
from crossmod.metrics.features import detector, frechet_distance
from crossmod.segmentation.data import choose_cases
from crossmod.settings import SegmentSettings
from tests.support.made_up_runs import FIRST, LAST, Made, translators

Experiment = tuple[Plan, Path, list[Result]]


def consistency(row: int) -> float:
    return 0.3 + 0.05 * row


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    root = tmp_path_factory.mktemp("experiment")
    plan, results = Made(
        consistency=lambda fold, translator, row: consistency(row),
        noise=lambda fold, translator: 0.0 if translator == "good" else 1.0,
        changes={
            "counts": [0, 24, 30],
            "min_consistency": [0.0, 0.5],
            "translators": translators("good", "noisy"),
            "folds": 2,
        },
    ).experiment(root)
    return plan, root, results


@pytest.fixture(scope="module")
def found(made: Experiment) -> Any:
    quality_of = quality(*made)
    assert quality_of is not None
    return quality_of


def trained_on(made: Experiment, result: Result, count: int = 0) -> SliceSet:
    """By training's own code."""
    plan, root, _ = made
    settings = SegmentSettings(**result.card["settings"])
    store = plan.jobs[plan.jobs[result.run.name].needs["synthetic"]].folder(root)
    chosen = choose_cases(root / "mr", store, with_changes(settings, count=count or settings.count))
    slices = chosen.load().synthetic
    assert slices is not None
    return slices


@pytest.mark.slow
def test_the_draw_is_that_of_training(made: Experiment) -> None:
    plan, root, results = made
    for result in (one for one in results if one.arm.translator == "good" and one.fold == 1):
        settings = SegmentSettings(**result.card["settings"])
        made_here = synthetic_slices(plan.jobs[plan.jobs[result.run.name].needs["synthetic"]].folder(root), settings)
        for count in (settings.count, 7):
            drawn = made_here.drawn(settings, count)
            assert [made_here.thin.keys[i] for i in drawn] == list(trained_on(made, result, count).keys)


@pytest.mark.slow
def test_consistency_is_that_of_the_slices_drawn(made: Experiment, found: dict[str, Any]) -> None:
    for name, row in found["arms"].items():
        own = [one for one in made[2] if one.arm.name == name]
        scores = [[consistency(FIRST + key.slice) for key in trained_on(made, one).keys] for one in own]
        assert row["consistency"] == pytest.approx(np.mean(scores))
        assert row["low"] == pytest.approx(np.mean(np.array(scores) < 0.5))
        assert (row["low"] == 0) == ("0.5 or more" in name)
        assert (row["rows"], row["columns"]) == (1, -2)
    assert {row["slices"] for row in found["arms"].values()} == {24, 30}


@pytest.mark.slow
def test_the_distance_is_that_of_the_slices_drawn(made: Experiment, found: dict[str, Any]) -> None:
    plan, root, results = made
    number = found["frechet_slices"]
    assert number == 24  # the smallest draw; the real slices are more
    arm = "real + 30 noisy"
    expected = []
    for one in (one for one in results if one.arm.name == arm and one.fold == 1):
        settings = SegmentSettings(**one.card["settings"])
        synthetic = trained_on(made, one, number)
        store = Store(root / "mr")
        real = load_slices(
            store, store.select("mr", organ="liver"), settings, scale=model_scale(settings), labelled=True
        )
        shown = [
            index
            for index, key in enumerate(real.keys)
            if key.patient not in plan.tested[1][0] and FIRST <= key.slice <= LAST
        ]
        chosen = real.take(draw_evenly(real, shown, number, 0))
        features = detector("random").features
        expected.append(frechet_distance(features(synthetic.images), features(chosen.images)))
        assert {key.case for key in synthetic.keys} == {f"ct-{n:03d}-as-mr" for n in range(6)}
    (point,) = (point for point in found["points"] if point["arm"] == arm and point["fold"] == 1)
    assert point["frechet"] == pytest.approx(np.mean(expected), rel=1e-3)


@pytest.mark.slow
def test_noisy_slices_are_further_from_real_ones(found: dict[str, Any]) -> None:
    arms = found["arms"]
    assert arms["real + 30 noisy"]["frechet"] > 2 * arms["real + 30 good"]["frechet"]


def test_arms_with_few_slices_have_no_distance_and_limit_no_other(tmp_path: Path) -> None:
    plan, results = Made(changes={"counts": [0, 4, 20], "folds": 2}).experiment(tmp_path)
    arms = (quality(plan, tmp_path, results) or {})["arms"]
    assert arms["real + 4 essnet"]["frechet"] is None
    assert arms["real + 20 essnet"]["frechet"] is not None


@pytest.mark.slow
def test_nobody_who_is_tested_on_stands_beside_the_synthetic_slices(made: Experiment) -> None:
    plan, root, results = made
    for result in results:
        settings = SegmentSettings(**result.card["settings"])
        real = real_slices(root / "mr", settings)
        side = real.training_side(settings)
        assert {real.thin.keys[i].patient for i in side} == set(plan.patients) - plan.tested[result.fold][0]
        assert {real.thin.keys[i].slice for i in side} == set(range(FIRST, LAST + 1))
        if result.seed:
            break


def points(gains: list[float], arms: int = 1) -> list[dict[str, Any]]:
    return [
        {"fold": fold, "translator": "t", "min_consistency": 0.0, "consistency": fold / 10, "gain": gain + arm}
        for fold, gain in enumerate(gains)
        for arm in range(arms)
    ]


def test_a_relation_is_over_synthetic_sets_and_not_over_arms() -> None:
    steady = relation(points([g / 100 for g in range(8)], arms=3), "consistency")
    assert (steady["n"], steady["points"], steady["shown"]) == (8, 24, True)
    assert steady["rho"] == pytest.approx(1)
    assert "more of it went with more gain" in steady["words"]
    few = relation(points([g / 100 for g in range(7)], arms=3), "consistency")
    assert (few["n"], few["points"], few["rho"]) == (7, 21, None)
    assert few["words"] == "not shown: needs at least 8 synthetic sets; there are 7."


def test_no_relation_is_called_so() -> None:
    # Ranks 1 to 8 against 4 7 2 5 8 1 6 3: 1 - 6 * 96 / (8 * 63).
    found = relation(points([4, 7, 2, 5, 8, 1, 6, 3]), "consistency")
    assert found["rho"] == pytest.approx(1 - 6 * 96 / (8 * 63))
    assert not found["shown"]
    assert found["words"].startswith("not shown: Spearman -0.14 over 8 synthetic sets")
    alike = [{**point, "consistency": 0.5} for point in points([1, 2, 3, 4, 5, 6, 7, 8])]
    assert relation(alike, "consistency")["words"] == "not shown: it is the same everywhere."


def test_curves_of_several_runs_are_one_with_a_band() -> None:
    found = together([{"loss": [(10, 1.0), (20, 3.0)]}, {"loss": [(10, 2.0), (30, 4.0)]}])["loss"]
    # The second run is at 3 between its readings; the first ends at 20.
    assert found["steps"] == [10, 20, 30]
    assert (found["low"], found["mean"], found["high"]) == ([1, 3, 4], [1.5, 3, 4], [2, 3, 4])
    long = together([{"loss": [(step, float(step)) for step in range(1, 1001)]}])["loss"]
    assert len(long["steps"]) == POINTS
    assert (long["steps"][0], long["steps"][-1], long["runs"]) == (1, 1000, 1)
    assert together([{"loss": [(1, float("nan"))]}, {}]) == {}
