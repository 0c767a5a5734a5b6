"""Training a translator: stores in, a finished run folder out, with the fingerprint of what it was trained on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor, nn

from crossmod.config import Modality
from crossmod.data.batches import UnpairedBatches
from crossmod.data.pixel_size import training_scale
from crossmod.data.slices import SliceSet, load_slices
from crossmod.data.splits import split_in_words
from crossmod.data.store import open_stores
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute, accelerate, apply, choose, describe_device
from crossmod.engine.distributed import Distributed, launch_processes
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.memory import fitting
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import TrainerState, TrainingTask, parameters
from crossmod.errors import InputError
from crossmod.machine import is_small
from crossmod.metrics.fingerprint import MOST_PATIENTS, CaseGrid, Training, fingerprint
from crossmod.runs import Run, is_run, start_run
from crossmod.settings import BEFORE_FRAMES, Machine, TranslateSettings
from crossmod.synthesis.families import family_of
from crossmod.synthesis.training_data import (
    TrainingData,
    data_card,
    divide,
    framed,
    scored_slices,
    stack_mm,
    training_slices,
)
from crossmod.synthesis.translator import KIND
from crossmod.synthesis.validation import Validator

# One set of slices for each image of what goes in.
Slices = Mapping[Modality, tuple[SliceSet, ...]]


def training_fingerprint(
    data: TrainingData,
    slices: Slices,
    generator: nn.Module,
    settings: TranslateSettings,
    compute: Compute,
    best: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """What the images of a training look like, and what its generator makes of them.

    Args:
        data: the cases.
        slices: that were trained on: a set an image of what goes in.
        generator: from source to target, as it stands after the last epoch.
        settings: of the training.
        compute: where and how the generator is run.
        best: weights of the best epoch, which are used instead where epochs were scored.

    Returns:
        As of `crossmod.metrics.fingerprint.fingerprint`, and under `made_epoch` whether `best` or `last` was run.
    """
    last = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    was_training = generator.training
    if best is not None:
        # In place and taken back afterwards: a compiled network cannot be copied.
        checkpoint.load_weights(generator, dict(best), "generator", "fingerprint")
    generator.eval()

    def translate(images: Float32[np.ndarray, "n images size size"]) -> Float32[np.ndarray, "n size size"]:
        return apply(generator, None, images, compute)[0]

    target: Modality = "mr" if settings.source == "ct" else "ct"
    training = Training(
        source=slices[settings.source][:: settings.stack],
        stacks=slices[settings.source],
        target=slices[target][0],
        organs=_labelled(data, target, settings),
        grids=_grids(data, settings),
        translate=translate,
    )
    try:
        with compute.inference():
            found = fingerprint(training, settings)
    finally:
        generator.load_state_dict(last)
        generator.train(was_training)
    found = found.model_copy(update={"made_epoch": "last" if best is None else "best"})
    return found.model_dump(mode="json", exclude_unset=True)


def _grids(data: TrainingData, settings: TranslateSettings) -> dict[str, CaseGrid]:
    """Of the first input of each case."""
    found = {}
    for groups in data.train.values():
        for group in groups:
            case = group.first
            field = max(case.shape[axis] * case.spacing[axis] for axis in (1, 2))
            side = field if settings.frame == "stretch" else settings.size * settings.pixel_mm
            found[case.id] = CaseGrid(pixels=round(side / min(case.spacing[1:])), pixel_mm=side / settings.size)
    return found


def _labelled(data: TrainingData, target: Modality, settings: TranslateSettings) -> SliceSet | None:
    """Slices of the target that show the organs, where some of its training cases have labels of them all.

    They are measured here and are not trained on.
    """
    cases = [group.first for group in data.train[target]]
    known = [case for case in cases if set(settings.organs) <= set(case.labels.values())][:MOST_PATIENTS]
    if not known:
        return None
    try:
        return load_slices(
            data.stores[target], known, settings, scale=training_scale(settings), labelled=True, only_showing=True
        )
    except InputError:  # labels that mark nothing
        return None


log = logging.getLogger(__name__)


def train_translator(
    out: Path,
    *,
    ct: Path | Sequence[Path],
    mr: Path | Sequence[Path],
    settings: TranslateSettings,
    machine: Machine | None = None,
) -> Run:
    """Train a translator between CT and MR; an unfinished run is continued, a finished one left alone.

    The target side is divided by `settings`' split; what is held out there is not trained on here, on either side.

    Args:
        out: the run folder.
        ct: store with CT cases, or several.
        mr: store with MR cases, or several.
        settings: all that decides the result.
        machine: where and how to compute.

    Raises:
        InputError: a store without the cases that are wanted, sides whose millimetres cannot both be right, or `out` is
            something else.
    """
    machine = machine or Machine()
    with launch_processes(machine, small=is_small(settings)) as world, fitting(out, settings.batch_size, settings.size):
        otherwise = "--split none trains on everybody."
        data = divide({"ct": open_stores(ct), "mr": open_stores(mr)}, settings, otherwise=otherwise)
        for line in data.people.lines:
            log.info("%s", line)
        return _train(out, data, settings, machine, world)


def _train(out: Path, data: TrainingData, asked: TranslateSettings, machine: Machine, world: Distributed) -> Run:
    settings, measured = framed(data, asked)
    plain = settings.model_dump(mode="json")
    earlier = {**TranslateSettings().model_dump(mode="json"), **BEFORE_FRAMES}

    def begin() -> Run:
        return start_run(out, KIND, plain, data.inputs, unknown=earlier)

    family = family_of(settings.family)
    if len(settings.mr_inputs) > 1 and not family.several_inputs:
        found = f"{family.title} and several inputs ({', '.join(settings.inputs)})"
        do = "Use --family multi_input, or give one input."
        raise InputError("--inputs", found=found, expected="a family of several inputs", do=do)
    # The first process may have made the folder by the time that another one looks.
    if world.once(lambda: is_run(out) and begin().finished):
        log.info("%s is finished already.", out)
        return Run(out)
    # Everything that can be refused is refused before the run folder is made.
    slices: Slices = {side: training_slices(data, side, settings) for side in data.stores}
    scored: Slices = {side: scored_slices(data, side, settings) for side in data.stores if settings.select_every}
    run = world.once(begin)
    compute = choose(world.device, settings.precision, settings.compile, size=settings.size, ranks=world.ranks)
    log.info("Computing on %s: %s. %s", describe_device(world.device), compute, " ".join(compute.why))
    trainee = build(settings, compute)
    batches = UnpairedBatches(slices["ct"], slices["mr"], settings, world.device, rank=world.rank, ranks=world.ranks)
    plan = TrainingPlan(
        f"Training {settings.family}",
        settings.epochs,
        settings.seed,
        decay=settings.decay,
        patience=settings.patience,
        minutes=machine.checkpoint_minutes,
        keep=machine.keep,
    )
    done = fit(
        trainee, batches, run, plan, world, Validator(trainee, settings, compute, run.path / "samples", slices, scored)
    )
    card = {
        **_card(out, data, slices, trainee, done, settings, compute),
        "extents": measured,
        "seconds_per_epoch": round(done.seconds * batches.steps / done.step, 2),
        "device": describe_device(world.device),
        "threads": done.threads,
        "processes": world.ranks,
        "compute": str(compute),
    }
    world.once(lambda: run.finish(card))
    return run


def build(settings: TranslateSettings, compute: Compute) -> TrainingTask:
    """The family of `settings` as it is trained: averaged where wanted, on the path of `compute`."""
    trainee = family_of(settings.family).build(settings, compute.device)
    names = tuple(name for name in trainee.networks if name in ("G1", "G2", "S"))
    return accelerate(averaged(trainee, names, settings.ema), compute)


def _card(
    out: Path,
    data: TrainingData,
    slices: Slices,
    trainee: TrainingTask,
    done: TrainerState,
    settings: TranslateSettings,
    compute: Compute,
) -> dict[str, Any]:
    best, networks = None, {}
    forth = "G1" if settings.source == "ct" else "G2"
    if done.best_step is not None:
        found = checkpoint.load(checkpoint.best_at(out / "checkpoints", done.best_step))
        networks = found["networks"]
        best = {**done.best, "weights_sha256": checkpoint.weights_hash(networks)}
    last = {name: network.state_dict() for name, network in trainee.model.items()}
    return {
        "family": settings.family,
        "settings": settings.model_dump(mode="json"),
        "weights_sha256": checkpoint.weights_hash(last),
        "best": best,
        "parameters": {name: parameters(network) for name, network in trainee.networks.items()},
        "data": {side: data_card(out, data, side, slices[side]) for side in data.stores},
        # So that a translation can be compared with the training: its input, and its output.
        "fingerprint": training_fingerprint(data, slices, trainee.model[forth], settings, compute, networks.get(forth)),
        "stack_mm": stack_mm(data, settings) if settings.stack > 1 else None,
        "held_out": sorted(data.held_out),
        "people": data.people.card(),
        "split": split_in_words(settings),
        "leaking": settings.split == "slice",
        "alarms": done.alarms,
        "steps": done.step,
        "stopped_early": done.over,
        "seconds": round(done.seconds, 1),
    }
