import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from crossmod.experiment.plan import Plan
from crossmod.experiment.results import results_of, write_tables
from tests.support.made_up_runs import Made

DISTANCES = {"hd95": 9.0, "assd": 2.0}


def finished(root: Path, *, new: frozenset[int]) -> Plan:
    """Runs of this version in the `new` folds, and of one without MSSD, RAVD and pooled scores in the others."""
    plan, results = Made(patients=(6, 8)).experiment(root)
    for result in results:
        card = json.loads((result.run / "card.json").read_text())
        scores: dict[str, Any] = card["scores"]
        table = scores["patient_values"]
        values = {**DISTANCES, **({"mssd": 20.0, "ravd": 5.0} if result.fold in new else {})}
        table |= {name: dict.fromkeys(table["dice"], value) for name, value in values.items()}
        scores |= {"auc": 0.9, "slice": {"dice": 0.7, "iou": 0.6}}
        scores |= {"pooled": {"dice": 0.8, "iou": 2 / 3}, "surface": "inside the volume"} if result.fold in new else {}
        card |= {"seconds": 1.0, "device": "CPU"}
        (result.run / "card.json").write_text(json.dumps(card))
    return plan


@pytest.mark.slow
def test_scores_of_earlier_versions_are_read_and_those_that_they_did_not_take_are_undefined(tmp_path: Path) -> None:
    results = results_of(finished(tmp_path, new=frozenset()), tmp_path)
    for result in results:
        assert set(result.of_patients("hd95").values()) == {9.0}
        assert all(math.isnan(value) for value in result.of_patients("mssd").values())
        assert set(result.of_patients("mssd")) == set(result.of_patients("dice"))
        assert result.of_run("pooled_dice") is None
        assert (result.of_run("slice_dice"), result.of_run("slice_iou"), result.of_run("auc")) == (0.7, 0.6, 0.9)
    write_tables(results, tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert {(row["hd95"], row["mssd"], row["ravd"]) for row in rows} == {("9.000000", "", "")}


@pytest.mark.slow
def test_distances_to_another_surface_are_never_mixed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results = results_of(finished(tmp_path, new=frozenset({1, 3})), tmp_path)
    for result in results:
        known = [not math.isnan(value) for value in result.of_patients("assd").values()]
        assert known == [result.fold in {1, 3}] * len(known)
        assert all(result.of_patients("dice").values())
    assert "another surface" in caplog.text
    (pooled,) = {result.of_run("pooled_iou") for result in results if result.fold == 1}
    assert pooled == pytest.approx(2 / 3)


def test_runs_of_one_version_keep_all_scores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results = results_of(finished(tmp_path, new=frozenset(range(4))), tmp_path)
    for metric, value in (("hd95", 9.0), ("assd", 2.0), ("mssd", 20.0), ("ravd", 5.0)):
        assert {value} == {one for result in results for one in result.of_patients(metric).values()}
    assert "surface" not in caplog.text
