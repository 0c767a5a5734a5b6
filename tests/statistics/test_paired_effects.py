import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from crossmod.errors import InputError
from crossmod.statistics.arm_scores import ArmScores, fold_inflation, from_runs, paired, spread
from crossmod.statistics.paired_effects import Effect, effect, effects, wilcoxon


def arm(values: np.ndarray, folds: int = 1, name: str = "arm") -> ArmScores:
    return ArmScores(name, values.astype(np.float64), np.arange(values.shape[1]) % folds)


def simulated(
    rng: np.random.Generator,
    patients: int,
    folds: int,
    seeds: int,
    *,
    run_sd: float,
    own_sd: float,
    gain: float,
    translator_sd: float = 0.0,
) -> tuple[ArmScores, ArmScores]:
    """Scores like Dice: 1 less something skewed, of which the gain takes a share; runs' luck common to a fold.

    A fold's translator is common to all of its seeds, in the arm alone.
    """
    missing = rng.gamma(4, 0.025, patients)
    change = gain * missing / 0.1 + own_sd * (rng.gamma(4, 1, patients) - 4) / 2
    change = change + rng.normal(0, translator_sd, folds)[np.arange(patients) % folds] if translator_sd else change
    arms = []
    for part in (np.zeros(patients), change):
        luck = rng.normal(0, run_sd, (seeds, folds))[:, np.arange(patients) % folds]
        arms.append(arm(1 - missing + part + luck + rng.normal(0, 0.02, (seeds, patients)), folds))
    return arms[0], arms[1]


DESIGNS = [(15, 5, 3), (5, 1, 3), (10, 5, 2), (40, 5, 3)]


@pytest.mark.parametrize(("patients", "folds", "seeds"), DESIGNS)
@pytest.mark.parametrize(("run_sd", "own_sd", "gain"), [(0.0, 0.03, 0.0), (0.01, 0.03, 0.02), (0.03, 0.0, 0.0)])
def test_the_interval_holds_the_truth(
    patients: int, folds: int, seeds: int, run_sd: float, own_sd: float, gain: float
) -> None:
    """500 simulated experiments; without effect, "improves" comes in fewer than one of twenty."""
    rng = np.random.default_rng(0)
    inside = above = 0
    for _ in range(500):
        found = effect(*simulated(rng, patients, folds, seeds, run_sd=run_sd, own_sd=own_sd, gain=gain))
        inside += found.low <= gain <= found.high
        above += found.low > 0
    # Three standard deviations of 500 experiments below 95 %; with folds, the inflation makes it more.
    assert inside / 500 >= 0.92
    if gain == 0:
        assert above / 500 < 0.05


@pytest.mark.parametrize("design", [(15, 5, 3), (40, 5, 3), (9, 3, 2)])
@pytest.mark.parametrize("translator_sd", [0.02, 0.05])
def test_a_lucky_translator_is_no_effect(design: tuple[int, int, int], translator_sd: float) -> None:
    """What the patients of a fold share, whatever its seeds: as large as it was on real patients."""
    rng = np.random.default_rng(4)
    inside = above = 0
    for _ in range(500):
        found = effect(*simulated(rng, *design, run_sd=0.01, own_sd=0.02, gain=0.0, translator_sd=translator_sd))
        inside += found.low <= 0 <= found.high
        above += found.low > 0
    assert inside / 500 >= 0.92
    assert above / 500 < 0.05


@pytest.mark.slow
def test_variance_parts_are_unbiased() -> None:
    """Their mean over many experiments is the variance of the mean difference over those experiments."""
    rng = np.random.default_rng(1)
    for patients, folds in ((6, 3), (5, 1), (4, 4), (7, 3)):
        means, totals = [], []
        for _ in range(2000):
            pair = simulated(rng, patients, folds, 3, run_sd=0.03, own_sd=0.1, gain=0.0)
            means.append((pair[1].by_patient - pair[0].by_patient).mean())
            totals.append(spread(*pair).total / spread(*pair).inflation)
        assert np.mean(totals) == pytest.approx(np.var(means), rel=0.13)


def test_patients_alone_are_students_t(rng: np.random.Generator) -> None:
    """Runs without luck or rest leave the patients: the paired t test."""
    base = rng.normal(0.8, 0.05, 20)
    gain = rng.normal(0.01, 0.03, 20)
    found = effect(arm(np.tile(base, (3, 1))), arm(np.tile(base + gain, (3, 1))))
    oracle: Any = stats.ttest_1samp(gain, 0)
    ends = oracle.confidence_interval(0.95)
    assert (found.mean, found.p) == pytest.approx((gain.mean(), oracle.pvalue))
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_runs_alone_are_welchs_t(rng: np.random.Generator) -> None:
    """Patients who all change alike leave the runs of one fold."""
    patients = rng.normal(0.8, 0.05, 30)
    old, new = rng.normal(0, 0.02, 12), rng.normal(0.03, 0.05, 12)
    found = effect(arm(patients + old[:, None]), arm(patients + new[:, None]))
    oracle: Any = stats.ttest_ind(new, old, equal_var=False)
    ends = oracle.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, oracle.pvalue))


