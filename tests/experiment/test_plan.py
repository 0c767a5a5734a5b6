from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.findings import facts_of, families
from crossmod.experiment.folder import refuse_leaks
from crossmod.experiment.folds import source_patients
from crossmod.experiment.jobs import Job
from crossmod.experiment.plan import Plan, make_plan
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.verdicts import ONE_SEED, ONE_SOURCE, Facts
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design
from tests.support.stores import Stores, made_volume


def plan_of(stores: Stores, **changes: object) -> Plan:
    return make_plan(small_design(**changes), {"ct": (stores.ct,), "mr": (stores.mr,)})


def kinds(plan: Plan) -> list[str]:
    return [job.kind for job in plan.jobs.values()]


def test_every_combination_once(stores: Stores) -> None:
    """2 folds x 1 translator; 2 folds x 2 seeds x (real, + 4)."""
    plan = plan_of(stores)
    assert [kinds(plan).count(kind) for kind in ("train", "synthesize", "segment")] == [2, 2, 8]
    assert {name: (arm.baseline, len(arm.runs)) for name, arm in plan.arms.items()} == {
        "real": (None, 4),
        "real + 4 essnet": ("real", 4),
    }
    tested = [patients for patients, _ in plan.tested.values()]
    assert sorted(patient for patients in tested for patient in patients) == [f"mr-{i}" for i in range(5)]


def test_a_baseline_without_any_arm_that_has_results_has_nothing_to_compare(stores: Stores) -> None:
    """Where the translator failed, only the baseline has results."""
    plan = plan_of(stores)
    scores = ArmScores("real", np.full((2, 5), 0.5), np.array([0, 0, 0, 1, 1]))
    assert list(families(plan, {"real": scores})) == []
    (family,) = families(plan, {"real": scores, "real + 4 essnet": replace(scores, name="real + 4 essnet")})
    assert family == ("real", [plan.arms["real + 4 essnet"]])


def test_what_is_needed_comes_first(stores: Stores) -> None:
    plan = plan_of(stores, retrain=True)
    place = {name: number for number, name in enumerate(plan.jobs)}
    for name, job in plan.jobs.items():
        assert all(place[other] < place[name] for other in job.needs.values())


def test_names_are_of_all_that_a_run_depends_on(stores: Stores, tmp_path: Path) -> None:
    first = plan_of(stores)
    assert plan_of(stores).jobs == first.jobs
    # More seeds are more runs beside the same ones; another name in the design is no other run.
    more = plan_of(stores, seeds=[0, 1, 2], translators={"other": TRANSLATOR})
    assert set(first.jobs) < set(more.jobs)
    longer = plan_of(stores, segmenters={"unet": {"preset": "tiny", "settings": {"size": 32, "steps": 5}}})
    assert {name for name in longer.jobs if name in first.jobs} == {
        name for name, job in first.jobs.items() if job.kind != "segment"
    }
    # One voxel of one MR patient: every run that saw it has another name.
    with writing_store(tmp_path / "mr") as writer:
        for record in Store(stores.mr).cases:
            volume = Store(stores.mr).read(record.id)
            voxels = volume.voxels.copy()
            voxels[0, 0, 0] += record.id == "mr-0"
            writer.add(record.id, replace(volume, voxels=voxels), patient=record.patient)
    changed = plan_of(Stores(stores.ct, tmp_path / "mr"))
    same = set(changed.jobs) & set(first.jobs)
    fold = next(fold for fold, (patients, _) in first.tested.items() if "mr-0" in patients)
    assert {first.jobs[name].title for name in same} == {f"essnet, fold {fold}", f"MR by essnet, fold {fold}"}


