import numpy as np
import pytest

from crossmod.errors import InputError
from crossmod.evaluate.arms import ArmScores
from crossmod.evaluate.effects import effect
from crossmod.evaluate.saturation import best_shares, saturation


def curve(gains: dict[int, float], noise: float = 0.002, patients: int = 20) -> dict[int, ArmScores]:
    rng = np.random.default_rng(0)
    base, folds = rng.normal(0.8, 0.05, patients), np.arange(patients) % 5
    return {
        count: ArmScores(f"+{count}", base + gain + rng.normal(0, noise, (3, patients)), folds)
        for count, gain in gains.items()
    }


def test_a_clear_maximum() -> None:
    arms = curve({0: 0.0, 100: 0.02, 300: 0.05, 900: 0.03})
    found = saturation(arms, 0, draws=1000)
    assert [point.count for point in found.points] == [0, 100, 300, 900]
    assert (found.best, found.enough) == (300, 300)
    assert found.points[2].best == pytest.approx(1)
    assert found.points[0].effect is None
    # The band is that of the effect of each arm.
    alone, inside = effect(arms[0], arms[100], 0, draws=1000), found.points[1].effect
    assert inside is not None
    assert (inside.mean, inside.low, inside.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_a_plateau_is_reached_at_its_begin() -> None:
    found = saturation(curve({0: 0.0, 100: 0.05, 300: 0.05, 900: 0.05}, noise=0.01), 0, draws=1000)
    assert found.enough == 100
    shares = [point.best for point in found.points]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == 0
    assert max(shares) < 0.999


def test_where_nothing_helps_none_is_best() -> None:
    found = saturation(curve({0: 0.0, 100: -0.05, 300: -0.02}), 0, draws=500)
    assert (found.best, found.enough) == (0, 0)
    assert found.points[0].best == pytest.approx(1)


def test_of_distances_the_smallest_is_best() -> None:
    found = saturation(curve({0: 0.0, 100: -0.05, 300: -0.02}), 0, draws=500, higher_is_better=False)
    assert (found.best, found.enough) == (100, 100)


def test_ties_share() -> None:
    np.testing.assert_allclose(best_shares(np.array([[0.0, 1, 2], [1, 1, 2], [0, 0, 2]])), [5 / 18, 11 / 18, 1 / 9])


def test_arms_that_are_the_same_share_all_draws() -> None:
    same = np.full((2, 4), 0.5)
    arms = {count: ArmScores(str(count), same, np.zeros(4, int)) for count in (0, 100)}
    assert [point.best for point in saturation(arms, 0, draws=50).points] == [0.5, 0.5]


def test_the_counts_need_a_0_and_may_be_it_alone() -> None:
    with pytest.raises(InputError, match="without synthetic"):
        saturation(curve({100: 0.0}), 0)
    assert saturation(curve({0: 0.0}), 0, draws=10).points[0].best == 1


def test_one_patient_has_no_best() -> None:
    found = saturation(curve({0: 0.0, 100: 0.1}, patients=1), 0, draws=10)
    assert all(np.isnan(point.best) for point in found.points)
