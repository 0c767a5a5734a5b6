"""The map of a finished experiment whose scores are made up: what was put in is what it says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.config import Modality
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment import worth as worth_file
from crossmod.experiment.design import read_design
from crossmod.experiment.findings import findings
from crossmod.experiment.folds import numbers_below_all
from crossmod.experiment.plan import make_plan
from crossmod.experiment.results import Result
from crossmod.experiment.worth import worth_map
from crossmod.report.experiment.schema import WorthMap
from crossmod.report.experiment.worth import worth_figure, worth_table, write_worth_figure
from tests.support.made_up_runs import translators
from tests.support.small_design import small_design
from tests.support.stores import Stores, made_volume

DRAWS = 200
MR = {"1": 0.5, "2": 0.6, "all": 0.75}
WITH = {"none": 0.55, "1": 0.6, "2": 0.65, "all": 0.75}


def labelled_of(arm: str) -> str:
    match = re.search(r"of (\d+) patients?", arm)
    return match[1] if match else "all" if "real" in arm else "none"


def dice(arm: str) -> float:
    return (WITH if "essnet" in arm or "plain" in arm else MR)[labelled_of(arm)]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Four CT and eight MR patients."""
    root, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    sides: dict[Modality, int] = {"ct": 4, "mr": 8}
    for modality, patients in sides.items():
        with writing_store(root / modality) as writer:
            for number in range(patients):
                writer.add(f"{modality}-{number}", made_volume(rng, modality), patient=f"{modality}-{number}")
    return Stores(root / "ct", root / "mr")


def mapped(
    people: Stores,
    *,
    lost: Callable[[str], bool] = lambda arm: False,
    dice: Callable[[str], float] = dice,
    **changes: Any,
) -> WorthMap | None:
    """The map of an experiment of which the runs of the `lost` arms failed; nothing is trained or written."""
    design = small_design(**{"labelled": ["none", 1, 2, "all"], "folds": 4, **changes})
    plan = make_plan(design, {"ct": (people.ct,), "mr": (people.mr,)})
    random = np.random.default_rng(0)
    results = []
    for arm in plan.arms.values():
        for (fold, seed), name in arm.runs.items() if not lost(arm.name) else ():
            table = {patient: dice(arm.name) + random.normal(0, 0.001) for patient in sorted(plan.tested[fold][0])}
            mean = float(np.mean(list(table.values())))
            rows = [{"case": case, "slice": 2, "dice": value} for case, value in table.items()]
            scores = {"patient_values": {"dice": table}, "slice_values": rows, "constant": False, "auc": 0.9,
                      "pooled": {"dice": mean, "iou": mean / (2 - mean)}, "trivial_dice": 0.2}  # fmt: skip
            card: Any = {"scores": scores, "data": {"train_slices": 10}, "seconds": 1.0}
            results.append(Result(arm, fold, seed, people.mr / name, card, plan.patients))
    return worth_map(plan, results, findings(plan, results, DRAWS), DRAWS)


@pytest.fixture(scope="module")
def found(people: Stores) -> WorthMap:
    made = mapped(people)
    assert made is not None
    return made


def test_numbers_and_curves(found: WorthMap) -> None:
    """8 patients in 4 folds: 6 labelled ones train."""
    assert [(row["labelled"], row["patients"]) for row in found["numbers"]] == [
        ("none", 0.0), ("1", 1.0), ("2", 2.0), ("all", 6.0),
    ]  # fmt: skip
    assert [(curve["name"], len(curve["points"])) for curve in found["curves"]] == [("MR only", 3), ("essnet", 4)]
    assert found["notes"] == []


def test_worth_is_what_was_put_in(found: WorthMap) -> None:
    _, curve = found["curves"]
    amounts = {point["labelled"]: point["worth"] for point in curve["points"]}
    # 0.55 is halfway from 1 to 2 in log2, 0.6 is MR only of 2, 0.65 a third of the way from 2 to 6.
    expected = {"none": 2**0.5, "1": 1.0, "2": 2 * 3 ** (1 / 3) - 2, "all": 0.0}
    for labelled, more in expected.items():
        amount = amounts[labelled]
        assert amount is not None
        assert amount["more"]["value"] == pytest.approx(more, abs=0.1)
        assert amount["low"]["value"] <= amount["more"]["value"] <= amount["high"]["value"]
    gains = {point["labelled"]: point["gain"] for point in curve["points"]}
    assert gains["none"] is None
    for labelled, gain in (("1", 0.1), ("2", 0.05), ("all", 0.0)):
        assert gains[labelled]["mean"] == pytest.approx(gain, abs=0.003)  # pyright: ignore[reportOptionalSubscript]
    assert curve["no_gain_from"] == 6.0


def test_the_answer_in_sentences(found: WorthMap) -> None:
    unlabelled, labelled = found["answer"]
    slices, ends = "4 slices of essnet", r"\[.*\]"
    start = rf"Without labelled MR patients, {slices} reach 3D Dice 0\.5\d+, "
    assert re.fullmatch(rf"{start}worth 1\.4 labelled patients {ends}\.", unlabelled)
    gain = rf"With 1 labelled patient, {slices}: 3D Dice \+0\.\d+ {ends}, worth 1\.0 more labelled patients? {ends}; "
    assert re.fullmatch(rf"{gain}from 6 on no gain is shown\.", labelled)


