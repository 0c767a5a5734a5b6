"""Controls in experiments: their settings, their jobs, and their comparison with networks."""

from pathlib import Path

import numpy as np
import pytest

from crossmod import registry
from crossmod.experiment.controls import compare_with_controls, in_words
from crossmod.experiment.design import Design, presets, read_design
from crossmod.experiment.estimate import estimate
from crossmod.experiment.plan import Plan, make_plan
from crossmod.report.experiment.data import families_of
from crossmod.report.experiment.schema import AgainstControls
from crossmod.settings import CONTROLS as NAMES
from crossmod.settings import Machine
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effect
from crossmod.statistics.verdicts import Facts, holm
from crossmod.synthesis.families import is_control
from tests.support.small_design import TRANSLATOR, small_design
from tests.support.stores import Stores

CONTROLS = {"source": {"preset": "source"}, "random": {"preset": "random_contrast"}}


def with_controls(**changes: object) -> Design:
    return small_design(translators={"essnet": TRANSLATOR, **CONTROLS}, **changes)


def planned(stores: Stores, design: Design) -> Plan:
    return make_plan(design, {"ct": (stores.ct,), "mr": (stores.mr,)})


def test_controls_see_the_data_as_the_first_network_does() -> None:
    network = {"preset": "in_n_out", "settings": {"size": 32, "window": [-100, 100], "ct_slices": 7, "contrast": "any"}}
    stated = {"preset": "source", "settings": {"size": 64}}
    design = small_design(
        translators={"network": network, "source": {"preset": "source"}, "stated": stated},
        segmenters={"unet": {"preset": "tiny", "settings": {"modality": "ct"}}},
    )
    own = design.translator_settings
    like, one = own["network"], own["source"]
    for name in ("size", "window", "ct_slices", "mr_slices", "source", "slices", "percentiles", "contrast", "organs"):
        assert getattr(one, name) == getattr(like, name)
    assert one.inputs == ("t1_in",)
    assert own["stated"].size == 64
    assert own["stated"].window == like.window
    # Without a network, as the segmenter does.
    alone = small_design(translators=CONTROLS)
    assert {settings.size for settings in alone.translator_settings.values()} == {32}


def test_a_plan_with_controls_has_the_same_pixels_and_people(stores: Stores) -> None:
    plan = planned(stores, with_controls())
    assert len(set(plan.pixels.values())) == 1
    trains = [job for job in plan.jobs.values() if job.kind == "train"]
    by_fold: dict[int, set[tuple[str, ...]]] = {}
    for job in trains:
        by_fold.setdefault(job.settings["fold"], set()).add(tuple(job.settings["source_patients"]))
        assert (job.work == 0) == (job.settings["family"] != "essnet")
    assert all(len(people) == 1 for people in by_fold.values())
    # Arms of the network are what they are without controls.
    alone = planned(stores, small_design())
    assert set(alone.jobs) <= set(plan.jobs)


def test_controls_cost_next_to_nothing(stores: Stores, tmp_path: Path) -> None:
    jobs = [job for job in planned(stores, with_controls()).jobs.values() if job.kind == "train"]
    controls = [job for job in jobs if job.settings["family"] != "essnet"]
    cost = estimate(controls, tmp_path, Machine(device="cpu"))
    assert cost.seconds["train"] == pytest.approx(3.0 * len(controls))
    assert cost.bytes == 0


def scores(name: str, gain: float, noise: float = 0.002, seed: int = 0) -> ArmScores:
    rng = np.random.default_rng([seed, *name.encode()])
    values = 0.7 + gain + rng.normal(0, noise, (2, 10)) + np.linspace(0, 0.1, 10)
    return ArmScores(name, values, np.repeat(np.arange(5), 2))


def compared(stores: Stores, gains: dict[str, float]) -> dict[str, AgainstControls]:
    plan = planned(stores, with_controls())
    found = {name: scores(name, gain) for name, gain in gains.items()}
    return compare_with_controls(plan, found, dict.fromkeys(plan.arms, Facts()))


