"""What crossmod 0.1.0 wrote is read: a store, a run, a bundle, a survey and an evaluation of three phantoms."""

import shutil
from pathlib import Path

import numpy as np

from crossmod.data.store import Store
from crossmod.evaluation.result import lines
from crossmod.evaluation.run import KIND
from crossmod.inference.api import load_model
from crossmod.reader.analysis.run import analyze_surveys
from crossmod.report.build import build_report
from crossmod.runs import open_run
from crossmod.synthesis.synthesize import synthesize
from tests.support.paths import SUPPORT

OLD = SUPPORT / "version_0_1"


def test_a_store_and_what_was_synthesized_from_it() -> None:
    store = Store(OLD / "store")
    assert {case.modality for case in store.cases} == {"ct", "mr"}
    for case in store.cases:
        volume = store.read(case.id)
        assert volume.voxels.shape == case.shape
        assert volume.labels is not None
        assert volume.labels.max() > 0
    assert all(case.synthetic for case in Store(OLD / "synthetic").cases)


def test_a_run_synthesizes_the_same_images_again(tmp_path: Path) -> None:
    made = synthesize(OLD / "run", source=OLD / "store", out=tmp_path / "again").store
    before = Store(OLD / "synthetic")
    assert [case.id for case in made.cases] == [case.id for case in before.cases]
    for case in made.cases:
        new, old = made.read(case.id).voxels.astype(float), before.read(case.id).voxels.astype(float)
        np.testing.assert_allclose(new, old, atol=0.01 * np.ptp(old))


def test_a_bundle_translates_as_its_run_does() -> None:
    store = Store(OLD / "store")
    ct = store.read(next(case.id for case in store.cases if case.modality == "ct"))
    run, bundle = (load_model(OLD / name).translate(ct).image.voxels.astype(float) for name in ("run", "bundle"))
    np.testing.assert_allclose(bundle, run, atol=0.01 * np.ptp(run))


def test_a_survey_is_analysed(tmp_path: Path) -> None:
    # A copy: opening a survey may write beside its database.
    shutil.copytree(OLD / "survey", tmp_path / "survey")
    result = analyze_surveys([tmp_path / "survey"], out=tmp_path / "analysis", draws=100)
    assert result["surveys"]["survey"]["readers"] == 2


def test_an_evaluation_is_printed_and_all_is_reported(tmp_path: Path) -> None:
    card = open_run(OLD / "evaluation", KIND).card
    assert any("synthetic" in line for line in lines(card))
    build_report([OLD / "run", OLD / "synthetic", OLD / "evaluation"], tmp_path / "report.html")
    assert "EssNet" in (tmp_path / "report.html").read_text(encoding="utf-8")
