"""AdaBN: statistics of batch norm from unlabelled images of the training side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossmod.data.slices import SliceSet
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.segmentation.adapt_batch_norm import BATCH, WITH_BATCH_NORM, adapt, layers_of, unlabelled_images
from crossmod.segmentation.data import choose_cases
from crossmod.segmentation.model import begin
from crossmod.segmentation.predict import load_segmenter
from crossmod.settings import SegmentSettings
from tests.support.segmenting import segment
from tests.support.stores import Stores

OPTIONS: dict[str, Any] = {
    "network": "tiny",
    "size": 32,
    "frame": "field",
    "pixel_mm": 10.0,
    "folds": 5,
    "steps": 2,
    "batch_size": 2,
}


def images(stores: Stores, fold: int = 0) -> SliceSet:
    settings = SegmentSettings(**{**OPTIONS, "fold": fold})
    chosen = choose_cases(stores.mr, None, settings)
    return unlabelled_images(chosen, chosen.load().test)


def test_statistics_are_those_of_the_images_and_weights_stay(stores: Stores) -> None:
    slices = images(stores)
    last = nn.Conv2d(1, 1, 1)
    network = nn.Sequential(nn.BatchNorm2d(1), last, nn.Dropout(0.5))
    before = last.weight.detach().clone()
    count = 2 * BATCH if len(slices) >= 2 * BATCH else len(slices) // 2 * 2
    slices = slices.take(list(range(count)))
    adapt(network, slices, torch.device("cpu"), seed=0)
    (layer,) = layers_of(network)
    # Equal batches: the mean over batches is that over all pixels.
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.running_mean.item() == pytest.approx(slices.images.mean(), abs=1e-5)
    assert layer.running_var.item() == pytest.approx(slices.images.var(), rel=0.05)
    assert layer.momentum == 0.1
    assert not any(module.training for module in network.modules())
    assert torch.equal(last.weight, before)


def test_unlabelled_patients_count_and_test_patients_do_not(tmp_path: Path, stores: Stores) -> None:
    """Two of the patients have no labels; the patients of the fold, labelled or not, are never read."""
    was = Store(stores.mr)
    with writing_store(tmp_path / "mr") as writer:
        for place, case in enumerate(was.cases):
            volume = was.read(case.id)
            writer.add(case.id, volume if place > 1 else volume.with_labels(None, {}), patient=case.patient)
    everyone = {case.patient for case in was.cases}
    bare = {case.patient for case in was.cases[:2]}
    seen: set[str] = set()
    for fold in range(5):
        settings = SegmentSettings(**{**OPTIONS, "fold": fold})
        chosen = choose_cases(tmp_path / "mr", None, settings)
        try:
            test = chosen.load().test
        except InputError:
            continue  # the fold's only patient has no labels
        own = set(unlabelled_images(chosen, test).patients)
        assert own == everyone - set(test.patients)
        seen |= own & bare
    assert seen == bare


def test_a_run_uses_keeps_and_records_them(tmp_path: Path, stores: Stores) -> None:
    plain = segment(tmp_path / "plain", stores.mr, **OPTIONS)
    run = segment(tmp_path / "run", stores.mr, **OPTIONS, adapt_batch_norm=True)
    assert "adapt_batch_norm" not in plain.card["settings"]
    assert run.card["settings"]["adapt_batch_norm"] is True
    adapted = run.card["adapted"]
    assert not set(adapted["patients"]) & set(run.card["data"]["test_patients"])
    assert adapted["slices"] == len(images(stores))
    assert run.card["weights_sha256"] != plain.card["weights_sha256"]
    # The checkpoint holds the adapted network: weights as without, and other statistics.
    two, one = (load_segmenter(path).network.state_dict() for path in (run.path, plain.path))
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert changed
    assert all("running" in name or "tracked" in name for name in changed)
    found = two[next(name for name in two if name.endswith("running_mean"))]
    assert np.isfinite(found.numpy()).all()


def test_networks_without_batch_norm_are_refused(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(
        InputError, match=r"the network unet, which has no batch norm.*--network tiny or attention_unet"
    ):
        segment(tmp_path / "run", stores.mr, **{**OPTIONS, "network": "unet"}, adapt_batch_norm=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "network", ["unet", "tiny", "tiny_instance", "dynunet", "attention_unet", "swin_unetr", "segresnet"]
)
def test_the_named_networks_have_it(network: str) -> None:
    pytest.importorskip("monai")
    pytest.importorskip("einops")
    made = begin(SegmentSettings(network=network, size=64))
    assert bool(layers_of(made)) == (network in WITH_BATCH_NORM)
