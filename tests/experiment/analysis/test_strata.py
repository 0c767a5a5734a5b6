import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.experiment.analysis.explain import area_edges, explain_gain
from crossmod.experiment.analysis.slices import slices_by_fold
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import Result
from tests.support.made_up_runs import FIRST, LAST, SLICES, Made, area_of, layer_of

GAINS, SAME = "real + 8 essnet", "real + 4 essnet"
# 0.1 more in one layer; patients differ by far more.
MADE = Made(
    dice=lambda arm, case, number: (
        0.8 - 0.05 * int(case[-1]) + 0.1 * (arm == GAINS and layer_of(number) == 3)
    ),
    outside=lambda arm: 9 if arm == GAINS else 5,
    changes={"counts": [0, 4, 8]},
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, list[Result]]:
    root = tmp_path_factory.mktemp("experiment")
    plan, results = MADE.experiment(root)
    return plan, root, results


@pytest.fixture(scope="module")
def found(made: tuple[Plan, Path, list[Result]]) -> Any:
    return explain_gain(*made)["strata"]


def shown(found: dict[str, Any], arm: str) -> list[str]:
    return [
        stratum["name"]
        for stratum, row in zip(found["strata"], found["arms"][arm], strict=True)
        if row["verdict"] != "not shown"
    ]


def test_slices_are_in_the_layers_and_have_the_areas_that_they_were_made_with(
    made: tuple[Plan, Path, list[Result]],
) -> None:
    plan, _, results = made
    tested, placed = slices_by_fold(plan, results)
    assert {one.rule for one in placed} == {"kidneys to dome"}
    assert sorted(tested) == [(fold, 32) for fold in range(4)]
    cases = [case for own in tested.values() for case in own]
    assert sorted(case.patient for case in cases) == [f"mr-{number:03d}" for number in range(8)]
    with_liver = range(FIRST, LAST + 1)
    for case in cases:
        assert case.layers[FIRST : LAST + 1].tolist() == [layer_of(number) for number in with_liver]
        np.testing.assert_allclose(case.areas[FIRST : LAST + 1], [area_of(number) for number in with_liver])
        assert case.empty == [number for number in range(SLICES) if number not in with_liver]
        assert case.pixel_ml == pytest.approx(1 * 1 * 2)  # cm


def test_a_gain_in_layer_3_is_found_in_layer_3_and_nowhere_else(found: dict[str, Any]) -> None:
    assert shown(found["layer"], GAINS) == ["3"]
    assert shown(found["layer"], SAME) == []
    row = found["layer"]["arms"][GAINS][2]
    assert row["verdict"] == "improves"
    assert row["low"] < 0.1 < row["high"]
    assert row["mean"] == pytest.approx(row["arm"] - row["base"])
    # Patients 0 to 7 are at 0.8, 0.75 and so on.
    assert row["base"] == pytest.approx(0.8 - 0.05 * 3.5, abs=0.01)
    assert found["layer"]["strata"][2] == {"name": "3", "slices": 8, "patients": 8}


def test_the_ten_layers_of_an_arm_are_corrected_for_together(found: dict[str, Any]) -> None:
    rows = sorted(found["layer"]["arms"][GAINS], key=lambda row: row["p"])
    assert rows[0]["holm"] == pytest.approx(10 * rows[0]["p"])
    assert rows[1]["holm"] == pytest.approx(min(9 * rows[1]["p"], 1))


def test_areas_are_divided_into_thirds(made: tuple[Plan, Path, list[Result]], found: dict[str, Any]) -> None:
    tested, _ = slices_by_fold(made[0], made[2])
    # Ten areas, 18 to 72 cm^2, of eight people: of 80 values the 26th and 27th are 36, the 52nd and 53rd 54.
    assert area_edges(tested) == pytest.approx([36, 54])
    assert found["area"]["strata"] == [
        {"name": "under 36 cm²", "slices": 24, "patients": 8},
        {"name": "36 to 54 cm²", "slices": 24, "patients": 8},
        {"name": "54 cm² or more", "slices": 32, "patients": 8},
    ]
    # Layer 3 is the one of 30 cm^2, one of three in its third.
    assert shown(found["area"], GAINS) == ["under 36 cm²"]
    assert found["area"]["arms"][GAINS][0]["mean"] == pytest.approx(0.1 / 3, abs=0.01)


def test_what_is_found_where_nothing_is_is_told_in_ml(found: dict[str, Any]) -> None:
    empty = found["empty"]
    assert empty["strata"] == [{"name": "without organ", "slices": 32, "patients": 8}]
    (same,), (more,) = empty["arms"][SAME], empty["arms"][GAINS]
    # Four slices without liver, 5 or 9 pixels in each, of 2 ml.
    assert (same["base"], same["arm"], same["verdict"]) == (40, 40, "not shown")
    assert (more["base"], more["arm"], more["verdict"]) == (40, 72, "hurts")


def test_every_patient_has_a_gain_a_fold_and_slices(
    made: tuple[Plan, Path, list[Result]], found: dict[str, Any]
) -> None:
    plan, _, results = made
    rows = found["patient"][GAINS]
    assert sorted(row["patient"] for row in rows) == sorted(plan.patients)
    for row in rows:
        assert row["patient"] in plan.tested[row["fold"]][0]
        assert row["slices"] == 10
        means = {
            arm: np.mean([one.of_patients("dice")[row["patient"]] for one in results
                          if one.arm.name == arm and one.fold == row["fold"]])
            for arm in ("real", GAINS)
        }  # fmt: skip
        assert row["difference"] == pytest.approx(means[GAINS] - means["real"])


def test_of_runs_that_cannot_be_read_the_rest_is_told(made: tuple[Plan, Path, list[Result]], tmp_path: Path) -> None:
    plan, root, results = made
    shutil.copytree(root, tmp_path / "copy")
    moved = [Result(**{**vars(one), "run": tmp_path / "copy" / "runs" / one.run.name}) for one in results]
    shutil.rmtree(moved[0].run / "predictions")
    told: Any = explain_gain(plan, tmp_path / "copy", moved)
    assert told["strata"] is None
    assert len(told["notes"]) == 1
    assert "predictions" in told["notes"][0]
    assert told["quality"]["arms"]
    assert told["curves"]["segmenters"]["real"]["cross_entropy"]["runs"] == 8
    json.dumps(told, allow_nan=False)


def test_without_any_result_nothing_is_told(made: tuple[Plan, Path, list[Result]]) -> None:
    assert explain_gain(made[0], made[1], []) == {"strata": None, "quality": None, "curves": None, "notes": []}
