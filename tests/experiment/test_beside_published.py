"""Benchmarks planned and run: who is tested and trained on, and published numbers beside an experiment's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.config import with_changes
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.beside_published import beside_published, sees
from crossmod.experiment.design import read_design
from crossmod.experiment.executors.base import InProcess
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.published import protocols
from crossmod.experiment.results import Result, results_of
from crossmod.experiment.run import run_experiment
from crossmod.files import read_json
from crossmod.metrics.segmentation import dice
from crossmod.report.experiment.data import read_experiment
from crossmod.report.experiment.published import published_section
from crossmod.settings import Machine
from tests.support.several_organs import two_organs, without, write_stores
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design
from tests.support.stores import Stores, made_volume

ABDOMEN = ("liver", "right_kidney", "left_kidney", "spleen")
CONTROL = {"preset": "source", "settings": {"size": 32}}


# Plans

# The 20 people of CHAOS with labelled MR, and the 30 of BTCV.
CHAOS_MR = (1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39)
BTCV = (*range(1, 11), *range(21, 41))


@pytest.fixture(scope="module")
def abdomen(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Made-up patients with the names and organs of the benchmarks."""
    root = tmp_path_factory.mktemp("abdomen")
    made = Stores(root / "ct", root / "mr")
    names = {"ct": [f"btcv-{number:04d}" for number in BTCV], "mr": [f"chaos-mr-{number}" for number in CHAOS_MR]}
    for path, modality in ((made.ct, "ct"), (made.mr, "mr")):
        rng = np.random.default_rng(0)
        with writing_store(path) as writer:
            for name in names[modality]:
                volume = made_volume(rng, "ct" if modality == "ct" else "mr")
                assert volume.labels is not None
                z, _, x = np.indices(volume.labels.shape)
                labels = np.where(volume.labels > 0, 1 + (x + z) % 4, 0).astype(np.uint8)
                writer.add(name, volume.with_labels(labels, dict(enumerate(ABDOMEN, start=1))), patient=name)
    return made


def plan_of(name: str, stores: Stores) -> Plan:
    design = with_changes(read_design(name), counts=[0, 40])
    return make_plan(design, {"ct": (stores.ct,), "mr": (stores.mr,)})


def trained_on(plan: Plan) -> list[set[str]]:
    return [set(job.settings["source_patients"]) for job in plan.jobs.values() if job.kind == "train"]


def test_the_split_of_sifa(abdomen: Stores) -> None:
    plan = plan_of("uda_abdomen", abdomen)
    tested = {f"chaos-mr-{number}" for number in (1, 13, 32, 38)}
    assert {fold: patients for fold, (patients, _) in plan.tested.items()} == {0: tested}
    source = {f"btcv-{number:04d}" for number in BTCV if number not in (1, 9, 30, 32, 33, 39)}
    assert len(source) == 24
    assert trained_on(plan) == [source] * 5
    for seen, _ in plan.seen.values():
        assert seen == source | {f"chaos-mr-{number}" for number in CHAOS_MR} - tested
    assert {arm.patients[0] for arm in plan.arms.values() if arm.labelled == "all"} == {16}


def test_all_patients_are_tested_without_any_image_of_the_target_in_training(abdomen: Stores) -> None:
    plan = plan_of("dg_abdomen", abdomen)
    tested = [patient for patients, _ in plan.tested.values() for patient in patients]
    assert sorted(tested) == sorted(f"chaos-mr-{number}" for number in CHAOS_MR)
    assert {len(source) for source in trained_on(plan)} == {24}
    assert {sees(plan, arm) for arm in plan.arms.values() if arm.labelled == "none"} == {"nothing"}
    assert {"unet, 40 source", "gin, 40 source", "gin, 40 class_contrast", "unet, 40 painted"} < set(plan.arms)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return write_stores(tmp_path_factory.mktemp("two-organs"))


def of_both(base: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**base, "settings": {**base["settings"], "organs": ["liver", "spleen"], **more}}