def test_table_and_figure(found: WorthMap, tmp_path: Path) -> None:
    table = worth_table(found, "MR")
    assert len(table.rows) == 7
    assert [row[1] for row in table.rows] == ["1", "2", "all (6)", "0", "1", "2", "all (6)"]
    drawn = worth_figure(found, "unet", "MR")
    assert drawn is not None
    figure, left_out = drawn
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1", "2", "all (6)"]
    assert left_out == 0
    write_worth_figure(found, "MR", tmp_path / "worth.png")
    assert (tmp_path / "worth.png").read_bytes()[:4] == b"\x89PNG"
    write_worth_figure(None, "MR", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_failed_arm_is_left_out_and_the_others_are_shown(people: Stores) -> None:
    found = mapped(people, lost=lambda arm: arm in ("real of 2 patients", "real of 1 patient + 4 essnet"))
    assert found is not None
    base, curve = found["curves"]
    assert [point["labelled"] for point in base["points"]] == ["1", "all"]
    assert [point["labelled"] for point in curve["points"]] == ["none", "2", "all"]
    # Its baseline failed, so that it has no gain; its worth is read from the other numbers.
    point = curve["points"][1]
    assert point["gain"] is None
    assert point["worth"] is not None
    (note,) = found["notes"]
    assert "real of 2 patients, real of 1 patient + 4 essnet" in note
    assert worth_figure(found, "unet", "MR") is not None


def test_without_any_baseline(people: Stores) -> None:
    found = mapped(people, lost=lambda arm: "essnet" not in arm, labelled=["none", 1, 2])
    assert found is not None
    (curve,) = found["curves"]
    assert {point["worth"] is None for point in curve["points"]} == {True}
    assert any("MR only has no results" in note for note in found["notes"])
    assert len(worth_table(found, "MR").rows) == 3


def test_a_curve_that_falls_is_named(people: Stores) -> None:
    falling = {**MR, "2": 0.45}
    found = mapped(people, dice=lambda arm: (WITH if "essnet" in arm else falling)[labelled_of(arm)], seeds=[3])
    assert found is not None
    (note,) = found["notes"]
    assert note.startswith("MR only falls from 1 to 2 labelled patients.")
    # One seed shows nothing, however large the gain is.
    assert found["answer"][1].endswith("no gain is shown with any number of labelled patients.")


def test_no_map(people: Stores) -> None:
    assert mapped(people, labelled=["all"]) is None
    found = mapped(people, labelled=[0])
    assert found is not None
    assert found["curves"] == []
    (note,) = found["notes"]
    assert note.endswith("it needs results of two numbers of labelled patients, found only none.")


def test_without_labels_arms_are_compared_with_the_source(people: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plain` stands for the control, whose family this test names."""
    monkeypatch.setattr(worth_file, "SOURCE", "cyclegan")
    monkeypatch.setattr(worth_file, "is_control", lambda family: family == "cyclegan")
    names = translators("essnet", "plain")
    names["plain"]["settings"]["family"] = "cyclegan"
    found = mapped(
        people,
        dice=lambda arm: 0.4 if arm == "4 plain" else dice(arm),
        translators=names,
    )
    assert found is not None
    assert [(curve["name"], curve["control"]) for curve in found["curves"]] == [
        ("MR only", False), ("essnet", False), ("plain", True),
    ]  # fmt: skip
    point = found["curves"][1]["points"][0]
    assert point["against"] == "4 plain"
    assert point["gain"] is not None
    assert point["gain"]["mean"] == pytest.approx(0.15, abs=0.003)
    assert found["curves"][2]["points"][0]["gain"] is None
    # Sentences of controls are no answers.
    assert len(found["answer"]) == 2
    assert "against 4 plain (improves)." in found["answer"][0]


@pytest.mark.parametrize(
    ("labelled", "available", "kept"),
    [
        ((1, 2, 8, "all"), {0: 5, 1: 4}, (1, 2, "all")),
        (("none", 4, "all"), {0: 5, 1: 4}, ("none", 4, "all")),
        ((5, "all"), {0: 5, 1: 5}, ("all",)),
        ((1, 8), {0: 5, 1: 4}, (1, 8)),
    ],
)
def test_numbers_that_all_patients_stand_for(
    labelled: tuple[int | str, ...], available: dict[int, int], kept: tuple[int | str, ...]
) -> None:
    found, sentences = numbers_below_all(labelled, available)
    assert found == kept
    assert len(sentences) == len(labelled) - len(kept)


def test_a_number_that_is_too_large_is_left_out_beside_all_and_refused_without(stores: Stores) -> None:
    def plan_of(**changes: Any) -> Any:
        return make_plan(small_design(**changes), {"ct": (stores.ct,), "mr": (stores.mr,)})

    plan = plan_of(labelled=[1, 8, "all"])
    assert not any("of 8 patients" in arm for arm in plan.arms)
    (sentence,) = plan.left_out
    assert "8 labelled patients are left out: fold" in sentence
    assert plan.arms["real of 1 patient"].patients == {0: 1, 1: 1}
    assert sorted(plan.arms["real"].patients.values()) == [2, 3]
    assert plan_of(labelled=[1, "all"]).jobs == plan.jobs
    with pytest.raises(InputError, match="labelled patients on the training side"):
        plan_of(labelled=[1, 8])


@pytest.mark.parametrize("name", ["worth", "worth_small"])
def test_presets(name: str) -> None:
    design = read_design(name)
    assert design.labelled == ("none", 1, 2, 4, 8, "all")
    assert design.phantom is not None
    # Enough patients for a training side that is larger than the largest number.
    assert design.phantom.mr_patients * (design.folds - 1) / design.folds > 8
    assert np.isin("essnet", list(design.translators))
