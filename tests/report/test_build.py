import re
import shutil
from pathlib import Path

import pytest

from crossmod.errors import InputError
from crossmod.html.page import templates
from crossmod.report.build import build_report
from crossmod.report.collect import collect
from crossmod.synthesis.synthesize import synthesize
from tests.support.segmenting import segment
from tests.support.stores import Stores
from tests.support.training import train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for family in ("essnet", "cyclegan"):
        run = train(root / family, stores, family=family, epochs=1)
        synthesize(run.path, source=stores.ct, out=root / f"{family}-mr")
    for seed in (0, 1):
        segment(root / f"real-{seed}", stores.mr, steps=8, seed=seed)
        segment(root / f"more-{seed}", stores.mr, root / "essnet-mr", count=9, steps=8, seed=seed)
    return root


def test_one_page_with_everything_and_nothing_from_outside(made: Path, tmp_path: Path) -> None:
    paths = [made / n for n in ("essnet", "cyclegan", "real-0", "real-1", "more-0", "cyclegan-mr")]
    build_report(paths, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for words in (
        "24 real + 9 EssNet", "Synthetic slices", "EssNet: 24 slices of 6 patients", "CycleGAN: 24 slices",
        "no label consistency", "The same slices through each model", "What the segmenters see", "ROC", "Loss curves",
        "Parameters and times", "G1 ", "Training and test patients", "ct-3",
    ):  # fmt: skip
        assert words in page, words
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script" not in page


@pytest.mark.slow
def test_arms_of_unequal_length_and_leaks_are_warned_of(made: Path, tmp_path: Path, stores: Stores) -> None:
    real = segment(tmp_path / "a", stores.mr, epochs=1)
    more = segment(tmp_path / "b", stores.mr, made / "essnet-mr", count=9, epochs=1)
    build_report([real.path, more.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "different numbers of training steps (24 real: 3, 24 real + 9 EssNet: 5)" in page
    leaking = segment(tmp_path / "leaking", stores.mr, split="slice", test_slices=5, steps=2)
    build_report([leaking.path], tmp_path / "leak.html")
    page = (tmp_path / "leak.html").read_text()
    assert "Split by slice" in page
    assert "(split by slice: leaking)" in page


def test_a_translator_alone(made: Path, tmp_path: Path) -> None:
    build_report([made / "essnet"], tmp_path / "page.html")
    assert "Parameters and times" in (tmp_path / "page.html").read_text()


def test_synthetic_stores_come_in_by_themselves(made: Path) -> None:
    contents = collect([made / "more-0", made / "more-1"])
    assert [store.path.name for store in contents.stores] == ["essnet-mr"]


def test_sources_are_found_by_their_checksum(made: Path, tmp_path: Path, stores: Stores) -> None:
    """In the stores that training runs read, and in those that are named; nowhere does a store say where they lie."""
    assert len(collect([made / "essnet"]).sources) == 11
    shutil.copytree(made / "essnet-mr", tmp_path / "essnet-mr")
    assert collect([tmp_path / "essnet-mr"]).sources == {}
    build_report([tmp_path / "essnet-mr"], tmp_path / "without.html")
    build_report([tmp_path / "essnet-mr"], tmp_path / "with.html", sources=[stores.ct])
    assert (tmp_path / "with.html").read_text() != (tmp_path / "without.html").read_text()


def test_only_a_report_is_written_over(made: Path, tmp_path: Path) -> None:
    card = made / "essnet" / "card.json"
    before = card.read_bytes()
    for place, words in ((card, "no HTML page"), (tmp_path, "a folder"), (Path("/dev/full"), "no file")):
        with pytest.raises(InputError, match=words):
            build_report([made / "essnet"], place)
    assert card.read_bytes() == before
    for _ in range(2):
        build_report([made / "essnet"], tmp_path / "page.html")


def test_a_run_whose_metrics_or_synthetic_store_are_gone(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "more-0", tmp_path / "elsewhere" / "more")
    (tmp_path / "elsewhere" / "more" / "metrics.jsonl").unlink()
    build_report([tmp_path / "elsewhere" / "more"], tmp_path / "page.html")
    assert collect([tmp_path / "elsewhere" / "more"]).stores == ()


def test_what_a_report_is_not_made_of(made: Path, tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="a store of real cases"):
        build_report([stores.ct], tmp_path / "page.html")
    with pytest.raises(InputError, match="neither a run nor a store"):
        build_report([tmp_path], tmp_path / "page.html")
    with pytest.raises(InputError, match="nothing"):
        build_report([], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_commands_between_backquotes_are_code_and_all_else_is_escaped() -> None:
    lines = vars(templates("crossmod.report").get_template("macros.html").module)["lines"]
    made = str(lines(["Use `crossmod info <x>` and <b>."], "warning")).strip()
    assert made == '<p class="warning">Use <code>crossmod info &lt;x&gt;</code> and &lt;b&gt;.</p>'
