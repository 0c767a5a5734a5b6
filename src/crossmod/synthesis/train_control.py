"""A control as a finished run: the same data, split and card as a training, and statistics in place of weights."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crossmod.config import Modality
from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import SliceSet
from crossmod.data.splits import split_in_words
from crossmod.engine import checkpoint
from crossmod.engine.device import describe_device
from crossmod.engine.distributed import Distributed
from crossmod.errors import InputError
from crossmod.runs import ExtentCard, Run, TranslatorCard
from crossmod.settings import TranslateSettings
from crossmod.synthesis.families import Control, Statistics, family_of
from crossmod.synthesis.training_data import TrainingData, data_card, training_slices

# In checkpoints, the place of a network's weights. `MADE_FROM` is there too, so that controls without statistics have
# hashes of their own.
NETWORK, MADE_FROM = "control", "made_from"


def refuse_unsuited(control: Control, data: TrainingData, settings: TranslateSettings) -> None:
    """Refuse a source that a control cannot change: one that paints tissues by HU needs CT in HU."""
    if not control.needs_hu:
        return
    unit = data.train["ct"][0].first.unit if settings.source == "ct" else None
    if unit != "HU":
        found = f"--source {settings.source}" + (f" in {unit} units" if unit else "")
        do = "Take another control, such as random_contrast."
        raise InputError(f"--family {settings.family}", found=found, expected="CT in HU", do=do)


def train_control(
    out: Path,
    data: TrainingData,
    settings: TranslateSettings,
    measured: dict[Modality, ExtentCard],
    start: Callable[[], Run],
    world: Distributed,
) -> Run:
    """Fit a control to the training slices of both sides, in the run folder that `start` makes, and finish its run."""
    began = time.monotonic()
    # Everything that can be refused is refused before the run folder is made. Slices are of the size of the synthetic
    # ones: nothing is cut at random.
    slices: dict[Modality, SliceSet] = {
        side: training_slices(data, side, settings, model_scale(settings))[0] for side in data.stores
    }
    run = world.once(start)
    world.once(lambda: run.finish(_fitted(out, run, data, settings, measured, slices, began)))
    return run


def _fitted(
    out: Path,
    run: Run,
    data: TrainingData,
    settings: TranslateSettings,
    measured: dict[Modality, ExtentCard],
    slices: dict[Modality, SliceSet],
    began: float,
) -> TranslatorCard:
    """Write the statistics; gives the card."""
    control = family_of(settings.family).control
    assert control is not None
    weights = _weights(control.fit(slices[settings.source], slices[settings.target]), settings, data)
    checkpoint.save(run.path / "checkpoints", 0, {"networks": weights})
    return {
        "family": settings.family,
        "settings": settings.model_dump(mode="json"),
        "leaking": settings.split == "slice",
        "alarms": [],
        "steps": 0,
        "seconds": round(time.monotonic() - began, 1),
        "seconds_per_epoch": 0.0,
        "device": describe_device(torch.device("cpu")),
        "threads": [],
        "processes": 1,
        "compute": "",
        "weights_sha256": checkpoint.weights_hash(weights),
        "best": None,
        "parameters": {},
        "data": {side: data_card(out, data, side, (slices[side],)) for side in data.stores},
        "fingerprint": {},
        "stack_mm": None,
        "held_out": sorted(data.held_out),
        "people": data.people.card(),
        "split": split_in_words(settings),
        "stopped_early": False,
        "extents": measured,
    }


def _weights(found: Statistics, settings: TranslateSettings, data: TrainingData) -> dict[str, dict[str, Tensor]]:
    recipe = json.dumps([settings.model_dump(mode="json"), data.inputs], sort_keys=True)
    made_from = np.frombuffer(hashlib.sha256(recipe.encode()).digest(), np.uint8).copy()
    arrays = {name: np.asarray(values, np.float32) for name, values in found.items()}
    return {NETWORK: {name: torch.from_numpy(values) for name, values in (*arrays.items(), (MADE_FROM, made_from))}}


def statistics_in(networks: dict[str, dict[str, Tensor]]) -> Statistics:
    """What `fit` measured, from a checkpoint."""
    return {name: values.numpy().astype(np.float64) for name, values in networks[NETWORK].items() if name != MADE_FROM}
