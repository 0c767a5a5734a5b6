"""Training and testing a segmenter: stores in, a finished run folder with scores and predictions out."""

import logging
from pathlib import Path

from crossmod.data.batches import LabelledBatches
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import accelerate, choose, describe_device
from crossmod.engine.distributed import World, launched
from crossmod.engine.loop import Plan, fit
from crossmod.engine.memory import fitting
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import parameters
from crossmod.machine import is_small
from crossmod.runs import Run, is_run, start_run
from crossmod.segment.chosen import Chosen, choose_cases
from crossmod.segment.model import KIND
from crossmod.segment.predict import THRESHOLD, predict, score
from crossmod.segment.segmenter import build
from crossmod.segment.tested import by_case, data_card, write_predictions
from crossmod.settings import BEFORE_FRAMES, Machine, SegmentSettings

log = logging.getLogger(__name__)


def train_segmenter(
    out: Path,
    *,
    real: Path,
    synthetic: Path | None = None,
    settings: SegmentSettings,
    machine: Machine | None = None,
) -> Run:
    """Train on real slices, with `settings.count` synthetic ones added, and test on held-out real ones.

    An unfinished run is continued, a finished one left alone.

    Args:
        out: the run folder.
        real: store with labelled real cases.
        synthetic: store with synthetic cases, needed where `settings.count` is not 0.
        settings: all that decides the result.
        machine: where and how to compute.

    Raises:
        InputError: a store without what is wanted, fewer synthetic slices than `count`, synthetic slices of a model
            that saw a test patient, or `out` is something else.
    """
    chosen = choose_cases(real, synthetic, settings)
    machine = machine or Machine()
    for line in chosen.people.lines:
        log.info("%s", line)
    with launched(machine, small=is_small(settings)) as world, fitting(out, settings.batch_size, settings.size):
        return _train(out, chosen, machine, world)


def _train(out: Path, chosen: Chosen, machine: Machine, world: World) -> Run:
    settings = chosen.settings
    plain = settings.model_dump(mode="json")
    earlier = {**SegmentSettings().model_dump(mode="json"), **BEFORE_FRAMES}

    def begin() -> Run:
        return start_run(out, KIND, plain, chosen.inputs, unknown=earlier)

    # The first process may have made the folder by the time that another one looks.
    if world.once(lambda: is_run(out) and begin().finished):
        log.info("%s is finished already.", out)
        return Run(out)
    # Everything that can be refused is refused before the run folder is made.
    sides = chosen.load()
    run = world.once(begin)
    compute = choose(world.device, settings.precision, ranks=world.ranks, blocks=False)
    log.info("Computing on %s: %s. %s", describe_device(world.device), compute, " ".join(compute.why))
    trainee = accelerate(averaged(build(settings, world.device), ("segmenter",), settings.ema), compute)
    batches = LabelledBatches(sides.parts, settings, world.device, rank=world.rank, ranks=world.ranks)
    plan = Plan(
        f"Training {settings.network} on {len(sides.train) if sides.train else 0} real + {settings.count} synthetic",
        settings.epochs,
        settings.seed,
        steps=settings.steps,
        schedule=settings.schedule,
        minutes=machine.checkpoint_minutes,
        keep=machine.keep,
    )
    done = fit(trainee, batches, run, plan, world)
    card = {
        "settings": settings.model_dump(mode="json"),
        "weights_sha256": weights_hash({"segmenter": trainee.model["segmenter"].state_dict()}),
        "parameters": parameters(trainee.networks["segmenter"]),
        "data": data_card(out, chosen, sides),
        "tested": by_case(sides.test),
        "leaking": settings.split == "slice",
        "alarms": done.alarms,
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "seconds_per_epoch": round(done.seconds * batches.steps / done.step, 2),
        "device": describe_device(world.device),
        "threads": done.threads,
        "processes": world.ranks,
        "compute": str(compute),
    }

    def finish() -> None:
        with compute.inference():
            found = predict(trainee.model["segmenter"], sides.test, world.device)
        write_predictions(run.path / "predictions", chosen, sides.test, found.probability >= THRESHOLD)
        scores = score(sides.test, found.probability, chosen.real)
        run.finish({**card, "scores": scores, "slices_per_second": round(found.slices_per_second, 1)})

    world.once(finish)
    return run
