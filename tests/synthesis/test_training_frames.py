"""One scale from the store to the synthetic slice: what training, synthesis and segmentation see."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.config import Modality
from crossmod.data.pixel_size import Scale, model_scale, training_scale
from crossmod.data.slices import load_slices
from crossmod.data.store import Store, open_stores
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.phantom.anatomy import ORGANS, Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_ct, render_mr
from crossmod.runs import Run
from crossmod.segmentation.train import train_segmenter
from crossmod.settings import SegmentSettings, TranslateSettings
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from crossmod.synthesis.training_data import divide, framed, training_slices
from crossmod.synthesis.translator import load_translator
from tests.support.segmenting import TINY as SEGMENTER
from tests.support.stores import Stores, made_volume
from tests.support.training import TINY

AUTO: dict[str, Any] = {**TINY, "frame": "body", "pixel_mm": 0.0, "load_size": None, "epochs": 1}


def train(out: Path, stores: Stores, **more: Any) -> Run:
    return train_translator(out, ct=stores.ct, mr=stores.mr, settings=TranslateSettings(**{**AUTO, **more}))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Run:
    return train(tmp_path_factory.mktemp("frames") / "essnet", stores)


@pytest.fixture(scope="module")
def synthetic(run: Run, stores: Stores) -> Path:
    return synthesize(run.path, source=stores.ct, out=run.path.parent / "mr").store.path


@pytest.mark.parametrize("person", [0, 3])
@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_organs_are_as_large_whatever_the_field(tmp_path: Path, person: int, modality: Modality) -> None:
    """One person in fields of 280 mm, which cuts the flanks, and of 420 mm: equal areas, centres within a pixel."""
    found = []
    with writing_store(tmp_path / "store") as writer:
        for field, moved in ((280.0, (3.0, -4.0)), (420.0, (-3.0, 4.0)), (420.0, (0.0, 0.0))):
            anatomy = lay_on_grid(draw_person(person), Grid(208, 6, field, -40.0, 60.0, 0.8, moved))
            volume = render_ct(anatomy, 0) if modality == "ct" else render_mr(anatomy, "t2_spir", 0)
            labels = (organ_labels(anatomy) == next(v for v, o in ORGANS.items() if o == "liver")).astype(np.uint8)
            name = f"p{len(found)}"
            writer.add(name, volume.with_labels(labels, {1: "liver"}), patient=name)
            found.append(name)
    store = Store(tmp_path / "store")
    scale = Scale("body", 96, 4.4)
    slices = load_slices(store, store.cases, SegmentSettings(), scale=scale, labelled=True)
    assert slices.masks is not None
    own = [slices.masks[[key.case == name for key in slices.keys]] for name in found]
    areas = [int(np.count_nonzero(one)) for one in own]
    assert max(areas) / min(areas) < 1.02
    centres = np.array([np.argwhere(one).mean(axis=0)[1:] for one in own])
    assert np.abs(centres - centres[2]).max() < 1


def test_training_sees_the_millimetres_that_synthesis_sees(stores: Stores) -> None:
    """What lies in the middle of the canvas is, to the bit, what the network is given later."""
    store = Store(stores.ct)
    settings = TranslateSettings(**{**AUTO, "pixel_mm": 7.5})
    canvas = load_slices(store, store.cases, settings, scale=training_scale(settings), labelled=True)
    seen = load_slices(store, store.cases, settings, scale=model_scale(settings), labelled=True)
    margin = (canvas.size - 32) // 2
    assert margin == 2
    inner = (slice(None), slice(margin, margin + 32), slice(margin, margin + 32))
    np.testing.assert_array_equal(canvas.pixels[inner], seen.pixels)
    assert canvas.masks is not None
    assert seen.masks is not None
    np.testing.assert_array_equal(canvas.masks[inner], seen.masks)


def test_a_load_size_magnifies_the_same_field() -> None:
    settings = TranslateSettings(size=256, pixel_mm=1.5, load_size=286)
    scale = training_scale(settings)
    assert (scale.size, scale.size * scale.pixel_mm) == (286, pytest.approx(256 * 1.5))
    assert TranslateSettings(size=256).loaded == 256 + 2 * 13
    assert TranslateSettings(size=256, frame="stretch").loaded == 286
    with pytest.raises(ValueError, match="--frame body or field"):
        TranslateSettings(frame="stretch", pixel_mm=2.0)


def test_the_millimetres_are_settled_once_and_recorded(run: Run, stores: Stores, synthetic: Path) -> None:
    """The bodies of these stores are 282 mm wide: 95 % of 32 pixels of 9.3 mm, or of a pixel more for MR's mask."""
    settings = run.config["settings"]
    assert settings["frame"] == "body"
    assert 9.2 <= settings["pixel_mm"] <= 10.3
    assert settings["pixel_mm"] * 20 == pytest.approx(round(settings["pixel_mm"] * 20))
    assert run.card["settings"] == settings
    for side in ("ct", "mr"):
        extent = run.card["extents"][side]
        assert extent["field_mm"] == 320
        assert extent["body_mm"] == pytest.approx([282, 282], abs=25)
        wanted = [one / settings["pixel_mm"] for one in extent["body_mm"]]
        assert extent["body_pixels"] == pytest.approx(wanted, abs=0.1)
    # Given again, the command finds its own run.
    assert train(run.path, stores).card == run.card
    for case in Store(synthetic).cases:
        assert case.synthetic is not None
        assert (case.synthetic.frame, case.synthetic.pixel_mm) == ("body", settings["pixel_mm"])
        assert case.spacing[1:] == pytest.approx((settings["pixel_mm"],) * 2)
        source = Store(stores.ct).record(case.synthetic.source_case)
        assert source.body is not None
        middle = np.linalg.inv(np.array(source.affine)) @ np.array(case.affine) @ [0, 15.5, 15.5, 1]
        assert middle[1:3] * 10 == pytest.approx(source.body.centre)