@pytest.mark.parametrize("side", ["ct", "mr"])
def test_an_organ_that_one_side_lacks_is_refused_by_name(both: Stores, tmp_path: Path, side: str) -> None:
    """In all of its cases, as in CT of CHAOS, whose labels are of the liver alone."""
    rng = np.random.default_rng(0)
    with writing_store(tmp_path / side) as writer:
        for number in range(6):
            volume = two_organs(rng, "ct" if side == "ct" else "mr")
            writer.add(f"{side}-{number}", without(volume, "spleen"), patient=f"{side}-{number}")
    stores = {"ct": both.ct, "mr": both.mr, side: tmp_path / side}
    design = small_design(segmenters={"unet": of_both(SEGMENTER)}, translators={"source": of_both(CONTROL)})
    with pytest.raises(InputError, match=rf"{side}-0: labels of liver alone\. Expected: labels of spleen too"):
        make_plan(design, {"ct": (stores["ct"],), "mr": (stores["mr"],)})


def test_what_an_arm_sees_of_the_target(both: Stores) -> None:
    adapted = {**SEGMENTER, "settings": {**SEGMENTER["settings"], "network": "unet", "adapt_batch_norm": True}}
    design = small_design(
        translators={"essnet": TRANSLATOR, "source": CONTROL},
        segmenters={"unet": SEGMENTER, "adabn": adapted},
        labelled=["none", "all"],
    )
    plan = make_plan(design, {"ct": (both.ct,), "mr": (both.mr,)})
    found = {name: sees(plan, arm) for name, arm in plan.arms.items()}
    assert found == {
        "unet, real": "labels",
        "unet, real + 4 essnet": "labels",
        "unet, real + 4 source": "labels",
        "unet, 4 essnet": "images",
        "unet, 4 source": "nothing",
        "adabn, real": "labels",
        "adabn, real + 4 essnet": "labels",
        "adabn, real + 4 source": "labels",
        "adabn, 4 essnet": "images",
        "adabn, 4 source": "images",
    }


# From the stores to the report


