from math import log

import numpy as np
import pytest
import torch

from crossmod.data.intensity import Intensity
from crossmod.engine.alarms import LEVELS, Alarm, DiscriminatorLevels, discriminator_alarms, new_alarms, picture_alarms
from crossmod.phantom.anatomy import Anatomy, Grid, lay_on_grid
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import SEQUENCES, Sequence, render_ct, render_mr
from crossmod.synthesis.losses import discriminator_adversarial

LEAST = DiscriminatorLevels(chance=0.25, zero=0.005)


@pytest.fixture(scope="module")
def person() -> Anatomy:
    return lay_on_grid(draw_person(0), Grid(size=64, slices=6))


@pytest.fixture(scope="module")
def ct(person: Anatomy) -> np.ndarray:
    return Intensity(-160.0, 240.0).to_model(render_ct(person, 1).voxels)


def mr_of(person: Anatomy, sequence: Sequence) -> np.ndarray:
    voxels = render_mr(person, sequence, 2).voxels
    low, high = np.percentile(voxels, (0.5, 99.5))
    return Intensity(float(low), float(high)).to_model(voxels)


def names(alarms: list[Alarm]) -> list[str]:
    return [alarm.name for alarm in alarms]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_the_truth_raises_no_alarm_in_either_direction(person: Anatomy, ct: np.ndarray, sequence: Sequence) -> None:
    """A translator that is right: T1 is far from a copy and far below 0 in correlation, and still no inversion."""
    mr = mr_of(person, sequence)
    assert picture_alarms(ct, mr) == []
    assert picture_alarms(mr, ct) == []
    assert picture_alarms(ct, mr, mr[::-1]) == []


def test_a_copy_is_found_also_with_a_little_noise(ct: np.ndarray, rng: np.random.Generator) -> None:
    assert names(picture_alarms(ct, ct)) == ["output equals input"]
    (alarm,) = picture_alarms(ct, ct + rng.normal(0, 0.03, ct.shape))
    # Mean |x| of a normal distribution is its deviation times sqrt(2 / pi): 0.0239.
    assert "differs from the source by 0.024 on average" in alarm.seen


def test_a_copy_in_another_brightness_or_with_more_in_it_is_none(ct: np.ndarray, rng: np.random.Generator) -> None:
    assert picture_alarms(ct, ct * 0.8 - 0.2) == []
    assert picture_alarms(ct, ct + rng.normal(0, 0.3, ct.shape)) == []
    # Two that are gray all over are near one another without the one being made of the other.
    first, second = rng.normal(0.1, 0.05, (2, *ct.shape))
    assert picture_alarms(first, second) == []


@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
def test_a_negative_is_found_also_with_another_gamma(ct: np.ndarray, bend: float) -> None:
    negative = 1 - 2 * ((ct + 1) / 2) ** bend
    assert names(picture_alarms(ct, negative)) == ["inverted output"]
    # The air around the body is not part of it: a negative that leaves air black is one too.
    assert names(picture_alarms(ct, np.where(ct > -0.9, negative, -1))) == ["inverted output"]


def test_a_flat_output_is_found_also_where_the_outline_is_right(ct: np.ndarray) -> None:
    assert names(picture_alarms(ct, np.full_like(ct, 0.3))) == ["constant output", "same output for all"]
    levels = np.linspace(-0.5, 0.5, len(ct), dtype=ct.dtype)[:, None, None]
    assert names(picture_alarms(ct, np.where(ct > -0.9, levels, -1))) == ["constant output"]


def test_little_contrast_is_not_none(person: Anatomy, ct: np.ndarray) -> None:
    assert picture_alarms(ct, mr_of(person, "t2_spir") / 5) == []


def test_one_picture_for_all_is_found_though_it_is_a_good_one(
    person: Anatomy, ct: np.ndarray, rng: np.random.Generator
) -> None:
    mr = mr_of(person, "t2_spir")
    same = np.repeat(mr[3:4], len(mr), axis=0)
    assert names(picture_alarms(ct, same)) == ["same output for all"]
    assert picture_alarms(ct[:1], same[:1]) == []
    # Nobody can blame it where slices come in that are all alike but for their noise.
    alike = np.repeat(ct[3:4], len(ct), axis=0) + rng.normal(0, 0.05, ct.shape)
    assert picture_alarms(alike, same) == []


def test_what_the_targets_are_like_is_no_fault_of_the_output(person: Anatomy, ct: np.ndarray) -> None:
    same = np.repeat(mr_of(person, "t2_spir")[3:4], len(ct), axis=0)
    assert picture_alarms(ct, same, same) == []
    # One target says nothing about how much targets vary.
    assert names(picture_alarms(ct, same, same[:1])) == ["same output for all"]
    flat = np.where(ct > -0.9, np.float32(0.5), np.float32(-1))
    assert names(picture_alarms(ct, flat)) == ["constant output"]
    assert picture_alarms(ct, flat, flat[::-1]) == []


