"""Segmenters that a translator needs before it is trained: the frozen S of some families, and the independent judge.

On source slices with random contrast: they are all labelled source slices of the training side, with and without the
organ, and no image of the target is seen. What is learnt holds for other contrasts too, since each slice gets a new one
at each step (GIN, Ouyang et al. 2022). A judge can also be trained on the labelled target slices of the training side.
"""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossmod.config import with_changes
from crossmod.data.batches import LabelledBatches
from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import SliceSet, load_slices
from crossmod.engine import checkpoint
from crossmod.engine.device import accelerate, choose
from crossmod.engine.distributed import Distributed
from crossmod.engine.logger import training_card
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.optimizers import averaged
from crossmod.errors import InputError
from crossmod.runs import JudgeCard, start_training
from crossmod.seeds import derive
from crossmod.segmentation import model
from crossmod.segmentation.predict import predict
from crossmod.settings import JudgedOn, Machine, SegmentSettings, TranslateSettings
from crossmod.synthesis.guided import NETWORK, segmentor
from crossmod.synthesis.judge import FOLDER as JUDGE
from crossmod.synthesis.training_data import Slices, TrainingData, training_slices
from crossmod.synthesis.validation import middle_of

log = logging.getLogger(__name__)

# The run's folder in that of the translator, and its kind.
FOLDER = "segmentor"


def settings_of(settings: TranslateSettings, name: str = FOLDER, on: JudgedOn = "random_contrast") -> SegmentSettings:
    """How S or the judge of a translator is trained: as preset `tiny_modern`, on source slices with random contrast, or
    on target slices; `name`, of its folder, decides its seed."""
    shared = ("organs", "window", "percentiles", "size", "frame", "pixel_mm", "precision", "split_seed", "same_people")
    contrast = on == "random_contrast"
    return SegmentSettings(
        **{each: getattr(settings, each) for each in shared},
        modality=settings.source if contrast else settings.target,
        network=NETWORK,
        augmentation="random_contrast" if contrast else None,
        strong_augment=not contrast,
        loss="dice_cross_entropy",
        learning_rate=2e-3,
        schedule="cosine",
        ema=0.98,
        batch_size=6,
        steps=settings.segmentor_steps,
        seed=derive(settings.seed, name) % 2**32,
    )


def train_segmentor(
    out: Path, data: TrainingData, settings: TranslateSettings, machine: Machine, world: Distributed
) -> Mapping[str, Tensor]:
    """Train S in the folder `segmentor` of the run in `out`, or continue; gives its weights."""
    slices = _source_slices(data, settings)
    title = f"Training S on {len(slices)} slices with random contrast"
    card = _trained(out / FOLDER, FOLDER, title, slices, settings_of(settings), data, machine, world)
    weights = checkpoint.trained_weights(out / FOLDER, card["steps"], card["weights_sha256"])["segmenter"]
    return {f"network.{name}": values for name, values in weights.items()}  # within `guided.Segmentor`


# Share of the organs' median area in source slices from which on a target slice shows them. S marks specks in slices
# without any.
LEAST_AREA = 0.1


def found_by(
    S: Mapping[str, Tensor], slices: Slices, settings: TranslateSettings, device: torch.device
) -> tuple[SliceSet, ...]:
    """The target slices to train on: of those that no label chose, the ones in which S finds an organ; all of them if
    all were asked for, or if it finds none."""
    sets, source = slices[settings.target], slices[settings.source][0]
    unlabelled = ~sets[0].known if settings.slices == "organ" else np.ones(len(sets[0]), dtype=bool)
    if settings.slices == "all" or not unlabelled.any() or source.masks is None:
        return sets
    network = segmentor(settings).to(device)
    checkpoint.load_weights(network, dict(S), "S", settings.family)
    middle = middle_of(sets[0].size, settings.size)
    answers = predict(network.network, sets[0].images[:, middle, middle], device, quiet=True).answer
    usual = np.median(np.count_nonzero(source.masks[source.shows][:, middle, middle], axis=(1, 2)))
    shows = np.count_nonzero(answers, axis=(1, 2)) >= max(LEAST_AREA * usual, 1)
    chosen = [int(index) for index in np.flatnonzero(shows | ~unlabelled)]
    side, many = settings.target.upper(), int(np.count_nonzero(unlabelled))
    if not shows[unlabelled].any():
        log.warning("S finds no %s in %d unlabelled %s slices: all are trained on.", settings.organs[0], many, side)
        return sets
    found = int(np.count_nonzero(shows & unlabelled))
    log.info("S finds organs in %d of %d unlabelled %s slices: these are trained on.", found, many, side)
    return tuple(each.take(chosen) for each in sets)


