import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.data.store import Store
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.experiment import run
from crossmod.experiment.executors import base as executor
from crossmod.experiment.executors import local as workers
from crossmod.experiment.executors.base import InProcess
from crossmod.experiment.executors.local import LocalExecutor
from crossmod.experiment.folder import refuse_leaks_in_stores, write_plan
from crossmod.experiment.jobs import Job, execute_job
from crossmod.experiment.plan import make_plan
from crossmod.experiment.run import ExperimentResult, estimate_experiment, run_experiment
from crossmod.files import read_json, write_json
from crossmod.settings import Machine
from tests.support.small_design import small_design
from tests.support.stores import Stores

CPU = Machine(device="cpu")


def experiment(root: Path, stores: Stores, **changes: Any) -> ExperimentResult:
    return run_experiment(small_design(**changes), [stores.ct, stores.mr], root, executor=InProcess(root, CPU))


@dataclass(frozen=True)
class Ran:
    root: Path
    done: ExperimentResult


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Ran:
    root = tmp_path_factory.mktemp("experiment") / "x"
    return Ran(root, experiment(root, stores))


def scores(root: Path) -> dict[str, Any]:
    """Of every segmenter, what it scored."""
    return {path.parent.name: read_json(path)["scores"] for path in sorted(root.glob("runs/segment-*/card.json"))}


def without_times(findings: Any) -> Any:
    return {**findings, "arms": [{**arm, "seconds": None} for arm in findings["arms"]]}


def test_every_patient_is_tested_once_by_every_arm_and_seed(ran: Ran) -> None:
    assert ran.done.failed == []
    rows = list(csv.DictReader((ran.root / "results.csv").read_text().splitlines()))
    keys = [(row["arm"], row["seed"], row["patient"]) for row in rows]
    assert sorted(keys) == sorted(
        (arm, seed, f"mr-{i}") for arm in ("real", "real + 4 essnet") for seed in "01" for i in range(5)
    )
    by_run = scores(ran.root)
    for row in rows:
        dice = by_run[row["run"]]["patient_values"]["dice"][row["patient"]]
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-6)
    assert {row["synthetic_slices"] for row in rows if row["arm"] == "real"} == {"0"}


def test_the_difference_is_of_means_over_patients_and_seeds(ran: Ran) -> None:
    """By hand, from the table."""
    rows = list(csv.DictReader((ran.root / "results.csv").read_text().splitlines()))

    def mean(arm: str) -> float:
        return float(np.mean([float(row["dice"]) for row in rows if row["arm"] == arm]))

    found = read_json(ran.root / "findings.json")
    base, arm = found["arms"]
    assert base["effects"]["dice"] is None
    effect = arm["effects"]["dice"]
    assert effect["mean"] == pytest.approx(mean("real + 4 essnet") - mean("real"), abs=1e-6)
    assert (effect["patients"], effect["seeds"], effect["arms"]) == (5, 2, 1)
    assert effect["low"] <= effect["mean"] <= effect["high"]
    assert ran.done.sentences == [effect["sentence"]]
    assert len(found["patients"]) == 5
    for patient, value in zip(found["patients"], arm["by_patient"], strict=True):
        own = [float(r["dice"]) for r in rows if (r["arm"], r["patient"]) == ("real + 4 essnet", patient)]
        assert value == pytest.approx(np.mean(own), abs=1e-6)


def test_given_again_it_does_nothing_and_says_the_same(ran: Ran, stores: Stores, tmp_path: Path) -> None:
    copy = tmp_path / "x"
    shutil.copytree(ran.root, copy)
    times = {path: path.stat().st_mtime_ns for path in copy.glob("runs/*/*") if path.is_file()}
    again = experiment(copy, stores)
    assert without_times(again.findings) == without_times(ran.done.findings)
    assert {path: path.stat().st_mtime_ns for path in copy.glob("runs/*/*") if path.is_file()} == times


