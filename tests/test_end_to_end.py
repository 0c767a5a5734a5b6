"""The demo, small: from made-up DICOM files to the report, and again without doing anything twice."""

from pathlib import Path

import pytest

from crossmod.config import with_changes
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.experiment import demo
from crossmod.files import read_json
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.runs import Run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    people = {"CT_PATIENTS": 3, "LABELLED": 2, "UNLABELLED": 1, "TESTED": 2}
    for name, value in {**people, "SIZE": 48, "SLICES": 14, "SYNTHETIC": 5, "SEEDS": (0, 1), "EPOCHS": 1}.items():
        monkeypatch.setattr(demo, name, value)
    tiny = {"generator_filters": 2, "generator_blocks": 1, "discriminator_filters": 2, "discriminator_layers": 1}
    monkeypatch.setitem(TRANSLATE, "tiny", with_changes(TRANSLATE["tiny"], epochs=1, **tiny))
    monkeypatch.setitem(SEGMENT, "tiny", with_changes(SEGMENT["tiny"], steps=3))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_demo_from_end_to_end(tmp_path: Path) -> None:
    page = demo.run_demo(tmp_path / "demo", seed=1, jobs=2)
    text = page.read_text()
    assert "EssNet" in text
    assert "Unchanged source" in text
    assert text.count("data:image/png;base64,") >= 12

    runs = tmp_path / "demo" / "runs"
    store = Store(tmp_path / "demo" / "store")
    assert {(case.modality, case.sequence) for case in store.cases} == {("ct", None), ("mr", "t2_spir")}
    tested = set(Run(runs / "unet-real-0").card["data"]["test_patients"])
    assert len(tested) == 2
    for family in ("essnet", "source"):
        card = Run(runs / family).card
        assert not tested & {patient for side in card["data"].values() for patient in side["patients"]}
        assert len(card["data"]["mr"]["patients"]) == 3
    for run in runs.glob("unet-*"):
        assert Run(run).card["steps"] == 3
        assert len(Run(run).card["data"]["train_patients"]) == 2

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path != page}
    demo.run_demo(tmp_path / "demo", seed=1, jobs=2)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path != page}
    touched = {path for path in after if after[path] != before.get(path)}
    assert touched <= {tmp_path / "demo", tmp_path / "demo" / ".lock"}
    with pytest.raises(InputError, match=r"a demo with --seed 1\. Expected: a new folder, or the one with --seed 2"):
        demo.run_demo(tmp_path / "demo", seed=2)

    alone = tmp_path / "alone"
    demo.run_demo(alone, seed=1, jobs=1)
    hashes = [
        {card.parent.name: read_json(card)["weights_sha256"] for card in one.glob("*/card.json")}
        for one in (runs, alone / "runs")
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 8
