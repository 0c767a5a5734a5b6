import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.errors import InputError
from crossmod.evaluation.artifacts import save_draws
from crossmod.evaluation.ranking import ModelResult, compare_evaluations, pair_of, table, to_json
from crossmod.evaluation.run import evaluate_images
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.distribution import METRICS
from crossmod.runs import start_run
from tests.support.evaluated_people import flat, look_alike, make_people, synthetic_store

LOWER = [name for name, metric in METRICS.items() if not metric.higher_is_better]


def result(folder: Path, models: dict[str, dict[str, Any]], *, modality: str = "mr", draws: bool = True) -> Path:
    """A result by hand: model -> the average of every metric, half the width of its interval, and its pairing."""
    run = start_run(folder, "evaluate", {}, {})
    cards, rows = {}, {}
    for name, one in models.items():
        values = {metric: value if metric in LOWER else 1 / (1 + value) for metric, value in one["values"].items()}
        plain = {m: [v, v - one["half"], v + one["half"]] if v is not None else [None] * 3 for m, v in values.items()}
        cards[name] = {side: {"average": plain} for side in ("scores", "ratios")} | {"pairing": one.get("pairing")}
        noise = np.random.default_rng(0).normal(0, one["half"] / 2, (101, 1))
        noise[0] = 0
        rows[name] = np.array([list(values.values())]) + noise
    if draws:
        save_draws(folder, rows, list(models))
    run.finish(
        {
            "settings": {"window": [-160, 240], "percentiles": [0.5, 99.5], "inside": False},
            "data": {"real": {"reference": {"patients": ["r"]}}},
            "steps": 100, "models": cards, "modality": modality, "sequence": None, "size": 32,
            "detector": {"sha256": "d" * 64},
        }
    )  # fmt: skip
    return folder


def scores(value: float, **others: float) -> dict[str, float]:
    return {metric: others.get(metric, value) for metric in METRICS}


def test_models_are_ranked_by_the_mean_of_their_ranks(tmp_path: Path) -> None:
    """`a` is nearest by all metrics but two, by which it is last."""
    models = {
        "c": {"values": scores(3.0, kid=1.0, spectrum=1.0), "half": 0.1},
        "a": {"values": scores(1.0, kid=3.0, spectrum=3.0), "half": 0.1},
        "b": {"values": scores(2.0), "half": 0.1},
    }
    ranking = compare_evaluations([result(tmp_path / "r", models, draws=False)])
    assert ranking.models == ("a", "b", "c")
    assert ranking.ranks["a"] == {metric: 3.0 if metric in ("kid", "spectrum") else 1.0 for metric in METRICS}
    assert ranking.mean_rank["a"].value == pytest.approx((5 * 1 + 2 * 3) / 7)
    assert ranking.mean_rank["b"].value == pytest.approx(2)
    assert ranking.ranked_by == "ratios"
    assert math.isinf(ranking.mean_rank["a"].low)


def test_the_same_draws_show_what_overlapping_intervals_do_not(tmp_path: Path) -> None:
    """Two models that go up and down together: each interval is far wider than their difference."""
    models = {
        name: {"values": scores(value), "half": 0.5, "pairing": "same"} for name, value in (("a", 1.0), ("b", 1.05))
    }
    paired = compare_evaluations([result(tmp_path / "r", models)])
    assert (paired.pairs[0].how, paired.ranked_by) == ("paired draws", "scores")
    assert set(paired.pairs[0].nearer.values()) == {"a"}
    assert paired.pairs[0].lead is not None
    assert paired.pairs[0].lead.value == 1
    assert (paired.mean_rank["a"].value, paired.mean_rank["a"].high) == (1, 1)
    other = {name: {**one, "pairing": name} for name, one in models.items()}
    loose = compare_evaluations([result(tmp_path / "s", other)])
    assert (loose.pairs[0].how, loose.ranked_by) == ("intervals", "ratios")
    assert set(loose.pairs[0].nearer.values()) == {None}
    assert "no difference is shown (from whether intervals overlap" in loose.pairs[0].sentence
    assert any("Not all models can be paired" in line for line in loose.warnings)


def test_intervals_that_lie_apart_tell_without_pairing(tmp_path: Path) -> None:
    models = {"a": {"values": scores(1.0), "half": 0.01}, "b": {"values": scores(2.0), "half": 0.01}}
    pair = compare_evaluations([result(tmp_path / "r", models, draws=False)]).pairs[0]
    assert set(pair.nearer.values()) == {"a"}
    assert pair.differences == {}