NETWORK, SOURCE, RANDOM = (f"real + 4 {name}" for name in ("essnet", "source", "random"))


def test_a_network_is_compared_with_each_control(stores: Stores) -> None:
    gains = {"real": 0.0, NETWORK: 0.1, SOURCE: 0.02, RANDOM: 0.05}
    found = compared(stores, gains)
    assert set(found) == {NETWORK}
    rows = {row["control"]: row for row in found[NETWORK]["rows"]}
    # By hand: the paired effect of two arms, and Holm over the two.
    own = [effect(scores(name, gains[name]), scores(NETWORK, 0.1)) for name in (SOURCE, RANDOM)]
    corrected = holm(np.array([each.p for each in own]))
    for row, each, p in zip((rows["source"], rows["random"]), own, corrected, strict=True):
        assert (row["mean"], row["low"], row["holm"]) == pytest.approx((each.mean, each.low, p))
        assert row["verdict"] == "improves"
    assert found[NETWORK]["tests"] == 2
    assert found[NETWORK]["sentence"].startswith(
        "real + 4 essnet is better than each of 2 controls, and than the best, `random`, by +0.0"
    )


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({SOURCE: 0.1, RANDOM: 0.1}, "is not shown to be better than the controls `source` and `random` (difference"),
        ({SOURCE: 0.0, RANDOM: 0.1}, "; it is better than the control `source`."),
        ({SOURCE: 0.0, RANDOM: 0.2}, "is worse than the control `random` (difference -0.1"),
        ({SOURCE: 0.0}, "is better than the control `source` (difference +0.1"),
    ],
)
def test_a_control_that_is_as_good_is_named(stores: Stores, gains: dict[str, float], words: str) -> None:
    found = compared(stores, {"real": 0.0, NETWORK: 0.1, **gains})
    assert words in found[NETWORK]["sentence"]


def test_without_controls_and_without_results_there_is_no_comparison(stores: Stores) -> None:
    assert compared(stores, {"real": 0.0, NETWORK: 0.1}) == {}
    plan = planned(stores, small_design())
    facts = dict.fromkeys(plan.arms, Facts())
    assert compare_with_controls(plan, {name: scores(name, 0.1) for name in plan.arms}, facts) == {}


def test_an_untrained_baseline_is_compared_with_nothing(stores: Stores) -> None:
    plan = planned(stores, with_controls())
    facts = dict.fromkeys(plan.arms, Facts(untrained="the baseline finds nothing"))
    found = compare_with_controls(plan, {name: scores(name, 0.1) for name in plan.arms}, facts)
    rows = found[NETWORK]["rows"]
    assert {row["verdict"] for row in rows} == {"not comparable"}
    words = f"{NETWORK}: not comparable with the controls `source` and `random`: the baseline finds nothing."
    assert in_words(NETWORK, rows, ["one trained translator"]) == words
    rows[0]["verdict"] = "improves"
    assert in_words(NETWORK, rows, ["a seed"]).endswith(" Folds share a seed: another training may do otherwise.")


def test_the_names_of_controls_are_those_of_the_registry() -> None:
    assert {name for name in registry.built_in("family") if is_control(name)} == set(NAMES)


def test_presets_have_controls_except_the_papers() -> None:
    for name in presets():
        design = read_design(name)
        families = families_of(design.model_dump(mode="json"))
        assert families == {key: settings.family for key, settings in design.translator_settings.items()}
        assert ("source" in families.values()) == (not name.startswith("rafiq2025"))
        random = ("few_labels", "no_labels", "worth", "worth_small", "uda_abdomen", "dg_abdomen")
        assert ("random_contrast" in families.values()) == (name in random)
        for settings in design.translator_settings.values():
            assert settings.size == next(iter(design.translator_settings.values())).size