def test_counts_as_multiples_of_real_slices(stores: Stores) -> None:
    """Of five patients with six slices two or three are trained on: 12 or 18 slices."""
    plan = plan_of(stores, counts=[0, "0.5x", 7])
    by_fold = {fold: 6 * (5 - len(patients)) for fold, (patients, _) in plan.tested.items()}
    assert sorted(by_fold.values()) == [12, 18]
    assert plan.arms["real + 0.5x essnet"].slices == {fold: count // 2 for fold, count in by_fold.items()}
    assert plan.arms["real + 7 essnet"].slices == {0: 7, 1: 7}
    for (fold, _), name in plan.arms["real + 0.5x essnet"].runs.items():
        assert plan.jobs[name].settings["count"] == by_fold[fold] // 2


def test_few_labels_are_nested(stores: Stores) -> None:
    plan = plan_of(stores, labelled=[1, 2, "all"])
    chosen = {
        labelled: {
            (fold, seed): set(plan.jobs[name].settings["train_patients"])
            for (fold, seed), name in plan.arms[arm].runs.items()
        }
        for labelled, arm in ((1, "real of 1 patient"), (2, "real of 2 patients"), ("all", "real"))
    }
    for where, one in chosen[1].items():
        assert len(one) == 1
        assert one < chosen[2][where]
        assert chosen["all"][where] == set()
        assert not chosen[2][where] & plan.tested[where[0]][0]
    assert plan.arms["real of 1 patient + 4 essnet"].baseline == "real of 1 patient"


def test_synthetic_slices_alone_against_all_labels(stores: Stores) -> None:
    plan = plan_of(stores, labelled=["none", "all"])
    assert set(plan.arms) == {"real", "4 essnet", "real + 4 essnet"}
    assert plan.arms["4 essnet"].baseline == "real"
    job = plan.jobs[plan.arms["4 essnet"].runs[0, 0]]
    assert job.settings["without_real"]


def test_a_filter_is_for_translators_with_a_segmentor(stores: Stores) -> None:
    cyclegan = {**TRANSLATOR, "settings": {**TRANSLATOR["settings"], "family": "cyclegan"}}
    plan = plan_of(stores, translators={"essnet": TRANSLATOR, "plain": cyclegan}, min_consistency=[0.0, 0.3])
    assert set(plan.arms) == {
        "real", "real + 4 essnet", "real + 4 essnet, consistency 0.3 or more", "real + 4 plain",
    }  # fmt: skip


def test_a_translator_for_each_seed_or_one_for_all(stores: Stores) -> None:
    assert kinds(plan_of(stores)).count("train") == 2
    plan = plan_of(stores, retrain=True)
    assert kinds(plan).count("train") == 4
    runs = plan.arms["real + 4 essnet"].runs
    assert plan.jobs[runs[0, 0]].needs != plan.jobs[runs[0, 1]].needs


def translators_of(plan: Plan) -> dict[int, Job]:
    """By fold, the training of the only translator."""
    trained = [job for job in plan.jobs.values() if job.kind == "train"]
    return {int(job.settings["fold"]): job for job in trained}


def test_folds_share_no_seed_and_no_set_of_source_patients(stores: Stores) -> None:
    plan = plan_of(stores, folds=3, retrain=True)
    settings = [job.settings for job in plan.jobs.values() if job.kind == "train"]
    assert len({one["seed"] for one in settings}) == len(settings) == 6
    assert len({tuple(one["source_patients"]) for one in settings}) == 3
    segmented = {(job.settings["fold"], job.settings["seed"]) for job in plan.jobs.values() if job.kind == "segment"}
    assert len(segmented) == len({seed for _, seed in segmented}) == 6
    # Arms of one fold and seed share theirs: what they are compared by is then the slices.
    for place, name in plan.arms["real"].runs.items():
        other = plan.arms["real + 4 essnet"].runs[place]
        assert plan.jobs[name].settings["seed"] == plan.jobs[other].settings["seed"]
    assert facts_of(plan, plan.arms["real + 4 essnet"]) == Facts()


def test_each_source_patient_is_left_out_of_one_fold(stores: Stores) -> None:
    plan = plan_of(stores, folds=2)
    everyone = {case.patient for case in Store(stores.ct).cases}
    left_out = [everyone - set(job.settings["source_patients"]) for job in translators_of(plan).values()]
    assert sorted(patient for part in left_out for patient in part) == sorted(everyone)
    for fold, job in translators_of(plan).items():
        seen, _ = plan.seen[job.name]
        assert seen & everyone == set(job.settings["source_patients"])
        # Nothing is synthesized from whom the translator of the fold did not see.
        count = next(other.work for other in plan.jobs.values() if other.needs.get("model") == job.name)
        records = [case for case in Store(stores.ct).cases if case.patient in job.settings["source_patients"]]
        assert count == sum(record.slices_with.get("liver", 0) for record in records), fold


def test_fewer_source_patients_than_folds_are_left_out_in_turn(stores: Stores, tmp_path: Path) -> None:
    ct = written(tmp_path / "ct", "ct", [True, True])
    plan = plan_of(Stores(ct, stores.mr), folds=3)
    sets = [job.settings["source_patients"] for job in translators_of(plan).values()]
    assert [len(one) for one in sets] == [1, 1, 1]
    assert len(set(map(tuple, sets))) == 2
    assert facts_of(plan, plan.arms["real + 4 essnet"]).shared == (ONE_SOURCE,)


def test_one_source_patient_is_shared_by_all_folds(stores: Stores, tmp_path: Path) -> None:
    ct = written(tmp_path / "ct", "ct", [True])
    plan = plan_of(Stores(ct, stores.mr))
    facts = facts_of(plan, plan.arms["real + 4 essnet"])
    assert (facts.shared, facts.scope) == ((ONE_SOURCE,), "these models")


def test_whoever_has_both_scans_is_left_out_where_the_target_scan_is_tested() -> None:
    design, settings = small_design(folds=3), small_design().translator_settings["essnet"]
    source, target = [f"p{i}" for i in range(9)], [f"p{i}" for i in range(3, 12)]
    held_out = {0: {"p3", "p4", "p9"}, 1: {"p5", "p6", "p10"}, 2: {"p7", "p8", "p11"}}
    chosen = [set(source_patients(source, target, held_out[fold], fold, design, settings)) for fold in range(3)]
    for fold, one in enumerate(chosen):
        assert not one & held_out[fold]
        # Two of both sides, and one of the three others.
        assert len(one) == 6
    assert {frozenset({"p0", "p1", "p2"} - one) for one in chosen} == {frozenset({f"p{i}"}) for i in range(3)}


def test_one_fold_one_model(stores: Stores) -> None:
    one = plan_of(stores, only_folds=[1])
    assert facts_of(one, one.arms["real + 4 essnet"]).scope == "this model"
    several = plan_of(stores, only_folds=[1], retrain=True)
    assert facts_of(several, several.arms["real + 4 essnet"]).scope == "these models"
    slices = plan_of(stores, split="slice", test_slices=6)
    assert facts_of(slices, slices.arms["real + 4 essnet"]).scope == "this model"


def test_what_folds_share_is_read_from_the_jobs(stores: Stores) -> None:
    """A plan as it was before folds had seeds and source patients of their own."""
    plan = plan_of(stores)
    arm = plan.arms["real + 4 essnet"]
    for changes, shared in (
        ({"seed": 0}, (ONE_SEED,)),
        ({"source_patients": []}, (ONE_SOURCE,)),
        ({"seed": 0, "source_patients": []}, (ONE_SEED, ONE_SOURCE)),
    ):
        jobs = {
            name: replace(job, settings={**job.settings, **changes}) if job.kind == "train" else job
            for name, job in plan.jobs.items()
        }
        facts = facts_of(replace(plan, jobs=jobs), arm)
        assert (facts.shared, facts.scope) == (shared, "these models")


def test_the_papers_split_by_slice(stores: Stores) -> None:
    """20 slices show the liver, 6 are held out: 14 to train on, so 2x is 28, of 24 that there are: too many."""
    segmenter = {"preset": "tiny", "settings": {**SEGMENTER["settings"], "train_on": "organ"}}
    plan = plan_of(stores, split="slice", test_slices=6, segmenters={"unet": segmenter}, counts=[0, "1x"])
    assert plan.arms["real + 1x essnet"].slices == {0: 14}
    assert [kinds(plan).count(kind) for kind in ("train", "segment")] == [1, 4]
    with pytest.raises(InputError, match=r"2x essnet: 24 synthetic slices in fold 0\. Expected: 28"):
        plan_of(stores, split="slice", test_slices=6, segmenters={"unet": segmenter}, counts=[0, "2x"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 6}, r"5 patients.*at least 6"),
        ({"counts": [0, 25]}, "Expected: 25"),
        ({"labelled": [4]}, "labelled patients on the training side"),
    ],
)
def test_more_than_there_is(stores: Stores, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_of(stores, **changes)


def written(folder: Path, modality: Modality, livers: list[bool], twins: tuple[int, int] | None = None) -> Path:
    """MR patients of whom some have no liver in their labels, and two may be one scan."""
    rng = np.random.default_rng(5)
    with writing_store(folder) as writer:
        volumes = [made_volume(rng, modality) for _ in livers]
        if twins is not None:
            volumes[twins[1]] = volumes[twins[0]]
        for number, (volume, liver) in enumerate(zip(volumes, livers, strict=True)):
            assert volume.labels is not None
            shown = volume if liver else volume.with_labels(np.zeros_like(volume.labels), volume.label_names)
            writer.add(f"{modality}-{number}", shown, patient=f"{modality}-{number}")
    return folder


def test_a_fold_without_liver(stores: Stores, tmp_path: Path) -> None:
    mr = written(tmp_path / "mr", "mr", [True, False, False, False, False])
    with pytest.raises(InputError, match=r"no slice with liver among the (test|training) patients of fold 0"):
        plan_of(Stores(stores.ct, mr))


def test_one_scan_under_two_names(stores: Stores, tmp_path: Path) -> None:
    """It is one patient's: tested in one fold, under one name, and trained on in no job of that fold."""
    folds = plan_of(stores).tested
    one, other = (sorted(patients)[0] for patients, _ in folds.values())
    mr = written(tmp_path / "mr", "mr", [True] * 5, (int(one[-1]), int(other[-1])))
    plan = plan_of(Stores(stores.ct, mr))
    names = {plan.patients[case.id] for case in Store(mr).cases if case.patient in (one, other)}
    assert len(names) == 1
    (name,) = names
    assert [name in patients for patients, _ in plan.tested.values()].count(True) == 1
    assert sum(len(patients) for patients, _ in plan.tested.values()) == 4


def test_a_plan_whose_translator_sees_a_test_patient_is_refused(stores: Stores) -> None:
    plan = plan_of(stores)
    refuse_leaks(plan)
    (patient, *_), cases = sorted(plan.tested[0][0]), plan.tested[0][1]
    model = next(name for name, job in plan.jobs.items() if job.title == "essnet, fold 0")
    patients, scans = plan.seen[model]
    with pytest.raises(InputError, match=f"patient {patient} both seen by essnet, fold 0 and tested on in fold 0"):
        refuse_leaks(replace(plan, seen={**plan.seen, model: (patients | {patient}, scans)}))
    with pytest.raises(InputError, match="a test scan under another name"):
        refuse_leaks(replace(plan, seen={**plan.seen, model: (patients, scans | {next(iter(cases))})}))


def test_several_stores_of_the_target(stores: Stores) -> None:
    with pytest.raises(InputError, match="one store of mr"):
        make_plan(small_design(), {"ct": (stores.ct,), "mr": (stores.mr, stores.mr)})


def test_all_runs_see_the_same_millimetres(stores: Stores) -> None:
    """In every fold, with every seed, translators and segmenters alike; what is stretched has none."""
    plan = plan_of(stores)
    seen = {(job.settings["frame"], job.settings["pixel_mm"]) for job in plan.jobs.values() if job.kind != "synthesize"}
    ((frame, pixel_mm),) = seen
    assert frame == "body"
    assert pixel_mm > 0
    assert set(plan.pixels.values()) == {f"32 px, {pixel_mm:g} mm, centred on the body"}
