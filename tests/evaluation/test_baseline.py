import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.errors import InputError
from crossmod.evaluation.baseline import BaselineComparison, compare_with_baseline, hold_out
from crossmod.metrics.distribution import METRICS, ImageStatistics
from crossmod.statistics.intervals import estimate, patient_draws
from tests.support.plain_scores import average, in_layer, score, score_layers


def slices(
    seed: int, patients: dict[str, int], layers: tuple[int, ...] = (1, 2), *, shift: float = 0.0
) -> ImageStatistics:
    """Slices whose features, histograms and spectra all move with `shift`; so many of each patient in each layer."""
    rng = np.random.default_rng(seed)
    whose = [patient for patient, count in patients.items() for _ in range(count) for _ in layers]
    count = len(whose)
    own = dict(zip(patients, rng.normal(0, 0.3, len(patients)), strict=True))
    place = np.array([own[patient] for patient in whose]) + rng.normal(0, 0.2, count) + shift
    grey = np.exp(-((np.linspace(-2, 2, 256) - place[:, None]) ** 2) * 4) + 1e-3
    tissue = np.exp(-((np.linspace(-1, 1, 3) - place[:, None]) ** 2))
    waves = np.cos(np.linspace(0, 6, 45).reshape(1, 9, 5) + place[:, None, None])
    return ImageStatistics(
        features=place[:, None] + rng.normal(0, 0.5, (count, 4)),
        grey=grey / grey.sum(axis=1, keepdims=True),
        tissue=tissue / tissue.sum(axis=1, keepdims=True),
        spectra=(waves + rng.normal(0, 0.1, waves.shape)).astype(np.float32),
        layers=np.array([layer for _, many in patients.items() for _ in range(many) for layer in layers], np.int64),
        patients=tuple(whose),
        detector="toy",
        edges=(-1.0, 0.0, 0.5, 1.0),
    )


def people(name: str, count: int, each: int = 3) -> dict[str, int]:
    return {f"{name}{number}": each for number in range(count)}


@pytest.fixture(scope="module")
def judged() -> tuple[ImageStatistics, ImageStatistics, dict[str, ImageStatistics], BaselineComparison]:
    reference, held = slices(1, people("r", 6)), slices(2, people("h", 5))
    models = {"near": slices(3, people("m", 5)), "far": slices(4, people("m", 5), shift=1.0)}
    return reference, held, models, compare_with_baseline(reference, held, models, seed=3, draws=200)


def test_estimates_are_the_plain_scores(judged: tuple) -> None:
    """As many slices and patients everywhere: nothing is left out."""
    reference, held, models, found = judged
    assert found.patients == (6, 5)
    assert found.images[1] == found.images[2] == (18, 15)
    assert found.images[3] == (0, 0)
    for table, other in ((found.baseline, held), *((found.scores[name], models[name]) for name in models)):
        by_layer = score_layers(reference, other)
        for layer, scores in by_layer.items():
            values = {name: one.value for name, one in table.layers[layer].items()}
            assert values == pytest.approx(scores, rel=1e-5, nan_ok=True)
        assert {name: one.value for name, one in table.average.items()} == pytest.approx(average(by_layer), rel=1e-5)


def test_ratios_are_score_by_baseline_and_mean_by_mean(judged: tuple) -> None:
    reference, held, models, found = judged
    over, under = (score_layers(reference, other) for other in (models["far"], held))
    for metric in set(METRICS) - {"kid"}:
        ratio = found.ratios["far"]
        assert ratio.layers[2][metric].value == pytest.approx(over[2][metric] / under[2][metric], rel=1e-5)
        assert ratio.average[metric].value == pytest.approx(average(over)[metric] / average(under)[metric], rel=1e-5)
    assert math.isnan(found.ratios["far"].average["kid"].value)


def test_intervals(judged: tuple) -> None:
    *_, found = judged
    for table in (found.baseline, *found.scores.values()):
        for one in table.average.values():
            assert one.low <= one.value <= one.high
    near, far = (found.ratios[name].average["frechet"] for name in ("near", "far"))
    assert near.low < 1 < near.high
    assert far.low > 1
    assert found.scores["near"].average["kl_256"].low >= 0
    assert found.scores["near"].average["intersection"].high <= 1


def test_the_same_seed_gives_the_same_intervals(judged: tuple) -> None:
    reference, held, models, found = judged
    again = compare_with_baseline(reference, held, {"far": models["far"]}, seed=3, draws=200)
    assert again.scores["far"].average["frechet"] == found.scores["far"].average["frechet"]
    other = compare_with_baseline(reference, held, {"far": models["far"]}, seed=4, draws=200)
    assert other.scores["far"].average["frechet"] != found.scores["far"].average["frechet"]


def test_numbers_are_made_equal() -> None:
    """A model of more patients and more slices is cut down to those of the baseline, evenly."""
    reference, held = slices(1, people("r", 4)), slices(2, people("h", 2, each=4))
    model = slices(3, people("m", 6, each=5))
    found = compare_with_baseline(reference, held, {"m": model}, draws=0)
    assert found.patients == (4, 2)
    assert found.images[1] == (12, 8)
    # The score is one of two of the six, with four slices of each.
    pairs = [in_layer(model, 1).of_patients(two) for two in itertools.combinations(sorted(people("m", 6)), 2)]
    fours = [sorted(itertools.combinations(range(start, start + 5), 4)) for start in (0, 5)]
    choices = [pair.take([*a, *b]) for pair in pairs for a in fours[0] for b in fours[1]]
    value = found.scores["m"].layers[1]["kl_256"].value
    assert min(abs(score(reference, choice, 1)["kl_256"] - value) for choice in choices) < 1e-9
    assert found.scores["m"].layers[1]["kl_256"].high == math.inf  # without draws