def test_the_random_windows_move_and_do_not_magnify(stores: Stores) -> None:
    settings = TranslateSettings(**AUTO)
    sides: dict[Modality, Store] = {"ct": open_stores(stores.ct), "mr": open_stores(stores.mr)}
    data = divide(sides, settings)
    settled, _ = framed(data, settings)
    (ct,) = training_slices(data, "ct", settled)
    assert ct.size == 36
    assert {frame.pixel_mm for frame in ct.frames.values()} == {(settled.pixel_mm,) * 2}


def test_several_inputs_share_the_first_ones_frame(tmp_path: Path, rng: np.random.Generator, stores: Stores) -> None:
    """The second input shows another part of the body: its own middle would lie elsewhere."""
    with writing_store(tmp_path / "mr") as writer:
        for patient in range(3):
            first = made_volume(rng, "mr")
            second = replace(first, sequence="t1_out", voxels=np.where(first.voxels > 0, first.voxels, 0))
            second.voxels[:, :14] = 0
            for name, volume in (("t1_in", replace(first, sequence="t1_in")), ("t1_out", second)):
                writer.add(f"{patient}-{name}", volume, patient=str(patient))
    more: dict[str, Any] = {"family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "stack": 3}
    settings = TranslateSettings(**{**AUTO, **more})
    sides: dict[Modality, Store] = {"ct": open_stores(stores.ct), "mr": open_stores(tmp_path / "mr")}
    data = divide(sides, settings)
    settled, _ = framed(data, settings)
    sets = training_slices(data, "mr", settled)
    assert len(sets) == 6
    assert all(one.frames == sets[0].frames for one in sets)
    bodies = [Store(tmp_path / "mr").record(f"0-{name}").body for name in ("t1_in", "t1_out")]
    assert bodies[0] is not None
    assert bodies[1] is not None
    assert bodies[1].centre[0] > bodies[0].centre[0] + 30


def test_runs_of_before_there_were_millimetres(tmp_path: Path, stores: Stores) -> None:
    """Their settings do not name frames: the whole field was stretched, and is."""
    run = train(tmp_path / "new", stores, frame="stretch")
    wanted = synthesize(run.path, source=stores.ct, out=tmp_path / "wanted").store
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    card = json.loads((old / "card.json").read_text())
    for name in ("frame", "pixel_mm"):
        del card["settings"][name]
    (old / "card.json").write_text(json.dumps(card))
    config = (old / "config.yaml").read_text()
    kept = [line for line in config.splitlines() if not line.strip().startswith(("frame:", "pixel_mm:"))]
    (old / "config.yaml").write_text("\n".join(kept) + "\n")
    assert load_translator(old).settings.frame == "stretch"
    made = synthesize(old, source=stores.ct, out=tmp_path / "made").store
    assert [case.sha256 for case in made.cases] == [case.sha256 for case in wanted.cases]
    # Continued as it was made; the default of today is another training.
    assert train(old, stores, frame="stretch").finished
    with pytest.raises(InputError, match=r"--frame \(stretch then, body now\)"):
        train(old, stores)


def test_a_segmenter_takes_the_pixels_of_the_synthetic_slices(
    tmp_path: Path, run: Run, synthetic: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    small = {**SEGMENTER, "frame": "body", "pixel_mm": 0.0, "epochs": 1}
    both = train_segmenter(
        tmp_path / "both", real=stores.mr, synthetic=synthetic, settings=SegmentSettings(**small, count=4)
    )
    assert both.card["settings"]["pixel_mm"] == run.card["settings"]["pixel_mm"]
    assert "resampled" not in caplog.text
    # At half the pixels the same field.
    half = SegmentSettings(**{**small, "size": 16}, count=4)
    coarse = train_segmenter(tmp_path / "half", real=stores.mr, synthetic=synthetic, settings=half)
    assert coarse.card["settings"]["pixel_mm"] == pytest.approx(2 * run.card["settings"]["pixel_mm"])
    assert "are resampled to" in caplog.text
    record = Store(both.path / "predictions").cases[0]
    assert record.spacing[1:] == pytest.approx((both.card["settings"]["pixel_mm"],) * 2)
    real = train_segmenter(tmp_path / "real", real=stores.mr, settings=SegmentSettings(**small))
    assert real.card["settings"]["pixel_mm"] > 0


def test_a_store_of_another_scale_is_refused(tmp_path: Path, stores: Stores) -> None:
    """MR whose header says 12 times the spacing that it has."""
    with writing_store(tmp_path / "mr") as writer:
        for case in Store(stores.mr).cases:
            volume = Store(stores.mr).read(case.id)
            affine = volume.affine.copy()
            affine[:3, 1:3] *= 0.1
            writer.add(case.id, replace(volume, affine=affine), patient=case.patient)
    with pytest.raises(InputError, match=r"MR and CT: bodies that are .* times as large"):
        train(tmp_path / "run", Stores(stores.ct, tmp_path / "mr"))
    assert not (tmp_path / "run").exists()


def test_labels_outside_of_the_frame_are_told_of(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(stores.ct)
    with caplog.at_level(logging.WARNING):
        load_slices(store, store.cases[:1], SegmentSettings(), scale=Scale("body", 32, 3.0), labelled=True)
    assert "of the labelled organ lies outside of the model's frame" in caplog.text
