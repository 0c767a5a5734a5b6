"""An experiment on two organs, from the stores to the report, and the slices that it counts."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.executors.base import InProcess
from crossmod.experiment.findings import organs_in_words
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.run import run_experiment
from crossmod.files import read_json
from crossmod.report.experiment import build as report
from crossmod.report.experiment.data import read_experiment
from crossmod.report.experiment.methods import for_papers
from crossmod.settings import Machine
from tests.support.experiment_folder import effect, save, write_experiment
from tests.support.several_organs import ORGANS, two_organs, without, write_stores
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design
from tests.support.stores import Stores


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return write_stores(tmp_path_factory.mktemp("two-organs"))


def recipe(base: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**base, "settings": {**base["settings"], "organs": list(ORGANS), **more}}


def design(**changes: Any) -> Any:
    of_both: dict[str, Any] = {
        "translators": {"essnet": recipe(TRANSLATOR)},
        "segmenters": {"unet": recipe(SEGMENTER, steps=12)},
    }
    return small_design(**{**of_both, **changes})


def plan_of(both: Stores, **changes: Any) -> Plan:
    return make_plan(design(**changes), {"ct": (both.ct,), "mr": (both.mr,)})


def test_slices_that_show_any_organ_are_counted(both: Stores) -> None:
    """Spleen first: it is in two slices of a patient, and both organs together in four."""
    of_spleen = {"preset": "tiny", "settings": {"organs": ["spleen", "liver"], "train_on": "organ", "steps": 4}}
    plan = plan_of(both, segmenters={"unet": of_spleen}, translators={"essnet": recipe(TRANSLATOR)}, counts=[0, "1x"])
    arm = plan.arms["real + 1x essnet"]
    trained = {fold: 5 - len(patients) for fold, (patients, _) in plan.tested.items()}
    assert arm.slices == {fold: 4 * patients for fold, patients in trained.items()}
    made = [job for job in plan.jobs.values() if job.kind == "synthesize"]
    # Half of six source patients, four slices of each.
    assert {job.work for job in made} == {12}


def test_source_cases_without_an_organ_of_the_segmenter_are_refused_before_anything_is_trained(
    both: Stores, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    with writing_store(tmp_path / "ct") as writer:
        for number in range(6):
            volume = two_organs(rng, "ct")
            writer.add(f"ct-{number}", without(volume, "spleen") if number == 2 else volume, patient=f"ct-{number}")
    liver = {"essnet": TRANSLATOR}
    with pytest.raises(InputError, match=r"ct-2: labels of liver alone\. Expected: labels of spleen too"):
        plan_of(Stores(tmp_path / "ct", both.mr), translators=liver)
    alone = {"unet": SEGMENTER}
    assert len(plan_of(Stores(tmp_path / "ct", both.mr), translators=liver, segmenters=alone).arms) == 2


def test_organs_in_words() -> None:
    assert organs_in_words(("liver", "left_kidney", "spleen")) == "liver, left kidney and spleen"


def test_the_report_shows_each_organ_without_a_verdict(tmp_path: Path) -> None:
    """Findings by hand: the numbers of each organ, and sentences that the scores are means."""
    found = write_experiment(tmp_path / "x")
    one = read_experiment(tmp_path / "x")
    assert report.organs(one) is None
    assert "means over these organs" not in report.asked(one)["line"]
    assert "The liver was segmented in MR" in str(for_papers(one)["methods"])
    found["organ"] = "liver and spleen"
    for arm in found["arms"]:
        score = {"mean": 0.6543, "low": 0.5, "high": 0.8, "seeds": [0.6], "undefined": 0}
        own = effect(0.0789) if arm["baseline"] else None
        of_liver = {"score": arm["scores"]["dice"], "effect": own}
        arm["organs"] = {"liver": of_liver, "spleen": {"score": score, "effect": own}}
    save(tmp_path / "x", found)
    several = read_experiment(tmp_path / "x")
    table = report.organs(several)
    assert table is not None
    assert (table.head, list(table.baselines)) == (("Arm", "liver", "spleen"), [0])
    real, more = table.rows
    assert (real[0], real[2]) == ("real", ("0.654 [0.500, 0.800]", (), ""))
    assert more[2] == ("0.654 [0.500, 0.800]", ("+0.079 [+0.069, +0.089]",), "")
    assert "Liver and spleen in MR" in report.asked(several)["line"]
    assert "All scores are means over these organs." in report.asked(several)["line"]
    methods = str(for_papers(several)["methods"])
    assert "The liver and spleen were segmented in MR" in methods
    assert "as one volume (3D), averaged over the organs" in methods


@pytest.mark.slow
def test_two_organs_from_the_stores_to_the_report(both: Stores, tmp_path: Path) -> None:
    root = tmp_path / "x"
    done = run_experiment(
        design(seeds=[0, 1]), [both.ct, both.mr], root, executor=InProcess(root, Machine(device="cpu"))
    )
    assert done.failed == []
    rows = list(csv.DictReader((root / "results.csv").read_text().splitlines()))
    organs = list(csv.DictReader((root / "organs.csv").read_text().splitlines()))
    assert len(organs) == 2 * len(rows) == 2 * 2 * 2 * 5
    for row in rows:
        own = [float(one["dice"]) for one in organs if (one["run"], one["patient"]) == (row["run"], row["patient"])]
        assert len(own) == 2
        assert float(row["dice"]) == pytest.approx(np.mean(own), abs=1e-6)

    def mean(arm: str, organ: str) -> float:
        return float(np.mean([float(one["dice"]) for one in organs if (one["arm"], one["organ"]) == (arm, organ)]))

    found = read_json(root / "findings.json")
    assert found["organ"] == "liver and spleen"
    base, more = found["arms"]
    for organ in ORGANS:
        assert base["organs"][organ]["score"]["mean"] == pytest.approx(mean("real", organ), abs=1e-6)
        change = more["organs"][organ]["effect"]
        assert change["mean"] == pytest.approx(mean("real + 4 essnet", organ) - mean("real", organ), abs=1e-6)
        assert change["low"] <= change["mean"] <= change["high"]
        assert base["organs"][organ]["effect"] is None
    both_means = [more["organs"][organ]["effect"]["mean"] for organ in ORGANS]
    assert more["effects"]["dice"]["mean"] == pytest.approx(np.mean(both_means), abs=1e-6)
    assert found["why"]["strata"] is not None
    page = (root / "report.html").read_text()
    assert "<h3>Each organ</h3>" in page
    # Synthetic slices have labels of both, numbered as in the source.
    made = [Store(path) for path in root.glob("runs/synthesize-*")]
    assert {tuple(sorted(case.labels.values())) for store in made for case in store.cases} == {ORGANS}
