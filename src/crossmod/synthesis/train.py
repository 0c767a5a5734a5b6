"""Training a translator: stores in, a finished run folder out, with the fingerprint of what it was trained on."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

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
from crossmod.engine.logger import finished_run, training_card
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.memory import fitting
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import TrainingTask, parameters
from crossmod.errors import InputError
from crossmod.machine import is_small
from crossmod.metrics.fingerprint import MOST_PATIENTS, CaseGrid, Fingerprint, Training, fingerprint
from crossmod.runs import BestEpochCard, Run, TranslatorCard, start_training
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis.families import family_of
from crossmod.synthesis.judge import load_judge
from crossmod.synthesis.train_control import refuse_unsuited, train_control
from crossmod.synthesis.train_segmentor import found_by, judge_slices, train_judge, train_segmentor
from crossmod.synthesis.training_data import (
    Slices,
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

log = logging.getLogger(__name__)


def train_translator(
    out: Path,
    *,
    ct: Path | Sequence[Path],
    mr: Path | Sequence[Path],
    settings: TranslateSettings,
    machine: Machine | None = None,
) -> Run:
    """Train a translator between CT and MR; an unfinished run is continued, a finished one left alone. The target side
    is divided by the split; people held out there are not trained on, on either side."""
    machine = machine or Machine()
    with launch_processes(machine, small=is_small(settings)) as world, fitting(out, settings.batch_size, settings.size):
        otherwise = "--split none trains on all patients."
        data = divide({"ct": open_stores(ct), "mr": open_stores(mr)}, settings, otherwise=otherwise)
        for line in data.people.lines:
            log.info("%s", line)
        return _train(out, data, settings, machine, world)


def _train(out: Path, data: TrainingData, asked: TranslateSettings, machine: Machine, world: Distributed) -> Run:
    settings, measured = framed(data, asked)
    family = family_of(settings.family)
    if len(settings.mr_inputs) > 1 and not family.several_inputs:
        found = f"{family.title} and several inputs ({', '.join(settings.inputs)})"
        do = "Use --family multi_input, or give one input."
        raise InputError("--inputs", found=found, expected="a family of several inputs", do=do)
    if family.control is not None:
        refuse_unsuited(family.control, data, settings)
    start = partial(start_training, out, KIND, settings, data.inputs)
    if finished := finished_run(out, start, world):
        return finished
    if family.control is not None:
        return train_control(out, data, settings, measured, start, world)
    # Everything that can be refused is refused before the run folder is made.
    slices: Slices = {side: training_slices(data, side, settings) for side in data.stores}
    scored: Slices = {side: scored_slices(data, side, settings) for side in data.stores if settings.select_every}
    of_judge = judge_slices(data, settings) if settings.judge else None
    run = world.once(start)
    compute = choose(world.device, settings.precision, settings.compile, size=settings.size, ranks=world.ranks)
    log.info("Computing on %s: %s. %s", describe_device(world.device), compute, " ".join(compute.why))
    S = train_segmentor(out, data, settings, machine, world) if family.segmentor_first else None
    if S is not None:
        slices = {**slices, settings.target: found_by(S, slices, settings, world.device)}
    judge_card = train_judge(out, *of_judge, data, settings, machine, world) if of_judge else None
    judge = load_judge(out, judge_card, sorted(data.held_out), world.device) if judge_card else None
    trainee = build(settings, compute, S)
    batches = UnpairedBatches(
        slices["ct"], slices["mr"], settings, world.device, rank=world.rank, ranks=world.ranks,
        # Of whole scans the ends of the organs are not known.
        matched=family.segmentor_first and settings.slices != "all",
    )  # fmt: skip
    plan = TrainingPlan(
        f"Training {settings.family}",
        settings.epochs,
        settings.seed,
        decay=settings.decay,
        patience=settings.patience,
        minutes=machine.checkpoint_minutes,
        keep=machine.keep,
    )
    validator = Validator(trainee, settings, compute, run.path / "samples", slices, scored, judge)
    done = fit(trainee, batches, run, plan, world, validator)
    forth = settings.generators[0]
    best, weights = _best(out, done.best)
    card: TranslatorCard = {
        "family": settings.family,
        **training_card(done, batches.steps, settings, compute, world),
        "weights_sha256": checkpoint.weights_hash(
            {name: network.state_dict() for name, network in trainee.model.items()}
        ),
        "best": best,
        "parameters": {name: parameters(network) for name, network in trainee.networks.items()},
        "data": {side: data_card(out, data, side, slices[side]) for side in data.stores},
        # Translations are compared with it: their input, and their output.
        "fingerprint": _fingerprint(
            data, slices, trainee.model[forth], settings, compute, weights.get(forth)
        ).model_dump(mode="json", exclude_unset=True),
        "stack_mm": stack_mm(data, settings) if settings.stack > 1 else None,
        "held_out": sorted(data.held_out),
        "people": data.people.card(),
        "split": split_in_words(settings),
        "stopped_early": done.over,
        "extents": measured,
    }
    if judge_card is not None and (found := validator.judged()) is not None:
        card["judge"] = {**judge_card, "dice": found.dice, "shift": found.shift}
    world.once(lambda: run.finish(card))
    return run


def build(settings: TranslateSettings, compute: Compute, S: Mapping[str, Tensor] | None = None) -> TrainingTask:
    """The family of `settings` as it is trained: with averages if requested, on the path of `compute`. `S`: the weights
    of a segmentor that was trained before."""
    trainee = family_of(settings.family).build(settings, compute.device)
    if S is not None:
        checkpoint.load_weights(trainee.networks["S"], dict(S), "S", settings.family)
    averages = ("G1", "G2") if family_of(settings.family).segmentor_first else ("G1", "G2", "S")
    names = tuple(name for name in trainee.networks if name in averages)
    return accelerate(averaged(trainee, names, settings.ema), compute)


def _best(out: Path, best: Mapping[str, float]) -> tuple[BestEpochCard | None, Mapping[str, dict[str, Tensor]]]:
    """The best epoch and its weights by network; nothing if epochs were not scored."""
    if not best:
        return None, {}
    networks = checkpoint.load(checkpoint.best_at(out / "checkpoints", int(best["step"])))["networks"]
    sha256 = checkpoint.weights_hash(networks)
    step, epoch = int(best["step"]), int(best["epoch"])
    return {"score": best["score"], "step": step, "epoch": epoch, "weights_sha256": sha256}, networks


def _fingerprint(
    data: TrainingData,
    slices: Slices,
    generator: nn.Module,
    settings: TranslateSettings,
    compute: Compute,
    best: Mapping[str, Tensor] | None,
) -> Fingerprint:
    """What the images of a training look like, and the output of its generator, with the `best` weights if given."""
    last = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    was_training = generator.training
    if best is not None:
        # In place and restored afterwards: a compiled network cannot be copied.
        checkpoint.load_weights(generator, dict(best), "generator", "fingerprint")
    generator.eval()

    def translate(images: Float32[np.ndarray, "n images size size"]) -> Float32[np.ndarray, "n size size"]:
        return apply(generator, None, images, compute)[0]

    training = Training(
        source=slices[settings.source][:: settings.stack],
        stacks=slices[settings.source],
        target=slices[settings.target][0],
        organs=_labelled(data, settings.target, settings),
        grids=_grids(data, settings),
        translate=translate,
    )
    try:
        with compute.inference():
            described = fingerprint(training, settings)
    finally:
        generator.load_state_dict(last)
        generator.train(was_training)
    return described.model_copy(update={"made_epoch": "last" if best is None else "best"})


def _grids(data: TrainingData, settings: TranslateSettings) -> dict[str, CaseGrid]:
    """Of the first input of each case."""
    grids = {}
    for case in (group.first for groups in data.train.values() for group in groups):
        field = max(case.shape[axis] * case.spacing[axis] for axis in (1, 2))
        side = field if settings.frame == "stretch" else settings.size * settings.pixel_mm
        grids[case.id] = CaseGrid(pixels=round(side / min(case.spacing[1:])), pixel_mm=side / settings.size)
    return grids


def _labelled(data: TrainingData, target: Modality, settings: TranslateSettings) -> SliceSet | None:
    """Slices of the target that show the organs, if some of its training cases have labels of them all; not trained
    on."""
    cases = [group.first for group in data.train[target]]
    known = [case for case in cases if set(settings.organs) <= set(case.labels.values())][:MOST_PATIENTS]
    if not known:
        return None
    scale = training_scale(settings)
    try:
        return load_slices(data.stores[target], known, settings, scale=scale, labelled=True, only_showing=True)
    except InputError:  # labels that mark nothing
        return None