def train_judge(
    out: Path,
    on: JudgedOn,
    slices: SliceSet,
    data: TrainingData,
    settings: TranslateSettings,
    machine: Machine,
    world: Distributed,
) -> JudgeCard:
    """Train the judge on what `judge_slices` gave, in the folder `judge` of the run in `out`, or continue; gives what
    the run's card says of it."""
    with_what = "source slices with random contrast" if on == "random_contrast" else f"real {settings.target} slices"
    title = f"Training the judge on {len(slices)} {with_what}"
    card = _trained(out / JUDGE, JUDGE, title, slices, settings_of(settings, JUDGE, on), data, machine, world)
    assert not set(slices.patients) & data.held_out
    return {
        "trained_on": on,
        "patients": list(slices.patients),
        "slices": len(slices),
        "steps": card["steps"],
        "weights_sha256": card["weights_sha256"],
        "dice": None,
        "shift": None,
    }


def judge_slices(data: TrainingData, settings: TranslateSettings) -> tuple[JudgedOn, SliceSet]:
    """On what the judge is trained. Without target labels on source slices, which is said."""
    if settings.judge != "target_labels":
        return "random_contrast", _source_slices(data, settings)
    side = settings.target
    cases = [group.first for group in data.train[side]]
    labelled = [case for case in cases if set(settings.organs) <= set(case.labels.values())]
    if settings.split == "slice":
        do = "Use --judge random_contrast, or --split patient."
        found = "a split by slice, whose test slices are of the same patients"
        raise InputError("--judge target_labels", found=found, expected="a split by patient", do=do)
    if not labelled:
        log.warning(
            "No %s case of the training side has labels of %s: the judge is trained on %s slices with random contrast "
            "instead.",
            side.upper(), ", ".join(settings.organs), settings.source.upper(),
        )  # fmt: skip
        return "random_contrast", _source_slices(data, settings)
    store, scale = data.stores[side], model_scale(settings)
    return "target_labels", load_slices(store, labelled, settings, scale=scale, labelled=True)


def _source_slices(data: TrainingData, settings: TranslateSettings) -> SliceSet:
    every = with_changes(settings, slices="all", ct_slices=0, mr_slices=0)
    return training_slices(data, settings.source, every, model_scale(settings))[0]


def _trained(
    folder: Path,
    kind: str,
    title: str,
    slices: SliceSet,
    own: SegmentSettings,
    data: TrainingData,
    machine: Machine,
    world: Distributed,
) -> Mapping[str, Any]:
    """Train a segmenter in its own run folder, or continue; gives its card."""
    run = world.once(partial(start_training, folder, kind, own, data.inputs))
    if run.finished:
        return run.card
    compute = choose(world.device, own.precision, ranks=world.ranks, blocks=False)
    trainee = accelerate(averaged(model.build(own, world.device), ("segmenter",), own.ema), compute)
    batches = LabelledBatches((slices,), own, world.device, rank=world.rank, ranks=world.ranks)
    plan = TrainingPlan(
        title, own.epochs, own.seed, steps=own.steps, schedule=own.schedule, minutes=machine.checkpoint_minutes
    )
    done = fit(trainee, batches, run, plan, world)
    card = {
        **training_card(done, batches.steps, own, compute, world),
        "data": {"slices": len(slices), "patients": list(slices.patients)},
        "weights_sha256": checkpoint.weights_hash({"segmenter": trainee.model["segmenter"].state_dict()}),
    }
    world.once(lambda: run.finish(card))
    return run.card
