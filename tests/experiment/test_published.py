"""Benchmarks: their published numbers as data, their rules for designs, and both beside an experiment's own numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from crossmod import registry
from crossmod.config import with_changes
from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.beside_published import beside_published, sees
from crossmod.experiment.design import WITHOUT_TARGET, Design, read_design, refuse_against_rules, sees_target
from crossmod.experiment.executors.base import InProcess
from crossmod.experiment.plan import make_plan
from crossmod.experiment.published import FILE, MEAN, protocols
from crossmod.experiment.results import Result, results_of
from crossmod.experiment.run import run_experiment
from crossmod.files import read_json
from crossmod.metrics.segmentation import dice
from crossmod.presets import TRANSLATE
from crossmod.report.experiment.data import read_experiment
from crossmod.report.experiment.published import published_section
from crossmod.settings import CONTROLS, Machine, SegmentSettings
from crossmod.synthesis.control_families import FDA, SOURCE
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from tests.support.several_organs import two_organs, without, write_stores
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design
from tests.support.stores import Stores

ABDOMEN = ("liver", "right_kidney", "left_kidney", "spleen")
CONTROL = {"preset": "source", "settings": {"size": 32}}


# The data


@pytest.mark.parametrize("name", protocols())
def test_published_means_are_those_of_their_organs(name: str) -> None:
    """A number that was copied wrongly would not fit the mean that the same table prints."""
    protocol = protocols()[name]
    whole = [row for row in protocol.results if set(row.dice) == {*ABDOMEN, MEAN}]
    assert whole
    for row in whole:
        assert row.dice[MEAN] == pytest.approx(np.mean([row.dice[organ] for organ in ABDOMEN]), abs=0.0011)


@pytest.mark.parametrize("name", protocols())
def test_numbers_without_a_source_are_marked_and_others_say_where_they_were_read(name: str) -> None:
    for row in protocols()[name].results:
        if row.source == "not checked against the paper":
            assert set(row.unverified) == set(row.dice), row
        else:
            assert "github.com/" in row.source or "arXiv" in row.source, row
            assert set(row.unverified) < set(row.dice), row


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dice": {"liver": 89.4}}, "a Dice between 0 and 1"),
        ({"dice": {"pancreas": 0.7}}, r"pancreas of A\. Expected: organs of the protocol"),
        ({"unverified": ["spleen"]}, r"spleen of A\. Expected: organs of the protocol with a number"),
        ({"dice": {}}, "dice"),
        ({"sees": "everything"}, "sees"),
        ({"colour": "red"}, "a known setting"),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    row = {"method": "A", "sees": "images", "dice": {"liver": 0.9}, "source": "a paper", **changes}
    with pytest.raises(InputError, match=words):
        protocols(write_protocol(tmp_path, results=[row]))


def test_the_number_of_test_patients_is_that_of_their_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"published.yaml: one: 2\. Expected: 3 test patients"):
        protocols(write_protocol(tmp_path, tested=3, test_patients=["a", "b"]))


def write_protocol(folder: Path, **changes: Any) -> Path:
    whole = yaml.safe_load(FILE.read_text())["uda_abdomen"]
    (folder / "published.yaml").write_text(yaml.safe_dump({"one": {**whole, **changes}}))
    return folder / "published.yaml"


# Presets and rules


def test_the_presets_are_their_benchmarks() -> None:
    uda, dg = read_design("uda_abdomen"), read_design("dg_abdomen")
    assert uda.test_patients == protocols()["uda_abdomen"].test_patients
    assert len(uda.source_left_out) == 30 - protocols()["uda_abdomen"].source_patients
    assert {settings.size for settings in uda.segmenter_settings.values()} == {256}
    for design, name in ((uda, "uda_abdomen"), (dg, "dg_abdomen")):
        assert design.published == name
        settings = [*design.translator_settings.values(), *design.segmenter_settings.values()]
        assert {one.organs for one in settings} == {ABDOMEN}
        assert {(one.train_on, one.test_on) for one in design.segmenter_settings.values()} == {("all", "all")}
    assert {family.family for family in dg.translator_settings.values()} == set(WITHOUT_TARGET)
    assert {(one.size, one.window) for one in dg.translator_settings.values()} == {(192, (-125.0, 275.0))}
    # The same millimetres for all, stated: no MR image decides about them.
    every = [*dg.translator_settings.values(), *dg.segmenter_settings.values()]
    assert len({one.pixel_mm for one in every} - {0.0}) == 1
    assert all(one.pixel_mm for one in every)


def design_of(**changes: Any) -> Design:
    return small_design(**{"translators": {"one": CONTROL}, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"translators": {"gan": TRANSLATOR}}, r"translators\.gan: essnet, which uses MR images .* random_contrast"),
        ({"translators": {"a": CONTROL, "b": {"preset": "fda"}}}, r"translators\.b: fda, .*published: uda_abdomen"),
        ({"translators": {"a": {"preset": "histogram"}}}, "histogram, which uses MR images of the training side"),
        (
            {"segmenters": {"one": {"preset": "tiny", "settings": {"adapt_batch_norm": True}}}},
            r"segmenters\.one: adapt_batch_norm, which uses MR images",
        ),
        ({"segmenters": {"one": {"preset": "tiny", "settings": {"organs": ["liver", "pancreas"]}}}}, "pancreas.*liver"),
        (
            {
                "translators": {"one": {"preset": "source", "settings": {"source": "mr"}}},
                "segmenters": {"one": {"preset": "tiny", "settings": {"modality": "ct"}}},
            },
            "published: MR to CT. Expected: CT to MR",
        ),
    ],
)
def test_a_design_that_breaks_the_rules_is_refused_before_any_data_is_read(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    values = {"translators": {"one": CONTROL}, "segmenters": {"one": SEGMENTER}, **changes, "published": "dg_abdomen"}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=words):
        read_design(str(tmp_path / "d.yaml"))
    # Without the benchmark's name they are designs like others.
    (tmp_path / "d.yaml").write_text(yaml.safe_dump({**values, "published": None}))
    read_design(str(tmp_path / "d.yaml"))


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"published: brats\. Expected: uda_abdomen or dg_abdomen"):
        design_of(published="brats")


def test_networks_may_see_unlabelled_images_where_the_rules_say_so() -> None:
    refuse_against_rules(small_design(published="uda_abdomen"))


def test_which_controls_see_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that measure something of it; of added families too."""
    assert {name for name in CONTROLS if not sees_target(name)} == set(WITHOUT_TARGET)
    assert sees_target("cyclegan")
    monkeypatch.setitem(registry._REGISTERED["family"], "still", replace(SOURCE, title="Still"))
    monkeypatch.setitem(registry._REGISTERED["family"], "measured", replace(FDA, title="Measured"))
    assert not sees_target("still")
    assert sees_target("measured")