def test_a_set_against_itself_scores_as_the_baseline() -> None:
    reference, held = slices(1, people("r", 4)), slices(2, people("h", 4))
    found = compare_with_baseline(reference, held, {"held": held}, draws=50)
    for metric in set(METRICS) - {"kid"}:
        one = found.ratios["held"].average[metric]
        assert (one.value, one.low, one.high) == pytest.approx((1, 1, 1))


def test_layers_that_one_side_lacks() -> None:
    reference, held = slices(1, people("r", 3), (1, 2, 3)), slices(2, people("h", 3), (1, 3))
    found = compare_with_baseline(reference, held, {"m": slices(3, people("m", 3), (1, 2))}, draws=20)
    assert math.isnan(found.baseline.layers[2]["frechet"].value)
    assert math.isfinite(found.scores["m"].layers[2]["frechet"].value)
    assert math.isnan(found.scores["m"].layers[3]["frechet"].value)
    # Only layer 1 has both.
    ratio = found.ratios["m"]
    assert ratio.average["kl_256"].value == pytest.approx(ratio.layers[1]["kl_256"].value)


def test_a_baseline_of_zero_divides_nothing() -> None:
    """The held-out slices are those of the reference, under other names."""
    reference, same = slices(1, people("r", 3)), slices(1, people("h", 3))
    found = compare_with_baseline(reference, same, {"m": slices(3, people("m", 3))}, draws=5)
    assert found.baseline.average["kl_256"].value == 0
    assert math.isnan(found.ratios["m"].average["kl_256"].value)


def test_one_patient_a_side_has_a_score_and_no_interval() -> None:
    found = compare_with_baseline(slices(1, {"r": 4}), slices(2, {"h": 4}), {"m": slices(3, {"m": 4})}, draws=20)
    one = found.scores["m"].average["frechet"]
    assert math.isfinite(one.value)
    assert (one.low, one.high) == (-math.inf, math.inf)


def test_mistakes_are_refused() -> None:
    some = slices(1, people("r", 2))
    with pytest.raises(InputError, match="patient r0 on both sides"):
        compare_with_baseline(some, some, {})
    with pytest.raises(InputError, match="no slices"):
        compare_with_baseline(some, slices(2, people("h", 2)), {"m": slices(3, people("m", 2)).take([])})


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), st.integers(0, 99))
def test_holding_apart(patients: list[str], seed: int) -> None:
    if len(set(patients)) < 2:
        with pytest.raises(InputError, match="1 real patient"):
            hold_out(patients, seed)
        return
    reference, held = hold_out(patients, seed)
    assert sorted((*reference, *held)) == sorted(set(patients))
    assert 0 <= len(reference) - len(held) <= 1
    assert hold_out(patients[::-1], seed) == (reference, held)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), st.integers(0, 99))
def test_patients_are_drawn_whole(patients: list[str], seed: int) -> None:
    names = sorted(set(patients))
    times = patient_draws(tuple(patients), seed, 30)
    assert times.shape == (31, len(patients))
    assert (times[0] == 1).all()
    first = [patients.index(name) for name in names]
    assert (times[:, first].sum(axis=1) == len(names)).all()
    for i, patient in enumerate(patients):
        np.testing.assert_array_equal(times[:, i], times[:, patients.index(patient)])


def test_estimate_by_hand() -> None:
    drawn = np.concatenate([[10.0], np.arange(101.0)])
    moved, stretched = estimate(drawn, "difference"), estimate(drawn, "factor")
    assert (moved.value, moved.low, moved.high) == pytest.approx((10, -37.5, 57.5))
    assert (stretched.value, stretched.low, stretched.high) == pytest.approx((10, 0.5, 19.5))
    assert estimate(drawn, "difference", (0.0, 50.0)).low == 0
    assert estimate(drawn, "difference", (0.0, 50.0)).high == 50
    across = np.concatenate([[-10.0], drawn[1:]])
    assert estimate(across, "factor") == estimate(across, "difference")
    few = np.where(np.arange(102) > 40, np.nan, drawn)
    assert estimate(few, "factor").high == math.inf
    assert math.isnan(estimate(np.array([math.nan, 1.0]), "factor").low)


@pytest.mark.slow
def test_the_interval_of_a_biased_distance_holds_its_expected_value() -> None:
    """60 experiments: the moved interval holds what the experiment gives on average; the plain one often does not."""
    made = [(slices(2 * i, people("r", 6)), slices(2 * i + 1, people("m", 6), shift=0.3)) for i in range(60)]
    expected = np.mean([score(real, other, 1)["frechet"] for real, other in made])
    held = 0
    for real, other in made:
        found = compare_with_baseline(real, other, {}, draws=60).baseline.layers[1]["frechet"]
        held += found.low <= expected <= found.high
    assert held >= 50
