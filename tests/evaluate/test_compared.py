import numpy as np
import pytest

from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.compared import METRICS, compare_arms, failures_in_words
from crossmod.evaluate.effects import effects
from crossmod.evaluate.facts import ONE_MODEL, Facts
from crossmod.evaluate.verdicts import holm

FOLDS = np.repeat(np.arange(4), 5)
DRAWS = 2000


def scores(name: str, gain: float, seed: int, missing: tuple[int, ...] = ()) -> ArmScores:
    rng = np.random.default_rng(seed)
    values = 0.7 + gain + rng.normal(0, 0.01, (3, len(FOLDS)))
    values[:, list(missing)] = np.nan
    return ArmScores(name, values, FOLDS)


def test_all_arms_of_a_baseline_are_corrected_together() -> None:
    base, arms = scores("real", 0, 0), [scores("more", 0.05, 1), scores("much", 0.0, 2)]
    found = compare_arms(base, arms, [Facts(), Facts()], "dice", DRAWS)
    plain = effects(base, arms, 0, DRAWS)
    assert [one.effect for one in found] == plain
    assert [one.holm for one in found] == pytest.approx(holm(np.array([one.p for one in plain])).tolist())
    assert [one.verdict for one in found] == ["improves", "not shown"]
    assert found[0].sentence.startswith("more: synthetic slices improve 3D Dice: +0.0")
    assert found[0].arms == 2


@pytest.mark.parametrize(("metric", "gain", "verdict"), [
    ("dice", 0.05, "improves"), ("hd95", 0.05, "hurts"), ("mssd", -0.05, "improves"), ("ravd", 0.05, "hurts"),
])  # fmt: skip
def test_the_direction_is_that_of_the_metric(metric: str, gain: float, verdict: str) -> None:
    (found,) = compare_arms(scores("real", 0, 0), [scores("more", gain, 1)], [Facts()], metric, DRAWS)
    assert found.verdict == verdict
    assert METRICS[metric].name in found.sentence


def test_a_baseline_that_is_not_trained_allows_no_verdict() -> None:
    about = Facts(untrained="the baseline is not trained enough (5 steps)")
    (found,) = compare_arms(scores("real", 0, 0), [scores("more", -0.5, 1)], [about], "dice", DRAWS)
    assert found.verdict == "not comparable"
    assert found.sentence == "more: 3D Dice not comparable: the baseline is not trained enough (5 steps)."


def test_one_model_speaks_for_itself() -> None:
    (found,) = compare_arms(
        scores("real", 0, 0), [scores("more", 0.05, 1)], [Facts(shared=(ONE_MODEL,))], "dice", DRAWS
    )
    assert "this model improves 3D Dice" in found.sentence
    assert "synthetic slices improve" not in found.sentence


def test_both_counts_and_the_failures_are_told() -> None:
    base, arm = scores("real", 0, 0, (3,)), scores("more", 0, 1, (3, 4))
    (found,) = compare_arms(base, [arm], [Facts()], "hd95", DRAWS)
    words = failures_in_words(found.effect, "hd95")
    assert words.startswith(
        "HD95 is defined for 19 of 20 patients without synthetic slices and for 18 with them; compared are the 18 that "
        "have it in both. With a missing value counted as the worst one: "
    )
    # Of the patient that neither arm ever has a score of, nothing is known.
    assert words.endswith("mm (19 patients).")
    (whole,) = compare_arms(scores("real", 0, 0), [scores("more", 0, 1)], [Facts()], "hd95", DRAWS)
    assert failures_in_words(whole.effect, "hd95") == ""