@pytest.fixture(scope="module")
def ran(both: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One test patient, two organs, and a source patient that nothing is trained on."""
    root = tmp_path_factory.mktemp("published") / "x"
    design = small_design(
        translators={"source": of_both(CONTROL)},
        segmenters={"unet": of_both(SEGMENTER, steps=12)},
        labelled=["none", "all"],
        test_patients=["mr-2"],
        source_left_out=["ct-0"],
        seeds=[0],
        published="uda_abdomen",
    )
    done = run_experiment(design, [both.ct, both.mr], root, executor=InProcess(root, Machine(device="cpu")))
    assert done.failed == []
    return root


def test_own_numbers_are_those_of_the_stored_predictions(ran: Path) -> None:
    found = read_json(ran / "findings.json")["published"]
    assert (found["benchmark"], found["cut"]) == ("uda_abdomen", False)
    assert [row["arm"] for row in found["own"]] == ["4 source", "real", "real + 4 source"]
    assert [row["sees"] for row in found["own"]] == ["nothing", "labels", "labels"]
    plan = read_json(ran / "plan.json")
    for row in found["own"]:
        # Not the mean: the benchmark's other organs are not there.
        assert set(row["dice"]) == set(row["cut"]) == {"liver", "spleen"}
        (run,) = next(arm["runs"] for arm in plan["arms"] if arm["name"] == row["arm"])
        (case,) = (store := Store(ran / "runs" / run["run"] / "predictions")).cases
        tensors = store.tensors(case.id, ("label", "answer"))
        label, answer = tensors["label"], tensors["answer"]
        shown = np.flatnonzero(label.any(axis=(1, 2)))
        within = slice(int(shown[0]), int(shown[-1]) + 1)
        assert shown[0] > 0
        for number, organ in enumerate(("liver", "spleen"), start=1):
            for scores, part in ((row["dice"], slice(None)), (row["cut"], within)):
                expected = dice(answer[part] == number, label[part] == number)
                assert scores[organ]["mean"] == pytest.approx(expected, abs=1e-6)
                # Of one patient there is none.
                assert scores[organ]["low"] is None


def test_the_report_shows_both_and_says_what_limits_them(ran: Path) -> None:
    section: Any = published_section(read_experiment(ran))
    head, rows, stand_out = section["table"]
    assert list(head[:4]) == ["Method", "Training sees", "liver", "right kidney"]
    published = protocols()["uda_abdomen"].results
    assert list(stand_out) == [len(published), len(published) + 1, len(published) + 2]
    by_method = {row[0]: row for row in rows}
    # Checked and unchecked numbers, and what no source states.
    assert by_method["SIFA"][2:7] == ["0.900*", "", "", "", "0.854"]
    assert by_method["CycleGAN"][1] == "MR images"
    assert by_method["4 source"][1] == "no MR"
    # Of one patient there is no interval.
    (own,) = [row for row in read_json(ran / "findings.json")["published"]["own"] if row["arm"] == "4 source"]
    whole, cut = own["dice"]["liver"]["mean"], own["cut"]["liver"]["mean"]
    assert by_method["4 source"][2] == (f"{whole:.3f}", (f"cut {cut:.3f}",), "")
    words = "\n".join(section["caveats"])
    for part in (
        "Tested on other patients than published: mr-2; published: chaos-mr-1, chaos-mr-13, chaos-mr-32, chaos-mr-38",
        "of 5 source patients; published: 24",
        "adds 0.038 Dice [0.029, 0.048]",
        "Compare the number of the whole scan",
    ):
        assert part in words
    page = (ran / "report.html").read_text()
    assert "Published beside ours" in page
    assert "not checked against the paper" in page
    assert "named test patients (mr-2) and all others" in page


def test_patients_and_cuts_in_words(ran: Path, both: Stores) -> None:
    """The same results as if other designs had made them."""
    design = read_design(str(ran / "design.yaml"))
    plan = make_plan(design, {"ct": (both.ct,), "mr": (both.mr,)})
    results = results_of(plan, ran)

    def caveats(results: list[Result], **changes: Any) -> str:
        found = beside_published(replace(plan, design=with_changes(design, **changes)), results)
        assert found is not None
        return "\n".join(found["caveats"])

    assert beside_published(plan, []) is None
    assert beside_published(replace(plan, design=with_changes(design, published=None)), results) is None
    in_folds = caveats(results, test_patients=[], source_left_out=[])
    assert "other patients than published: 1 patient in 2 folds; published: chaos-mr-1" in in_folds
    assert "Tested on 1 patient in 2 folds; published: 20." in caveats(
        results, published="dg_abdomen", test_patients=[], source_left_out=[]
    )
    named = [with_patients(result, ["chaos-mr-1", "chaos-mr-13", "chaos-mr-32", "chaos-mr-38"]) for result in results]
    assert "Tested on the published test patients: chaos-mr-1, chaos-mr-13" in caveats(named)
    all_of_them = [with_patients(result, [f"p{number}" for number in range(20)]) for result in results]
    words = caveats(all_of_them, published="dg_abdomen", test_patients=[], source_left_out=[])
    assert "Tested on 20 patients in 2 folds, each once: as many as published" in words
    assert 'compare the number after "cut"' in words
    before = [with_patients(result, ["mr-2"], cut=False) for result in results]
    assert "Runs of an earlier version have no score of cut scans" in caveats(before)
    assert "Runs of an earlier version" not in words
    organ = {"unet": of_both(SEGMENTER, steps=12, test_on="organ")}
    assert "unet: tested on slices that show an organ alone" in caveats(results, segmenters=organ)


def with_patients(result: Result, patients: list[str], *, cut: bool = True) -> Result:
    """A result of these patients, all with the same Dice."""
    values = {"dice": dict.fromkeys(patients, 0.5), **({"dice_cut": dict.fromkeys(patients, 0.6)} if cut else {})}
    of_one = {"patient_values": values, "slice_values": []}
    return replace(
        result, card={**result.card, "scores": {**of_one, "organs": dict.fromkeys(["liver", "spleen"], of_one)}}
    )
