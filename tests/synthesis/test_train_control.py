"""Controls by the commands for translators: run, synthetic store, provenance and refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.benchmark.options import TranslateBench
from crossmod.config import build, with_changes
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.inference.api import load_model
from crossmod.inference.bundle.export import export_bundle
from crossmod.presets import TRANSLATE, with_asked
from crossmod.runs import Run
from crossmod.segmentation.data import choose_cases
from crossmod.settings import CONTROLS, SegmentSettings
from crossmod.synthesis.control_families import SOURCE
from crossmod.synthesis.families import family_of
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from crossmod.synthesis.translator import load_translator
from tests.support.stores import Stores, made_volume


def control(out: Path, ct: Path, mr: Path, family: str, **more: Any) -> Run:
    settings = with_changes(TRANSLATE[family], **{"size": 32, "frame": "stretch", **more})
    return train_translator(out, ct=ct, mr=mr, settings=settings)


def unlabelled(store: Path, out: Path) -> Path:
    was = Store(store)
    with writing_store(out) as writer:
        for case in was.cases:
            writer.add(case.id, was.read(case.id).with_labels(None, {}), patient=case.patient)
    return out


@pytest.mark.parametrize("family", CONTROLS)
def test_a_control_is_a_run_and_makes_labelled_slices(tmp_path: Path, stores: Stores, family: str) -> None:
    run = control(tmp_path / "run", stores.ct, stores.mr, family)
    card = run.card
    assert (card["steps"], card["family"], card["parameters"]) == (0, family, {})
    assert len(card["held_out"]) == 1
    assert not set(card["held_out"]) & set(card["data"]["mr"]["patients"])
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic").store
    made.verify()
    source = Store(stores.ct)
    for case in made.cases:
        assert case.synthetic is not None
        assert (case.modality, case.sequence, case.synthetic.family) == ("mr", "t2_spir", family)
        assert case.synthetic.shift == (0.0, 0.0)
        assert case.synthetic.model == card["weights_sha256"]
        volume, was = made.read(case.id), source.read(case.synthetic.source_case)
        assert was.labels is not None
        np.testing.assert_array_equal(volume.labels, was.labels[1:5])
        assert np.ptp(volume.voxels, axis=(1, 2)).min() > 0
    # It is accepted beside real slices, as that of a network is.
    segment = SegmentSettings(count=4, size=32, frame="stretch", network="tiny", folds=5)
    split = choose_cases(stores.mr, tmp_path / "synthetic", segment).load()
    assert split.synthetic is not None
    assert len(split.synthetic) == 4


def test_the_source_is_unchanged_in_the_targets_units(tmp_path: Path, stores: Stores) -> None:
    run = control(tmp_path / "run", stores.ct, stores.mr, "source")
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic").store
    was = Store(stores.ct).read("ct-2").voxels[1:5].astype(np.float64)
    low, high = (run.card["data"]["mr"][end] for end in ("low", "high"))
    expected = low + (np.clip(was, -160, 240) + 160) / 400 * (high - low)
    np.testing.assert_allclose(made.read("ct-2-as-mr").voxels, expected, atol=0.5)


def test_a_case_does_not_depend_on_the_others_and_the_seed_decides(tmp_path: Path, stores: Stores) -> None:
    one = tmp_path / "one"
    was = Store(stores.ct)
    with writing_store(one) as writer:
        writer.add("ct-3", was.read("ct-3"), patient="ct-3")
    run = control(tmp_path / "run", stores.ct, stores.mr, "random_contrast")
    other = control(tmp_path / "other", stores.ct, stores.mr, "random_contrast", seed=1)
    everyone = synthesize(run.path, source=stores.ct, out=tmp_path / "everyone").store
    alone = synthesize(run.path, source=one, out=tmp_path / "alone", same_people="no").store
    reseeded = synthesize(other.path, source=one, out=tmp_path / "reseeded", same_people="no").store
    np.testing.assert_array_equal(alone.read("ct-3-as-mr").voxels, everyone.read("ct-3-as-mr").voxels)
    assert not np.array_equal(alone.read("ct-3-as-mr").voxels, reseeded.read("ct-3-as-mr").voxels)
    # Another seed is another model of the same recipe, although there are no statistics.
    assert run.card["weights_sha256"] != other.card["weights_sha256"]
    assert load_translator(run.path).recipe == load_translator(other.path).recipe


def test_statistics_are_those_of_the_training_side_only(tmp_path: Path, stores: Stores) -> None:
    """The held-out patient's MR is made bright: nothing of it is in the statistics."""
    first = control(tmp_path / "first", stores.ct, stores.mr, "histogram")
    held_out = first.card["held_out"]
    was = Store(stores.mr)
    with writing_store(tmp_path / "bright") as writer:
        for case in was.cases:
            volume = was.read(case.id)
            if case.patient in held_out:
                volume = replace(volume, voxels=np.square(volume.voxels.astype(np.float32)))
            writer.add(case.id, volume, patient=case.patient)
    second = control(tmp_path / "second", stores.ct, tmp_path / "bright", "histogram")
    assert second.card["held_out"] == held_out
    one, two = (load_translator(run.path).statistics["quantiles"] for run in (first, second))
    np.testing.assert_array_equal(one, two)
    # Of everyone else they would differ.
    everyone = control(tmp_path / "everyone", stores.ct, tmp_path / "bright", "histogram", split="none")
    assert not np.array_equal(one, load_translator(everyone.path).statistics["quantiles"])


