"""Designs that name who is tested on, and which source patients nothing is trained on."""

from pathlib import Path

import numpy as np
import pytest

from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.estimate import Estimate
from crossmod.experiment.findings import facts_of
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.run import describe_plan
from crossmod.statistics.verdicts import ONE_MODEL
from tests.support.small_design import small_design
from tests.support.stores import Stores, made_volume


def plan_of(stores: Stores, **changes: object) -> Plan:
    return make_plan(small_design(**changes), {"ct": (stores.ct,), "mr": (stores.mr,)})


def write_mr(path: Path, *, unlabelled: str = "") -> Path:
    """Five patients, whose cases have names of their own."""
    rng = np.random.default_rng(0)
    with writing_store(path) as writer:
        for number in range(5):
            volume, name = made_volume(rng, "mr"), f"mr-{number}"
            writer.add(f"{name}-t2", volume.with_labels(None, {}) if name == unlabelled else volume, patient=name)
    return path


def test_named_patients_are_tested_once_and_all_others_are_trained_on(stores: Stores, tmp_path: Path) -> None:
    both = Stores(stores.ct, write_mr(tmp_path / "mr"))
    # By the name of a case, and by that of a patient.
    plan = plan_of(both, test_patients=["mr-3-t2", "mr-1"], labelled=["none", "all"])
    assert {fold: sorted(patients) for fold, (patients, _) in plan.tested.items()} == {0: ["mr-1", "mr-3"]}
    jobs = list(plan.jobs.values())
    assert {tuple(job.settings["test_patients"]) for job in jobs if job.kind != "synthesize"} == {("mr-1", "mr-3")}
    (translator,) = (job for job in jobs if job.kind == "train")
    seen, _ = plan.seen[translator.name]
    assert seen == {"mr-0", "mr-2", "mr-4", *(f"ct-{number}" for number in range(6))}
    for name, labelled in (("real", 3), ("real + 4 essnet", 3), ("4 essnet", 0)):
        assert (len(plan.arms[name].runs), plan.arms[name].patients) == (2, {0: labelled})
    # One translator made all slices: what is shown is of it alone.
    assert facts_of(plan, plan.arms["real + 4 essnet"]).shared == (ONE_MODEL,)


def test_the_plan_says_who_is_tested(stores: Stores, tmp_path: Path) -> None:
    words = describe_plan(
        plan_of(stores, test_patients=["mr-1"]), Estimate({"train": 1.0}, 0, {"train": 1}), tmp_path, 1
    )
    assert words[0] == "2 arms x one split by patient x 2 seeds; tested on mr-1:"
    assert "No effect can be shown with one test patient, however large." in words


def test_source_patients_that_are_left_out_are_neither_trained_on_nor_synthesized(stores: Stores) -> None:
    named = plan_of(stores, test_patients=["mr-1"], source_left_out=["ct-0", "ct-5"])
    in_folds = plan_of(stores, source_left_out=["ct-0", "ct-5"])
    everyone = sum(
        job.work for job in plan_of(stores, test_patients=["mr-1"]).jobs.values() if job.kind == "synthesize"
    )
    for plan, number in ((named, 4), (in_folds, 2)):
        jobs = list(plan.jobs.values())
        for source in (set(job.settings["source_patients"]) for job in jobs if job.kind == "train"):
            assert source <= {"ct-1", "ct-2", "ct-3", "ct-4"}
            assert len(source) == number
        # All six have equally many slices with the organ.
        assert {job.work for job in jobs if job.kind == "synthesize"} == {everyone * number // 6}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"test_patients": ["mr-1", "mr-8", "chaos-mr-9"]},
            r"test_patients: mr-8, chaos-mr-9, not in .*mr\. Expected: MR patients that are there: mr-0, mr-1, .*"
            r"Prepare the missing patients too; .*--show.* delete test_patients .*in folds",
        ),
        ({"source_left_out": ["mr-1"]}, r"source_left_out: mr-1, not in .*ct\. Expected: CT patients .* ct-0"),
        ({"test_patients": [f"mr-{n}" for n in range(5)]}, r"all 5 MR patients\. Expected: some left to train on"),
        ({"source_left_out": [f"ct-{n}" for n in range(6)]}, "source_left_out: all 6 CT patients"),
        ({"test_patients": ["mr-1"], "labelled": [5]}, "4 labelled patients on the training side"),
    ],
)
def test_names_that_cannot_be_used(stores: Stores, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_of(stores, **changes)


def test_source_patients_that_are_tested_or_left_out_leave_some(tmp_path: Path) -> None:
    """Someone with both scans, who is tested, and one who is left out: without any name, all would be trained on."""
    rng = np.random.default_rng(0)
    for modality, names in (("ct", "ab"), ("mr", "acde")):
        with writing_store(tmp_path / modality) as writer:
            for name in names:
                writer.add(name, made_volume(rng, "ct" if modality == "ct" else "mr"), patient=name)
    both = Stores(tmp_path / "ct", tmp_path / "mr")
    with pytest.raises(InputError, match="source_left_out: no source patient beside these and the people who"):
        plan_of(both, test_patients=["a"], source_left_out=["b"], same_people="yes")
    plan = plan_of(both, test_patients=["c"], source_left_out=["b"], same_people="yes")
    assert {job.settings["source_patients"] == ["a"] for job in plan.jobs.values() if job.kind == "train"} == {True}


def test_a_named_patient_without_labels_is_refused_by_name(stores: Stores, tmp_path: Path) -> None:
    both = Stores(stores.ct, write_mr(tmp_path / "mr", unlabelled="mr-3"))
    with pytest.raises(InputError, match=r"test_patients: no labels of mr-3\."):
        plan_of(both, test_patients=["mr-3", "mr-4"])
    # As one that the translator sees it is welcome.
    assert plan_of(both, test_patients=["mr-4"]).arms["real"].patients == {0: 3}