@pytest.mark.parametrize("folds", [2, 3, 5, 12])
def test_folds_are_nadeau_and_bengios_corrected_t(folds: int, rng: np.random.Generator) -> None:
    """Equal folds: t of the folds' means, with the variance (1/K + rho / (1 - rho)) S^2 written out, rho 1/4."""
    base = rng.random((2, 3 * folds))
    other = base + rng.normal(0.02, 0.05, 3 * folds) + rng.normal(0, 0.02, (2, 3 * folds))
    found = effect(arm(base, folds), arm(other, folds))
    means = [(other - base).mean(axis=0)[fold::folds].mean() for fold in range(folds)]
    error = math.sqrt((1 / folds + 1 / 3) * np.var(means, ddof=1))
    half = float(stats.t.ppf(0.975, folds - 1)) * error
    assert (found.low, found.high) == pytest.approx((np.mean(means) - half, np.mean(means) + half))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(np.mean(means)) / error, folds - 1))
    assert found.freedom == folds - 1


def test_the_inflation_is_that_of_folds_that_correlate() -> None:
    """Folds with a correlation of 1/4: the inflated variance is, on average, that of the mean of the folds."""
    rng = np.random.default_rng(0)
    for folds in (3, 5, 10):
        share = 0.25
        common, own = rng.normal(0, share**0.5, (40_000, 1)), rng.normal(0, (1 - share) ** 0.5, (40_000, folds))
        means = common + own
        told = np.var(means, axis=1, ddof=1).mean() / folds * fold_inflation(folds)
        assert told == pytest.approx(np.var(means.mean(axis=1)), rel=0.03)


def test_a_runs_luck_is_common_to_its_fold() -> None:
    """The same scores dealt into one fold are less certain than in five: fewer runs were made."""
    rng = np.random.default_rng(2)
    pair = simulated(rng, 20, 1, 3, run_sd=0.03, own_sd=0.0, gain=0.0)
    one = effect(*pair)
    many = [ArmScores("arm", a.values, np.arange(20) % 5) for a in pair]
    five = effect(many[0], many[1])
    assert one.high - one.low > 1.5 * (five.high - five.low)


def test_p_and_interval_agree() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        found = effect(*simulated(rng, 10, 5, 3, run_sd=0.01, own_sd=0.03, gain=0.06))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_arms_together_are_as_alone(rng: np.random.Generator) -> None:
    base, first, second = (arm(rng.random((3, 9)), 3, name) for name in ("base", "first", "second"))
    assert effects(base, [first, second]) == [effect(base, one) for one in (first, second)]


def test_no_difference_at_all() -> None:
    values = np.full((2, 4), 0.5)
    assert effect(arm(values), arm(values)) == Effect(0.0, 0.0, 0.0, 1.0, 4, 2, math.inf)
    # Sums in another order differ by rounding, which is no effect.
    assert effect(arm(values, 2), arm(values + 1e-16, 2)).p == 1.0


def test_one_seed_and_one_patient(rng: np.random.Generator) -> None:
    found = effect(arm(rng.random((1, 8))), arm(rng.random((3, 8))))
    assert (found.patients, found.seeds) == (8, 1)
    alone = effect(arm(np.array([[0.5], [0.6]])), arm(np.array([[0.7], [0.8]])))
    assert alone.mean == pytest.approx(0.2)
    assert (alone.low, alone.high, alone.patients) == (-math.inf, math.inf, 1)
    assert math.isnan(alone.p)


def test_undefined_patients_are_left_out_and_counted(rng: np.random.Generator) -> None:
    base, other = rng.random((2, 3, 6))
    other[1, 2] = np.nan
    found = effect(arm(base), arm(other))
    assert (found.patients, found.left_out, found.undefined_base, found.undefined_arm) == (5, 1, 0, 1)
    keep = [0, 1, 3, 4, 5]
    assert found.mean == pytest.approx((other[:, keep] - base[:, keep]).mean())
    assert paired(arm(base), [arm(other), arm(base)])[2] == 1


def test_other_folds_are_no_pair(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="different test patients or folds"):
        effect(arm(rng.random((2, 6)), 2), arm(rng.random((2, 6)), 3))


def test_wilcoxon_by_hand() -> None:
    """Five patients who all gain: 2 of the 32 signs are as far out; differences of 0 are dropped."""
    base = np.full((2, 7), 0.5)
    gain = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.0])
    assert wilcoxon(arm(base), arm(base + gain)) == pytest.approx(2 / 32)
    assert wilcoxon(arm(base), arm(base)) == 1


def test_wilcoxon_against_every_sign(rng: np.random.Generator) -> None:
    base, other = rng.random((2, 3, 8))
    differences = (other - base).mean(axis=0)
    ranks = stats.rankdata(np.abs(differences))
    signs = (np.arange(256)[:, None] >> np.arange(8)) & 1
    sums, seen = signs @ ranks, ranks[differences > 0].sum()
    expected = min(2 * min((sums <= seen).mean(), (sums >= seen).mean()), 1)
    assert wilcoxon(arm(base), arm(other)) == pytest.approx(expected)


def test_runs_with_seeds_of_their_own_in_each_fold() -> None:
    runs = {
        (0, 71): {"a": 0.1, "b": 0.2},
        (0, 90): {"b": 0.4, "a": 0.3},
        (1, 12): {"c": 0.5},
        (1, 13): {"c": 0.6},
        (1, 14): {"c": 0.7},
    }
    found = from_runs("arm", runs)
    assert found.folds.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.values, [[0.1, 0.2, 0.5], [0.3, 0.4, 0.6]])
    with pytest.raises(InputError, match=r"arm, fold 0.*different patients"):
        from_runs("arm", {(0, 1): {"a": 0.1}, (0, 2): {"b": 0.1}})
    assert from_runs("arm", {}).values.shape == (0, 0)
