import numpy as np
import pytest

from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effects
from crossmod.statistics.verdicts import METRICS, ONE_MODEL, Compared, Facts, compare_arms, holm

FOLDS = np.repeat(np.arange(4), 5)


def scores(name: str, gain: float, seed: int, missing: tuple[int, ...] = ()) -> ArmScores:
    rng = np.random.default_rng(seed)
    values = 0.7 + gain + rng.normal(0, 0.01, (3, len(FOLDS)))
    values[:, list(missing)] = np.nan
    return ArmScores(name, values, FOLDS)


def compare(base: ArmScores, arms: list[ArmScores], facts: list[Facts], metric: str = "dice") -> list[Compared]:
    """By one metric alone, beside the main one where it is another."""
    both = {"dice", metric}
    return compare_arms(dict.fromkeys(both, base), [dict.fromkeys(both, arm) for arm in arms], facts)[metric]


def test_all_arms_of_a_baseline_are_corrected_together() -> None:
    base, arms = scores("real", 0, 0), [scores("more", 0.05, 1), scores("much", 0.0, 2)]
    found = compare(base, arms, [Facts(), Facts()])
    plain = effects(base, arms)
    assert [one.effect for one in found] == plain
    assert [one.holm for one in found] == pytest.approx(holm(np.array([one.p for one in plain])).tolist())
    assert [one.verdict for one in found] == ["improves", "not shown"]
    assert found[0].sentence.startswith("more: synthetic slices improve 3D Dice")
    assert found[0].arms == 2


def test_other_scores_are_one_family_behind_the_main_one() -> None:
    """Two arms by two further scores are four tests; an arm without a shown gain in Dice shows nothing by others."""
    base = {metric: scores("real", 0, 0) for metric in ("dice", "hd95", "assd")}
    more = {"dice": scores("more", 0.05, 1), "hd95": scores("more", 0.05, 2), "assd": scores("more", 0.0, 3)}
    much = {"dice": scores("much", 0.0, 4), "hd95": scores("much", 0.05, 5), "assd": scores("much", 0.05, 6)}
    found = compare_arms(base, [more, much], [Facts(), Facts()])
    main = found["dice"]
    family = holm(np.array([one.effect.p for metric in ("hd95", "assd") for one in found[metric]])).reshape(2, 2)
    for metric, own in zip(("hd95", "assd"), family, strict=True):
        expected = np.maximum(own, [one.holm for one in main])
        assert [one.holm for one in found[metric]] == pytest.approx(expected.tolist())
    assert [one.verdict for one in found["hd95"]] == ["hurts", "not shown"]
    assert "4 tests" in found["hd95"][1].sentence


@pytest.mark.parametrize(("metric", "gain", "verdict"), [
    ("dice", 0.05, "improves"), ("hd95", 0.05, "hurts"), ("mssd", -0.05, "improves"), ("ravd", 0.05, "hurts"),
])  # fmt: skip
def test_the_direction_is_that_of_the_metric(metric: str, gain: float, verdict: str) -> None:
    (found,) = compare(scores("real", 0, 0), [scores("more", gain, 1)], [Facts()], metric)
    assert found.verdict == verdict
    assert METRICS[metric].name in found.sentence


def test_a_baseline_that_is_not_trained_allows_no_verdict() -> None:
    about = Facts(untrained="the baseline is not trained enough (5 steps)")
    (found,) = compare(scores("real", 0, 0), [scores("more", -0.5, 1)], [about])
    assert found.verdict == "not comparable"
    assert found.sentence == "more: 3D Dice not comparable: the baseline is not trained enough (5 steps)."


def test_one_model_speaks_for_itself() -> None:
    (found,) = compare(scores("real", 0, 0), [scores("more", 0.05, 1)], [Facts(shared=(ONE_MODEL,))])
    assert "this model improves 3D Dice" in found.sentence
    assert "synthetic slices improve" not in found.sentence


def test_both_counts_and_the_failures_are_told() -> None:
    base, arm = scores("real", 0, 0, (3,)), scores("more", 0, 1, (3, 4))
    (found,) = compare(base, [arm], [Facts()], "hd95")
    assert found.failures.startswith(
        "HD95 is defined for 19 of 20 patients without synthetic slices and for 18 with them; compared are the 18 that "
        "have it in both. With a missing value counted as the worst one: "
    )
    # Of the patient that neither arm ever has a score of, nothing is known.
    assert found.failures.endswith("mm (19 patients).")
    (whole,) = compare(scores("real", 0, 0), [scores("more", 0, 1)], [Facts()], "hd95")
    assert whole.failures == ""
