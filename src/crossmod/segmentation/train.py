"""Training and testing a segmenter: stores in, a finished run folder with scores and predictions out."""

import logging
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from crossmod.data.slices import SliceSet, class_map
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import take_slices
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import accelerate, choose, describe_device
from crossmod.engine.distributed import Distributed, launch_processes
from crossmod.engine.logger import finished_run, training_card
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.memory import fitting
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import parameters
from crossmod.machine import is_small
from crossmod.runs import AdaptedCard, Run, SegmenterCard, SegmenterDataCard, start_training
from crossmod.segmentation.adapt_batch_norm import adapt_run, refuse_without_batch_norm
from crossmod.segmentation.data import SegmentationData, Split, choose_cases
from crossmod.segmentation.model import build
from crossmod.segmentation.predict import KIND, predict
from crossmod.segmentation.several_organs import score_organs
from crossmod.segmentation.synthetic_use import batches_of
from crossmod.settings import Machine, SegmentSettings

log = logging.getLogger(__name__)


def train_segmenter(
    out: Path,
    *,
    real: Path,
    synthetic: Path | None = None,
    settings: SegmentSettings,
    machine: Machine | None = None,
) -> Run:
    """Train on real slices, with `settings.count` synthetic ones added, and test on held-out real ones; an unfinished
    run is continued, a finished one left alone."""
    chosen = choose_cases(real, synthetic, settings)
    machine = machine or Machine()
    for line in chosen.people.lines:
        log.info("%s", line)
    with launch_processes(machine, small=is_small(settings)) as world, fitting(out, settings.batch_size, settings.size):
        return _train(out, chosen, machine, world)


def _train(out: Path, chosen: SegmentationData, machine: Machine, world: Distributed) -> Run:
    settings = chosen.settings
    start = partial(start_training, out, KIND, settings, chosen.inputs)
    if finished := finished_run(out, start, world):
        return finished
    # Everything that can be refused is refused before the run folder is made.
    if settings.adapt_batch_norm:
        refuse_without_batch_norm(settings)
    sides = chosen.load()
    run = world.once(start)
    compute = choose(world.device, settings.precision, ranks=world.ranks, blocks=False)
    log.info("Computing on %s: %s. %s", describe_device(world.device), compute, " ".join(compute.why))
    trainee = accelerate(averaged(build(settings, world.device), ("segmenter",), settings.ema), compute)
    batches = batches_of(sides, settings, world.device, rank=world.rank, ranks=world.ranks)
    plan = TrainingPlan(
        f"Training {settings.network} on {len(sides.train) if sides.train else 0} real + {settings.count} synthetic",
        settings.epochs,
        settings.seed,
        steps=settings.steps,
        schedule=settings.schedule,
        minutes=machine.checkpoint_minutes,
        keep=machine.keep,
    )
    done = fit(trainee, batches, run, plan, world)
    network = trainee.model["segmenter"]

    def finish() -> None:
        adapted: AdaptedCard | None = None
        if settings.adapt_batch_norm:
            with compute.inference():
                adapted = adapt_run(network, run, done.step, chosen, sides.test, world.device)
        with compute.inference():
            prediction = predict(network, sides.test, world.device)
        write_predictions(run.path / "predictions", chosen, sides.test, prediction.answer)
        card: SegmenterCard = {
            **training_card(done, batches.steps, settings, compute, world),
            "weights_sha256": weights_hash({"segmenter": network.state_dict()}),
            "parameters": parameters(trainee.networks["segmenter"]),
            "data": data_card(out, chosen, sides),
            "tested": by_case(sides.test),
            "scores": score_organs(sides.test, prediction.answer, prediction.probability, settings.organs, chosen.real),
            "slices_per_second": round(prediction.slices_per_second, 1),
        }
        if adapted is not None:
            card["adapted"] = adapted
        run.finish(card)

    world.once(finish)
    return run


def write_predictions(
    path: Path, chosen: SegmentationData, test: SliceSet, answer: UInt8[np.ndarray, "slices size size"]
) -> None:
    """A store of the tested slices: image, truth and answer, with the organs numbered as in the settings."""
    settings = chosen.settings
    # A killed run may have left a part of it.
    shutil.rmtree(path, ignore_errors=True)
    tested = by_case(test)
    with writing_store(path) as writer:
        for record in chosen.real:
            if record.id not in tested:
                continue
            rows = [i for i, key in enumerate(test.keys) if key.case == record.id]
            volume = test.frame(record).place(chosen.store.read(record.id))
            truth = class_map(volume, settings.organs, record.id)
            volume = replace(volume, labels=truth, label_names=dict(enumerate(settings.organs, start=1)))
            part = take_slices(volume, tested[record.id])
            writer.add(record.id, part, patient=record.patient, person=record.person, answer=answer[rows])


def by_case(slices: SliceSet) -> dict[str, list[int]]:
    """The slices of each case, in their order."""
    cases: dict[str, list[int]] = {}
    for key in slices.keys:
        cases.setdefault(key.case, []).append(key.slice)
    return cases


def data_card(out: Path, chosen: SegmentationData, sides: Split) -> SegmenterDataCard:
    """The data in the card of the run in `out`."""
    models = [case.synthetic for case in chosen.synthetic if case.synthetic]
    train, test = sides.train, sides.test
    return {
        "real": os.path.relpath(chosen.store.path, out),
        "synthetic": os.path.relpath(chosen.extra.path, out) if chosen.extra else None,
        "synthetic_family": " + ".join(sorted({model.family for model in models})) or None,
        "synthetic_run": " + ".join(sorted({model.run for model in models})) or None,
        "synthetic_models": sorted({model.model for model in models}),
        "synthetic_recipe": " + ".join(sorted({model.recipe for model in models})) or None,
        "train_slices": len(train) if train else 0,
        "train_patients": list(train.patients) if train else [],
        "test_slices": len(test),
        "test_patients": list(test.patients),
        "people": chosen.people.card(),
    }
