"""The demo, small: from made-up DICOM files to the report, and again without doing anything twice."""

from pathlib import Path

import pytest

from crossmod.config import with_changes
from crossmod.data.store import Store
from crossmod.experiment import demo
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.runs import Run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    people = {"CT_PATIENTS": 3, "LABELLED": 2, "UNLABELLED": 1, "TESTED": 2}
    for name, value in {**people, "SIZE": 48, "SLICES": 14, "SYNTHETIC": 5, "SEEDS": (0, 1)}.items():
        monkeypatch.setattr(demo, name, value)
    tiny = {"generator_filters": 2, "generator_blocks": 1, "discriminator_filters": 2, "discriminator_layers": 1}
    monkeypatch.setitem(TRANSLATE, "tiny", with_changes(TRANSLATE["tiny"], epochs=1, **tiny))
    monkeypatch.setitem(SEGMENT, "tiny", with_changes(SEGMENT["tiny"], steps=3))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_demo_from_end_to_end(tmp_path: Path) -> None:
    page = demo.run_demo(tmp_path / "demo", seed=1)
    text = page.read_text()
    assert "EssNet" in text
    assert "CycleGAN" in text
    assert text.count("data:image/png;base64,") >= 12

    store = Store(tmp_path / "demo" / "store")
    assert {(case.modality, case.sequence) for case in store.cases} == {("ct", None), ("mr", "t2_spir")}
    tested = set(Run(tmp_path / "demo" / "unet-real-0").card["data"]["test_patients"])
    assert len(tested) == 2
    for family in ("essnet", "cyclegan"):
        card = Run(tmp_path / "demo" / family).card
        assert not tested & {patient for side in card["data"].values() for patient in side["patients"]}
        assert len(card["data"]["mr"]["patients"]) == 3
    for run in (tmp_path / "demo").glob("unet-*"):
        assert Run(run).card["steps"] == 3
        assert len(Run(run).card["data"]["train_patients"]) == 2

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path != page}
    demo.run_demo(tmp_path / "demo", seed=1)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path != page}
    assert {path for path in after if after[path] != before.get(path)} <= {tmp_path / "demo"}
