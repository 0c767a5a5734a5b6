import re
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from crossmod.experiment import estimate as detectable
from crossmod.experiment.estimate import FIXED_SECONDS, Size, detectable_in_words, estimate, size_of, smallest
from crossmod.experiment.jobs import Job
from crossmod.experiment.plan import make_plan
from crossmod.settings import Machine
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effect
from tests.support.small_design import TRANSLATOR, small_design
from tests.support.stores import Stores
from tests.support.training import TINY


def drawn(size: Size, fold_sd: float, gain: float, rng: np.random.Generator) -> tuple[ArmScores, ArmScores]:
    """One experiment with the assumed variances; with several folds these share nothing."""
    folds = np.arange(size.patients) % size.folds
    shape = (size.seeds, size.patients)

    def runs() -> np.ndarray:
        luck = rng.normal(0, detectable.RUN_SD, (size.seeds, size.folds))[:, folds]
        return luck + rng.normal(0, detectable.REST_SD, shape)

    change = gain + rng.normal(0, detectable.OWN_SD, size.patients)
    if size.folds > 1:
        common = rng.normal(0, fold_sd, size.folds)
        change = change + common[folds]
    base = rng.normal(0.8, 0.05, size.patients)
    return ArmScores("base", base + runs(), folds), ArmScores("arm", base + change + runs(), folds)


@pytest.mark.parametrize("size", [Size(20, 5, 3, 1, False), Size(20, 5, 3, 4, False), Size(15, 1, 3, 2, False)])
def test_the_smallest_effect_is_shown_as_often_as_said_by_the_test_that_is_used(size: Size) -> None:
    """80 % where folds share what the inflation allows for, and a few more where they share nothing, as here.

    With one fold the degrees of freedom are themselves estimated (Satterthwaite), which costs some of it.
    """
    rng = np.random.default_rng(0)
    gain = smallest(size, 0.05)
    shown = [effect(*drawn(size, 0.05, gain, rng)).p < 0.05 / size.arms for _ in range(1500)]
    low, high = (0.77, 0.88) if size.folds > 1 else (0.66, 0.83)
    assert low <= np.mean(shown) <= high


def test_one_fold_is_the_paired_t_test_where_runs_have_no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectable, "RUN_SD", 0.0)
    monkeypatch.setattr(detectable, "REST_SD", 0.0)
    size = Size(12, 1, 3, 2, False)
    oracle = TTestPower().solve_power(nobs=12, alpha=0.025, power=0.8)
    assert smallest(size, 0.05) == pytest.approx(float(np.asarray(oracle).item()) * detectable.OWN_SD, rel=1e-4)


def test_more_folds_seeds_and_fewer_arms_detect_less() -> None:
    size = Size(20, 5, 3, 4, False)
    for other in (
        Size(20, 10, 3, 4, False),
        Size(20, 5, 3, 1, False),
        Size(60, 5, 3, 4, False),
        Size(20, 5, 3, 4, True),
        Size(20, 5, 9, 4, False),
    ):
        assert smallest(other, 0.05) < smallest(size, 0.05)
    assert smallest(size, 0.02) < smallest(size, 0.05)


def test_in_words() -> None:
    lines = detectable_in_words(Size(20, 5, 3, 4, False))
    assert re.match(
        r"Effects that 20 patients, 5 folds, 3 seeds, 4 arms after Holm's correction show with 80 % power: 3D Dice by "
        r"0\.0\d\d to 0\.2\d\d or more\. Smaller ones are likely to be missed\.",
        lines[0],
    )
    assert lines[1].startswith("With 10 folds of the same patients: 3D Dice by 0.0")
    assert "SD of 0.01 to 0.06" in lines[2]
    assert detectable_in_words(Size(20, 5, 3, 0, False)) == []
    assert "one seed per arm" in detectable_in_words(Size(20, 5, 1, 1, False))[0]
    assert "one trained translator" in detectable_in_words(Size(20, 1, 3, 1, False))[1]
    assert "none, since" in detectable_in_words(Size(4, 2, 3, 4, False))[0]
    assert not any("of the same patients" in line for line in detectable_in_words(Size(9, 5, 3, 1, False)))


def test_the_size_of_a_plan(stores: Stores) -> None:
    plan = make_plan(
        small_design(counts=[0, 2, 4], translators={"a": TRANSLATOR, "b": TRANSLATOR}),
        {"ct": (stores.ct,), "mr": (stores.mr,)},
    )
    assert size_of(plan) == Size(patients=5, folds=2, seeds=2, arms=4, retrain=False)
    sliced = make_plan(small_design(split="slice", test_slices=6), {"ct": (stores.ct,), "mr": (stores.mr,)})
    assert size_of(sliced).folds == 1


def test_what_is_trained_before_a_translator_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes half a second: of family `guided` also the 40 of its segmentor, and of no other."""
    monkeypatch.setattr(detectable, "_timed", lambda *_: (0.5, 0))
    jobs = [
        Job(family, "train", family, {**TINY, "family": family, "segmentor_steps": 40}, {}, {}, work=10)
        for family in ("guided", "essnet")
    ]
    seconds = [estimate([job], tmp_path, Machine(device="cpu")).seconds["train"] - FIXED_SECONDS for job in jobs]
    assert seconds == [5 + 20, 5]