def test_a_metric_that_one_model_has_not_is_left_out(tmp_path: Path) -> None:
    short = {**scores(1.0), "kl_3": None}
    path = tmp_path / "r"
    run = start_run(path, "evaluate", {}, {})
    half: dict[str, Any] = {
        name: {side: {"average": {m: [v, None, None] for m, v in values.items()}} for side in ("scores", "ratios")}
        | {"pairing": None}
        for name, values in (("a", short), ("b", scores(2.0)))
    }
    base = json.loads((result(tmp_path / "x", {"a": {"values": scores(1.0), "half": 1.0}}) / "card.json").read_text())
    run.finish({**{key: value for key, value in base.items() if key != "kind"}, "models": half})
    ranking = compare_evaluations([path])
    assert "kl_3" not in ranking.ranks["b"]
    assert "kl_3" not in ranking.pairs[0].nearer
    assert set(ranking.pairs[0].nearer.values()) == {None}  # no interval, nothing shown


def test_models_of_one_name_in_two_results(tmp_path: Path) -> None:
    for name in ("one", "two"):
        result(tmp_path / name, {"a": {"values": scores(1.0), "half": 0.1, "pairing": "p"}})
    ranking = compare_evaluations([tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    assert sorted(ranking.models) == ["one: a", "two: a"]
    assert ranking.mean_rank["one: a"].value == 1.5
    assert "over all metrics no order is shown" in ranking.pairs[0].sentence


def test_what_cannot_be_ranked(tmp_path: Path) -> None:
    one = result(tmp_path / "one", {"a": {"values": scores(1.0), "half": 0.1}})
    ct = result(tmp_path / "ct", {"b": {"values": scores(1.0), "half": 0.1}}, modality="ct")
    with pytest.raises(InputError, match=r"1 model\. Expected: two models"):
        compare_evaluations([one])
    with pytest.raises(InputError, match="results of ct and mr"):
        compare_evaluations([one, ct])
    start_run(tmp_path / "train", "train", {}, {})
    with pytest.raises(InputError, match="a run of `train`"):
        compare_evaluations([one, tmp_path / "train"])
    start_run(tmp_path / "begun", "evaluate", {}, {})
    with pytest.raises(InputError, match="not finished"):
        compare_evaluations([one, tmp_path / "begun"])


@pytest.mark.slow
def test_models_that_were_judged_apart_are_paired_all_the_same(tmp_path: Path) -> None:
    """In results of their own, since all that their draws depend on is the same; not by another seed."""
    people = make_people(tmp_path)
    full = {
        name: synthetic_store(tmp_path / name, people.ct, make) for name, make in (("near", look_alike), ("far", flat))
    }

    def judged(name: str, **settings: Any) -> Path:
        out = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        return evaluate_images(
            people.mr, [full[name]], out, source=[people.ct], settings=EvaluationSettings(draws=40, **settings)
        ).path

    near, far = judged("near"), judged("far")
    ranking = compare_evaluations([near, far])
    assert ranking.pairs[0].how == "paired draws"
    assert ranking.models == ("near", "far")
    assert ranking.pairs[0].nearer["kl_256"] == "near"
    assert compare_evaluations([near, judged("far", seed=1)]).pairs[0].how == "intervals"
    assert compare_evaluations([near, judged("far", inside=True)]).pairs[0].how == "intervals"


def test_a_difference_of_a_score_that_rises_with_nearness() -> None:
    def model(name: str, value: float) -> ModelResult:
        rows = np.full((50, len(METRICS)), value) + np.random.default_rng(1).normal(0, 1e-3, (50, 1))
        return ModelResult(name, "r", {}, {"pairing": "p"}, tuple(METRICS), rows)

    pair = pair_of(model("low", 0.2), model("high", 0.8))
    assert pair.nearer == {name: "high" if m.higher_is_better else "low" for name, m in METRICS.items()}
    same = pair_of(model("low", 0.2), replace(model("low", 0.2), name="twin"))
    assert set(same.nearer.values()) == {None}


def test_rows_and_json(tmp_path: Path) -> None:
    models = {name: {"values": scores(v), "half": 0.5, "pairing": "p"} for name, v in (("a", 1.0), ("b", 1.2))}
    ranking = compare_evaluations([result(tmp_path / "r", models)])
    assert [row[0] for row in table(ranking)] == ["model", "a", "b"]
    content = json.loads(json.dumps(to_json(ranking), allow_nan=False))
    assert content["models"] == ["a", "b"]
    assert content["pairs"][0]["nearer"]["frechet"] == "a"