@pytest.mark.parametrize("family", WITHOUT_TARGET)
def test_such_a_control_makes_the_same_training_pixels_whatever_the_target_is(
    tmp_path: Path, stores: Stores, family: str
) -> None:
    """The target gives MR units alone, which the percentiles of a segmenter take out again, up to whole units."""
    was, rng = Store(stores.mr), np.random.default_rng(0)
    with writing_store(tmp_path / "other") as writer:
        for case in was.cases:
            volume = was.read(case.id)
            noise = rng.normal(0, 200, volume.voxels.shape)
            voxels = np.clip(2000 - 2 * volume.voxels + noise, 0, 4000).astype(np.int16)
            writer.add(case.id, replace(volume, voxels=voxels), patient=case.patient)
    pixels = []
    for number, mr in enumerate((stores.mr, tmp_path / "other")):
        settings = with_changes(TRANSLATE[family], size=32, frame="stretch")
        run = train_translator(tmp_path / f"run{number}", ct=stores.ct, mr=mr, settings=settings)
        made = synthesize(run.path, source=stores.ct, out=tmp_path / f"made{number}").store
        read = SegmentSettings(size=32, frame="stretch")
        pixels.append(load_slices(made, made.cases, read, scale=model_scale(read), labelled=True).images)
    assert np.ptp(pixels[0]) > 1
    assert np.abs(pixels[0] - pixels[1]).max() < 0.02


# Plans


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
    design = design_of(segmenters={"unet": of_both(SEGMENTER)}, translators={"source": of_both(CONTROL)})
    with pytest.raises(InputError, match=rf"{side}-0: labels of liver alone\. Expected: labels of spleen too"):
        make_plan(design, {"ct": (stores["ct"],), "mr": (stores["mr"],)})


def test_what_an_arm_sees_of_the_target(both: Stores) -> None:
    judged = {**TRANSLATOR, "settings": {**TRANSLATOR["settings"], "judge": "target_labels"}}
    adapted = {**SEGMENTER, "settings": {**SEGMENTER["settings"], "network": "unet", "adapt_batch_norm": True}}
    design = small_design(
        translators={"essnet": TRANSLATOR, "judged": judged, "source": CONTROL},
        segmenters={"unet": SEGMENTER, "adabn": adapted},
        labelled=["none", "all"],
    )
    plan = make_plan(design, {"ct": (both.ct,), "mr": (both.mr,)})
    found = {name: sees(plan, arm) for name, arm in plan.arms.items()}
    assert found == {
        "unet, real": "labels",
        "unet, real + 4 essnet": "labels",
        "unet, real + 4 judged": "labels",
        "unet, real + 4 source": "labels",
        "unet, 4 essnet": "images",
        "unet, 4 judged": "labels",
        "unet, 4 source": "nothing",
        "adabn, real": "labels",
        "adabn, real + 4 essnet": "labels",
        "adabn, real + 4 judged": "labels",
        "adabn, real + 4 source": "labels",
        "adabn, 4 essnet": "images",
        "adabn, 4 judged": "labels",
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
    assert by_method["4 source"][2].below[0].startswith("cut 0.")
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