def test_from_mr_to_ct(tmp_path: Path, stores: Stores) -> None:
    run = control(tmp_path / "run", stores.ct, stores.mr, "fda", source="mr", folds=3)
    made = synthesize(run.path, source=stores.mr, out=tmp_path / "synthetic").store
    assert {case.modality for case in made.cases} == {"ct"}
    assert all(
        made.read(case.id).voxels.min() >= -160 and made.read(case.id).voxels.max() <= 240 for case in made.cases
    )
    with pytest.raises(InputError, match=r"--family painted: --source mr\. Expected: CT in HU"):
        control(tmp_path / "painted", stores.ct, stores.mr, "painted", source="mr")


def test_without_labels(tmp_path: Path, stores: Stores) -> None:
    ct, mr = unlabelled(stores.ct, tmp_path / "ct"), unlabelled(stores.mr, tmp_path / "mr")
    # No control needs labels of the target.
    control(tmp_path / "by-class", stores.ct, mr, "class_contrast")
    run = control(tmp_path / "run", ct, mr, "random_contrast")
    made = synthesize(run.path, source=ct, out=tmp_path / "synthetic", slices="all", same_people="no").store
    assert [case.shape[0] for case in made.cases] == [6] * 6
    with pytest.raises(InputError, match="liver"):
        synthesize(run.path, source=ct, out=tmp_path / "organ", same_people="no")
    for family in ("class_contrast", "painted"):
        with pytest.raises(InputError, match=f"labelled liver for --family {family}.*random_contrast"):
            control(tmp_path / family, ct, mr, family)
    labelled = control(tmp_path / "labelled", stores.ct, mr, "class_contrast")
    with pytest.raises(InputError, match="liver"):
        synthesize(labelled.path, source=ct, out=tmp_path / "unlabelled", slices="all", same_people="no")


def test_sides_of_different_organs(tmp_path: Path, stores: Stores) -> None:
    was = Store(stores.mr)
    with writing_store(tmp_path / "mr") as writer:
        for case in was.cases:
            volume = was.read(case.id)
            writer.add(case.id, volume.with_labels(volume.labels, {1: "spleen"}), patient=case.patient)
    for family in ("histogram", "class_contrast"):
        run = control(tmp_path / family, stores.ct, tmp_path / "mr", family)
        made = synthesize(run.path, source=stores.ct, out=tmp_path / f"{family}-mr").store
        assert set(made.cases[0].labels.values()) == {"liver"}
        assert run.card["data"]["mr"]["slices"] == 4 * 6
    with pytest.raises(InputError, match="labelled spleen for --family painted"):
        control(tmp_path / "painted", stores.ct, tmp_path / "mr", "painted", organs=("spleen",))


def test_one_slice_and_one_patient(tmp_path: Path, stores: Stores) -> None:
    rng = np.random.default_rng(0)
    volume = made_volume(rng, "ct", slices=3)
    assert volume.labels is not None
    with writing_store(tmp_path / "one") as writer:
        only = replace(volume, voxels=volume.voxels[1:2], labels=volume.labels[1:2])
        writer.add("one", only, patient="one")
    for family in CONTROLS:
        run = control(tmp_path / family, tmp_path / "one", stores.mr, family)
        made = synthesize(run.path, source=tmp_path / "one", out=tmp_path / f"{family}-mr").store
        assert made.cases[0].shape == (1, 32, 32)


def test_a_constant_case_is_refused(tmp_path: Path, stores: Stores) -> None:
    """Nothing of the body is in the window: loading it as MR would find no contrast."""
    for family in ("source", "random_contrast", "histogram", "class_contrast"):
        run = control(tmp_path / family, stores.ct, stores.mr, family, window=(1000.0, 1200.0))
        with pytest.raises(InputError, match=r"a constant output for ct-0.*Leave the case out"):
            synthesize(run.path, source=stores.ct, out=tmp_path / f"{family}-mr")


def test_what_needs_networks_is_refused(tmp_path: Path, stores: Stores) -> None:
    run = control(tmp_path / "run", stores.ct, stores.mr, "source")
    message = r"--family source: a control, which has no networks.*use a trained translator"
    with pytest.raises(InputError, match=message):
        load_model(run.path)
    with pytest.raises(InputError, match=message):
        export_bundle([run.path], tmp_path / "bundle")
    with pytest.raises(InputError, match="a family with networks"):
        build(TranslateBench, {"family": "source"}, subject="")
    with pytest.raises(InputError, match="neither a segmentor nor a judge"):
        synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic", min_consistency=0.5)
    with pytest.raises(InputError, match="has no networks"):
        family_of("source").build(TRANSLATE["source"], None)  # pyright: ignore[reportArgumentType]
    assert family_of("source") is SOURCE


def test_settings_of_networks_are_refused() -> None:
    for name, value in (("epochs", 3), ("generator_filters", 8), ("learning_rate", 1.0), ("stack", 3), ("ema", 0.9)):
        with pytest.raises(InputError, match=r"would have no effect.*controls have none"):
            with_asked(TRANSLATE["source"], {name: value})
    assert with_asked(TRANSLATE["source"], {"size": 64, "seed": 3, "slices": "all"}).size == 64
    with pytest.raises(InputError, match="multi_input for several inputs"):
        with_asked(TRANSLATE["source"], {"source": "mr", "inputs": ("t1_in", "t1_out")})