def test_without_a_body_there_is_no_finding() -> None:
    air = np.full((3, 16, 16), -1.0)
    assert picture_alarms(air, air) == []
    speck = air.copy()
    speck[:, :7, :7] = 0.5
    assert picture_alarms(speck, speck) == []
    speck[:, 7, 0] = 0.5
    assert names(picture_alarms(speck, np.zeros_like(air))) == ["constant output"]


def test_the_median_slice_decides(ct: np.ndarray) -> None:
    """Few slices that go wrong are no inversion, most are."""
    wrong = -ct
    wrong[:3] = ct[:3] * 0.5
    assert picture_alarms(ct, wrong) == []
    wrong = -ct
    wrong[:2] = ct[:2] * 0.5
    assert names(picture_alarms(ct, wrong)) == ["inverted output"]


@pytest.mark.parametrize("kind", ["least_squares", "cross_entropy"])
def test_chance_is_the_best_loss_of_a_discriminator_that_says_the_same_of_all(kind: str) -> None:
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    said = torch.linspace(-3, 3, 601, dtype=torch.float64)
    best = min(float(discriminator_adversarial(kind, ones * d, ones * d)) for d in said)
    assert LEVELS[kind].chance == pytest.approx(best, abs=1e-9)
    assert LEVELS[kind].chance == pytest.approx({"least_squares": 1 / 4, "cross_entropy": log(2)}[kind])


@pytest.mark.parametrize(("kind", "error", "zero"), [
    ("least_squares", 0.07, True), ("least_squares", 0.072, False),
    ("cross_entropy", 0.019, True), ("cross_entropy", 0.021, False),
])  # fmt: skip
def test_zero_is_a_discriminator_that_errs_by_little(kind: str, error: float, zero: bool) -> None:
    real, fake = (1 - error, error) if kind == "least_squares" else (log(1 / error - 1), -log(1 / error - 1))
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    loss = float(discriminator_adversarial(kind, ones * real, ones * fake))
    assert (loss < LEVELS[kind].zero) is zero


def test_a_discriminator_that_guesses() -> None:
    guessing = [0.21, 0.2495, 0.2505, 0.2500, 0.2498, 0.2502]
    (alarm,) = discriminator_alarms({"discriminator_mr": guessing, "cycle_ct": guessing}, LEAST)
    assert alarm.name == "discriminator mr at chance"
    assert "mean loss 0.2495 to 0.2505 in the last 5 epochs" in alarm.seen
    assert "--discriminator-learning-rate" in alarm.advice
    for healthy in (
        guessing[:5],  # the first of the last five told them apart
        guessing[1:5],  # too early to say
        [0.246, 0.254, 0.247, 0.253, 0.25],  # it moves
        [0.230, 0.228, 0.232, 0.229, 0.231],  # what good runs come to
        [0.230] * 5,  # still, but better than guessing
    ):
        assert discriminator_alarms({"discriminator_mr": healthy}, LEAST) == []
    assert names(discriminator_alarms({"discriminator_mr": guessing[-2:]}, LEAST, patience=2)) == [alarm.name]


def test_a_discriminator_that_is_never_fooled() -> None:
    history = {"discriminator_ct": [0.2, 0.004, 0.003, 0.002, 0.001, 0.001], "discriminator_mr": [0.2] * 6}
    (alarm,) = discriminator_alarms(history, LEAST)
    assert alarm.name == "discriminator ct at zero"
    assert "--pool-size" in alarm.advice
    assert discriminator_alarms({"discriminator_ct": [0.001, 0.001, 0.006, 0.001, 0.001]}, LEAST) == []
    # Cross-entropy has other levels: what is much for least squares is nothing for it.
    assert discriminator_alarms({"discriminator_ct": [0.015] * 5}, LEAST) == []
    assert len(discriminator_alarms({"discriminator_ct": [0.015] * 5}, LEVELS["cross_entropy"])) == 1


def test_an_alarm_is_told_once() -> None:
    first, again, other = Alarm("a", "1", "x."), Alarm("a", "2", "x."), Alarm("b", "3", "y.")
    assert new_alarms([first, other, again], ()) == [first, other]
    assert new_alarms([first, other], {"a"}) == [other]
    assert new_alarms([first], {"a", "b"}) == []


def test_an_alarm_is_one_line_and_a_record() -> None:
    alarm = Alarm("flat", "deviation 0.01", "Do this.")
    assert str(alarm) == "flat: deviation 0.01. Do this."
    expected = {"step": 7, "epoch": 1, "alarm": "flat", "seen": "deviation 0.01", "advice": "Do this."}
    assert alarm.record(7, 1) == expected


def test_every_alarm_is_one_line_without_a_full_stop_too_many(ct: np.ndarray) -> None:
    flat = np.zeros_like(ct)
    found = [*picture_alarms(ct, ct), *picture_alarms(ct, -ct), *picture_alarms(ct, flat)]
    found += discriminator_alarms({"discriminator_a": [0.25] * 5, "discriminator_b": [0.0] * 5}, LEAST)
    assert len({alarm.name for alarm in found}) == 6
    for alarm in found:
        assert "\n" not in str(alarm)
        assert alarm.advice.endswith(".")
        assert not alarm.seen.endswith(".")
