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
from crossmod.experiment.design import WITHOUT_TARGET, Design, read_design, refuse_against_rules, sees_target
from crossmod.experiment.published import FILE, MEAN, protocols
from crossmod.presets import TRANSLATE
from crossmod.settings import CONTROLS, SegmentSettings
from crossmod.synthesis.control_families import FDA, SOURCE
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
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


def test_networks_may_see_unlabelled_images_where_the_rules_say_so_and_no_labels() -> None:
    def design(preset: dict[str, Any], **settings: Any) -> Design:
        changed = {**preset, "settings": {**preset["settings"], **settings}}
        return small_design(published="uda_abdomen", translators={"one": changed})

    refuse_against_rules(design(TRANSLATOR, slices="source"))
    refuse_against_rules(design(TRANSLATOR, slices="all", judge="random_contrast"))
    # A control that measures nothing of MR does not care which of its slices there are.
    refuse_against_rules(design(CONTROL))
    with pytest.raises(InputError, match=r"translators\.one: slices: organ, which uses MR labels.* slices: source"):
        refuse_against_rules(design(TRANSLATOR))
    with pytest.raises(InputError, match="slices: organ, which uses MR labels"):
        refuse_against_rules(design({**CONTROL, "preset": "fda"}))
    with pytest.raises(InputError, match=r"judge: target_labels, which uses MR labels.* judge: random_contrast"):
        refuse_against_rules(design(TRANSLATOR, slices="source", judge="target_labels"))


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
    """The target gives MR units alone, by whose range a segmenter reads them again, up to whole units."""
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
