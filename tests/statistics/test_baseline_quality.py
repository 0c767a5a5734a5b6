import math
from collections.abc import Callable

import pytest

from crossmod.statistics.baseline_quality import STILL_FALLING, Training, still_falling, untrained


def curve(loss: Callable[[int], float], steps: int = 1000, every: int = 25) -> tuple[tuple[int, float], ...]:
    return tuple((step, loss(step)) for step in range(every, steps + 1, every))


def test_a_straight_line_still_falls() -> None:
    """From 1 to 0: 0.375 on average in the third quarter, 0.125 in the last, of a fall from 1."""
    fall = still_falling(curve(lambda step: 1 - step / 10_000, steps=10_000))
    assert fall == pytest.approx(0.25 / 0.875, abs=0.002)


@pytest.mark.parametrize("lengths", [1.0, 2.0, 3.0, 5.0])
def test_an_exponential(lengths: float) -> None:
    """exp(-x) to x = `lengths`: means over quarters by its integral."""

    def mean(low: float, high: float) -> float:
        return (math.exp(-low) - math.exp(-high)) / (high - low)

    third, last = (mean(lengths * (n - 1) / 4, lengths * n / 4) for n in (3, 4))
    found = still_falling(curve(lambda step: math.exp(-lengths * step / 10_000), steps=10_000))
    assert found == pytest.approx((third - last) / (1 - last), abs=0.005)
    assert found is not None
    # The boundary lies at three times the time constant.
    assert (found > STILL_FALLING) == (lengths < 3)


def test_what_rises_or_stays_does_not_fall() -> None:
    assert still_falling(curve(lambda step: 0.3)) == 0
    assert still_falling(curve(lambda step: step / 1000)) == 0
    assert still_falling(curve(lambda step: 1.0 if step < 500 else 0.1)) == 0


def test_too_few_readings_say_nothing() -> None:
    """A training of five steps has one reading, at its end."""
    assert still_falling([(5, 0.7)]) is None
    assert still_falling([(25, 0.7), (50, 0.5), (60, 0.4)]) is None
    assert still_falling([]) is None
    assert still_falling([(25, 0.7), (50, 0.5), (75, 0.45), (100, 0.44)]) == pytest.approx(0.01 / 0.26)


def test_the_words_of_each_reason() -> None:
    done = curve(lambda step: math.exp(-step / 50))
    assert untrained([Training(0.85, 0.5, done)]) == ""
    assert untrained([Training(0.85, 0.5)]) == ""  # trained by another program
    assert untrained([]) == ""
    few = untrained([Training(0.18, 0.4, ((5, 0.7),))])
    assert few == (
        "the baseline is not trained enough (its Dice is 0.180, and the best mask that is the same in every slice "
        "reaches 0.400)"
    )
    assert "20 steps are too few" in untrained([Training(0.85, 0.4, ((20, 0.7),))])
    falling = untrained([Training(0.85, 0.4, curve(lambda step: 1 - step / 2000))])
    assert "its loss still falls: 29% of the whole fall" in falling


def test_runs_count_together_and_earlier_versions_have_a_fixed_floor() -> None:
    """One run of three that found nothing does not make a baseline one that was not trained."""
    done = curve(lambda step: math.exp(-step / 50))
    runs = [Training(dice, 0.4, done) for dice in (0.8, 0.85, 0.0)]
    assert untrained(runs) == ""
    assert "its Dice is 0.283" in untrained([*runs[1:], Training(0.0, 0.4, done)])
    assert untrained([Training(0.51)]) == ""
    assert "the least to compare with is 0.500" in untrained([Training(0.49)])