@pytest.mark.slow
def test_more_seeds_keep_what_is_there(ran: Ran, stores: Stores, tmp_path: Path) -> None:
    copy = tmp_path / "x"
    shutil.copytree(ran.root, copy)
    before = scores(copy)
    experiment(copy, stores, seeds=[0, 1, 2])
    after = scores(copy)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before


def hashes(root: Path) -> dict[str, Any]:
    """Of every training its weights, and of every synthetic case its content."""
    cards = {path.parent.name: read_json(path)["weights_sha256"] for path in root.glob("runs/*/card.json")}
    cases = {path.name: [case.sha256 for case in Store(path).cases] for path in root.glob("runs/synthesize-*")}
    return {**cards, **cases}


@pytest.mark.slow
def test_side_by_side_or_one_after_another_the_weights_are_the_same(
    ran: Ran, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, also where libraries would take more threads: what is small computes on one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(workers, "usable_cores", lambda: 6)
    root = tmp_path / "x"
    done = run_experiment(small_design(), [stores.ct, stores.mr], root, executor=LocalExecutor(root, CPU, 2))
    assert done.failed == []
    assert len(hashes(root)) == 12
    assert hashes(root) == hashes(ran.root)
    assert scores(root) == scores(ran.root)
    threads = [[one["threads"] for one in read_json(path)["threads"]] for path in root.glob("runs/*/card.json")]
    assert threads == [[1]] * 10


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(9, marks=pytest.mark.slow)])
def test_killed_and_given_again_it_ends_with_the_same_numbers(
    ran: Ran, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Stopped before the second, the fifth and the tenth run."""
    count = 0

    def stopping(job: Job, root: Path, machine: Machine) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise TrainingInterrupted(15, 0, 1)
        execute_job(job, root, machine)

    monkeypatch.setattr(executor, "execute_job", stopping)
    with pytest.raises(TrainingInterrupted):
        experiment(tmp_path / "x", stores)
    assert not (tmp_path / "x" / "findings.json").exists()
    monkeypatch.setattr(executor, "execute_job", execute_job)
    assert without_times(experiment(tmp_path / "x", stores).findings) == without_times(ran.done.findings)


@pytest.mark.slow
def test_one_failed_run_among_many(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The translator of fold 1 fails: what needs it cannot be made, all else is, and next time it is tried again."""

    def failing(job: Job, root: Path, machine: Machine) -> None:
        if job.title == "essnet, fold 1":
            raise RuntimeError("out of memory\nand more words")
        execute_job(job, root, machine)

    monkeypatch.setattr(executor, "execute_job", failing)
    done = experiment(tmp_path / "x", stores)
    titles = sorted(done.plan.jobs[name].title for name in done.failed)
    assert titles == [
        "MR by essnet, fold 1", "essnet, fold 1", "real + 4 essnet, fold 1, seed 0", "real + 4 essnet, fold 1, seed 1",
    ]  # fmt: skip
    assert "FAILED: train: essnet, fold 1: RuntimeError: out of memory" in capsys.readouterr().err
    found = read_json(tmp_path / "x" / "findings.json")
    assert {row["title"]: row["why"] for row in found["failed"]}["MR by essnet, fold 1"].endswith("which failed")
    assert found["missing"] == ["real + 4 essnet"]
    assert [arm["name"] for arm in found["arms"]] == ["real"]
    (note,) = (tmp_path / "x" / "failures").iterdir()
    assert "Traceback" in note.read_text()
    monkeypatch.setattr(executor, "execute_job", execute_job)
    assert experiment(tmp_path / "x", stores).failed == []
    assert not list((tmp_path / "x" / "failures").iterdir())


def test_a_store_that_changed_since(ran: Ran, stores: Stores, tmp_path: Path) -> None:
    copy = tmp_path / "x"
    shutil.copytree(ran.root, copy)
    plan = read_json(copy / "plan.json")
    plan["cases"]["mr"]["mr-1"] = "0" * 64
    plan["cases"]["ct"]["ct-9"] = "1" * 64
    del plan["cases"]["ct"]["ct-0"]
    write_json(copy / "plan.json", plan)
    with pytest.raises(InputError, match=r"other ct cases .*new: ct-0; gone: ct-9"):
        experiment(copy, stores)
    plan["cases"]["ct"] = {case.id: case.sha256 for case in Store(stores.ct).cases}
    write_json(copy / "plan.json", plan)
    with pytest.raises(InputError, match=r"other mr cases .*changed: mr-1"):
        experiment(copy, stores)


def test_a_folder_of_something_else(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="something else in it"):
        experiment(tmp_path / "x", stores)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["thesis.tex"]


def test_provenance_that_holds_a_test_patient(ran: Ran, tmp_path: Path) -> None:
    """What the manifests say is believed, not the plan."""
    copy = tmp_path / "x"
    shutil.copytree(ran.root, copy)
    refuse_leaks_in_stores(ran.done.plan, copy)
    job = next(job for job in ran.done.plan.jobs.values() if job.title == "MR by essnet, fold 0")
    manifest = job.folder(copy) / "manifest.json"
    content = json.loads(manifest.read_text())
    patient = min(ran.done.plan.tested[0][0])
    assert all(patient not in case["synthetic"]["trained_on"] for case in content["cases"])
    content["cases"][0]["synthetic"]["trained_on"].append(patient)
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"patient {patient} both seen by {job.name} and tested on in fold 0"):
        refuse_leaks_in_stores(ran.done.plan, copy)


