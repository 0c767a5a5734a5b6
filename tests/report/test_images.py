import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crossmod.data.store import Store
from crossmod.evaluation.run import evaluate_images
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.report.build import build_report
from crossmod.report.images import full_plane, images, layer_picture
from crossmod.report.info import describe
from crossmod.runs import Run
from tests.support.evaluated_people import People, make_people
from tests.support.label_maps import write_maps


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def result(people: People) -> Run:
    stores, settings = [people.good, people.poor], EvaluationSettings(draws=30)
    return evaluate_images(people.mr, stores, people.mr.parent / "result", source=[people.ct], settings=settings)


def test_one_page_with_everything_and_nothing_from_outside(result: Run, tmp_path: Path) -> None:
    build_report([result.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in (
        "How near are the synthetic images?", "Which model is nearest", "result: MR t2_spir, 32 px", "Fréchet distance",
        "further than real", "not distinguishable from real", "from paired draws of patients",
        "A typical slice of each layer",
        "Every metric over the axial layers", "Averaged spectra", "Dice of label and what is found",
        "Mean shift", "columns +0.0 mm", "Steps from slice to slice",
        "What was compared", "mr-100", "liver: 4",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    bare = re.sub(r"base64,[^\"]*", "", page)
    assert "None" not in bare
    assert "nan" not in bare
    assert "not known on real images" not in bare


def test_label_maps_and_their_shift_are_shown(people: People, tmp_path: Path) -> None:
    found = write_maps(tmp_path / "total_mr", people.good, lambda labels: np.roll(labels, -1, axis=2))
    settings = EvaluationSettings(draws=0)
    run = evaluate_images(people.mr, [people.good], tmp_path / "r", segmenter=found, settings=settings)
    build_report([run.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("total_mr (label maps)", "not known on real images", "rows +0.0 mm", "columns -10.6 mm"):
        assert words in page, words


def test_without_its_stores_a_result_shows_its_numbers_and_no_slice(
    result: Run, people: People, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(result.path, tmp_path / "elsewhere" / "result")
    moved = Run(tmp_path / "elsewhere" / "result")
    assert layer_picture(moved) is None
    assert "its slices are not shown" in caplog.text
    build_report([moved.path], tmp_path / "page.html")
    assert "Every metric over the axial layers" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_store_that_was_made_anew_is_not_shown_for_the_one_that_was_judged(people: People, tmp_path: Path) -> None:
    for name in ("mr", "good", "ct"):
        shutil.copytree(people.mr.parent / name, tmp_path / name)
    run = evaluate_images(tmp_path / "mr", [tmp_path / "good"], tmp_path / "r", settings=EvaluationSettings(draws=0))
    before = layer_picture(run)
    for name in ("mr", "good"):
        manifest = tmp_path / name / "manifest.json"
        text = manifest.read_text(encoding="utf-8")
        for case in Store(tmp_path / name).cases:
            text = text.replace(case.sha256, "f" * 64)
        manifest.write_text(text)
    assert before is not None
    assert layer_picture(run) is None


@pytest.mark.slow
def test_a_single_model_has_no_ranking(people: People, tmp_path: Path) -> None:
    run = evaluate_images(
        people.mr, [people.good], tmp_path / "r", source=[people.ct], settings=EvaluationSettings(draws=0)
    )
    found = images([run])
    assert found is not None
    assert found["ranking"] is None
    build_report([run.path], tmp_path / "page.html")
    assert "Which model is nearest" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert images([]) is None


@pytest.mark.parametrize("size", [6, 7])
def test_the_whole_plane_is_that_of_the_full_transform(size: int, rng: np.random.Generator) -> None:
    image = rng.normal(size=(size, size))
    half = np.abs(np.fft.rfft2(image)).astype(np.float32)
    np.testing.assert_allclose(full_plane(half), np.fft.fftshift(np.abs(np.fft.fft2(image))), rtol=1e-5)


def test_a_result_is_described(result: Run) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(describe(result.path))
    text = console.export_text()
    assert "30 draws of patients" in text
    assert "histogram correlation" in text
