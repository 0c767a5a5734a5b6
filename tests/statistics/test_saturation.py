import numpy as np
import pytest

from crossmod.errors import InputError
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effect
from crossmod.statistics.saturation import best_shares, cross_fitted_gain, saturation


def curve(gains: dict[int, float], noise: float = 0.002, patients: int = 20) -> dict[int, ArmScores]:
    rng = np.random.default_rng(0)
    base, folds = rng.normal(0.8, 0.05, patients), np.arange(patients) % 5
    return {
        count: ArmScores(f"+{count}", base + gain + rng.normal(0, noise, (3, patients)), folds)
        for count, gain in gains.items()
    }


def test_a_clear_maximum() -> None:
    arms = curve({0: 0.0, 100: 0.02, 300: 0.05, 900: 0.03})
    found = saturation(arms, (100, 300, 900), 0, draws=1000)
    assert [point.count for point in found.points] == [0, 100, 300, 900]
    assert (found.best, found.shown, found.enough) == (300, True, 300)
    assert found.points[2].best == pytest.approx(1)
    assert found.points[0].effect is None
    # The band is that of the effect of each arm.
    assert found.points[1].effect == effect(arms[0], arms[100])
    assert found.gain == pytest.approx(0.05, abs=0.002)
    assert found.cross_fitted == pytest.approx(found.gain)


def test_a_plateau_is_reached_at_its_begin() -> None:
    found = saturation(curve({0: 0.0, 100: 0.05, 300: 0.05, 900: 0.05}, noise=0.01), (100, 300, 900), 0, draws=1000)
    assert found.enough == 100
    shares = [point.best for point in found.points]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == 0
    assert max(shares) < 0.999


def test_where_the_best_is_not_shown_to_help_nothing_is_enough() -> None:
    arms = curve({0: 0.0, 100: 0.01, 300: 0.012}, noise=0.05)
    found = saturation(arms, (), 0, draws=200)
    assert found.best in (0, 100, 300)
    assert (found.shown, found.enough) == (False, None)
    # A smaller count that helps does not make the best one shown.
    other = saturation(curve({0: 0.0, 100: 0.02, 300: 0.05}), (100,), 0, draws=200)
    assert (other.best, other.shown, other.enough) == (300, False, None)


def test_a_count_that_is_not_shown_to_help_is_not_enough() -> None:
    """100 is near the best, and alone not shown."""
    found = saturation(curve({0: 0.0, 100: 0.049, 300: 0.05}), (300,), 0, draws=200)
    assert (found.best, found.enough) == (300, 300)


def test_where_nothing_helps_none_is_best() -> None:
    found = saturation(curve({0: 0.0, 100: -0.05, 300: -0.02}), (), 0, draws=500)
    assert (found.best, found.enough, found.gain) == (0, None, 0)
    assert found.points[0].best == pytest.approx(1)


def test_of_distances_the_smallest_is_best() -> None:
    arms = curve({0: 0.0, 100: -0.05, 300: -0.02})
    found = saturation(arms, (100, 300), 0, draws=500, higher_is_better=False)
    assert (found.best, found.enough) == (100, 100)
    assert found.cross_fitted == pytest.approx(-0.05, abs=0.002)


def test_picking_the_best_of_several_is_optimistic_and_the_cross_fitted_gain_is_not() -> None:
    """No count helps: the best of four looks as if it did; picked in other folds, it does not."""
    rng = np.random.default_rng(0)
    folds, picked, fitted = np.arange(20) % 5, [], []
    for _ in range(400):
        luck = rng.normal(0, 0.03, (5, 5))[:, folds] + rng.normal(0, 0.03, (5, 20))
        arms = {count: ArmScores(str(count), luck[place][None], folds) for place, count in enumerate((0, 1, 2, 3, 4))}
        means = [(arms[count].by_patient - arms[0].by_patient).mean() for count in arms]
        picked.append(max(means))
        fitted.append(cross_fitted_gain(arms, 1))
    error = np.std(fitted) / 20
    assert np.mean(picked) > 0.01
    assert abs(np.mean(fitted)) < 3 * error


def test_the_cross_fitted_gain_by_hand() -> None:
    """Fold 0 gains 4 with the count that is best in fold 1, and fold 1 loses 1 with that of fold 0."""
    folds = np.array([0, 1, 1])
    values = {0: [0.0, 0, 0], 5: [6.0, -1, -1], 9: [4.0, 2, 3]}
    arms = {count: ArmScores(str(count), np.array([row]), folds) for count, row in values.items()}
    assert cross_fitted_gain(arms, 1) == pytest.approx((4 - 1 - 1) / 3)
    one = {count: ArmScores(str(count), np.array([row]), np.zeros(3, int)) for count, row in values.items()}
    assert np.isnan(cross_fitted_gain(one, 1))


def test_ties_share() -> None:
    np.testing.assert_allclose(best_shares(np.array([[0.0, 1, 2], [1, 1, 2], [0, 0, 2]])), [5 / 18, 11 / 18, 1 / 9])


def test_arms_that_are_the_same_share_all_draws() -> None:
    same = np.full((2, 4), 0.5)
    arms = {count: ArmScores(str(count), same, np.zeros(4, int)) for count in (0, 100)}
    assert [point.best for point in saturation(arms, (), 0, draws=50).points] == [0.5, 0.5]


def test_the_counts_need_a_0_and_may_be_it_alone() -> None:
    with pytest.raises(InputError, match="without synthetic"):
        saturation(curve({100: 0.0}), (), 0)
    assert saturation(curve({0: 0.0}), (), 0, draws=10).points[0].best == 1


def test_one_patient_has_no_best() -> None:
    found = saturation(curve({0: 0.0, 100: 0.1}, patients=1), (), 0, draws=10)
    assert all(np.isnan(point.best) for point in found.points)