def test_an_estimate_leaves_nothing_behind(stores: Stores, tmp_path: Path) -> None:
    plan, cost = estimate_experiment(small_design(), [stores.ct, stores.mr], tmp_path / "x", CPU)
    assert cost.jobs == {"train": 2, "synthesize": 2, "segment": 8}
    assert len(plan.jobs) == 12
    assert all(seconds > 0 for seconds in cost.seconds.values())
    assert not (tmp_path / "x").exists()


def test_what_is_done_costs_nothing_more(ran: Ran, stores: Stores) -> None:
    _, cost = estimate_experiment(small_design(seeds=[0, 1, 2]), [stores.ct, stores.mr], ran.root, CPU)
    assert cost.jobs == {"segment": 4}


def test_no_data_and_no_phantom(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stores of CT and of MR"):
        run_experiment(small_design(), [], tmp_path / "x", executor=InProcess(tmp_path / "x", CPU))


def test_one_modality(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ct cases"):
        run_experiment(small_design(), [stores.mr], tmp_path / "x", executor=InProcess(tmp_path / "x", CPU))


@pytest.mark.slow
def test_a_phantom_where_no_data_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once; its store is what is planned over."""
    design = small_design(phantom={"ct_patients": 2, "mr_patients": 4, "size": 48, "slices": 20}, counts=[0, 1])
    first = run.plan_experiment(design, [], tmp_path)
    monkeypatch.setattr(run, "write_phantom", None)
    assert run.plan_experiment(design, [], tmp_path) == first
    assert {len(cases) for cases in first.cases.values()} == {2, 4}


def test_runs_of_an_earlier_version_are_not_used_and_that_is_said(
    stores: Stores, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder made when all folds shared a seed: no run of it has the name of a run of now."""
    plan = make_plan(small_design(), {"ct": (stores.ct,), "mr": (stores.mr,)})
    write_plan(plan, tmp_path)
    then = read_json(tmp_path / "plan.json")
    for job in then["jobs"][:3]:
        job["name"] = f"{job['kind']}-before-{job['name'][-12:]}"
        (tmp_path / "runs" / job["name"]).mkdir(parents=True)
        (tmp_path / "runs" / job["name"] / "card.json").touch()
    then["jobs"] = then["jobs"][:3]
    write_json(tmp_path / "plan.json", then)
    write_plan(plan, tmp_path)
    assert "3 finished runs" in caplog.text
    assert "not used" in caplog.text
    caplog.clear()
    write_plan(plan, tmp_path)
    assert not caplog.text
