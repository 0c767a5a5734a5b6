"""Training and testing a segmenter: stores in, a finished run folder with scores and predictions out."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.data.batches import LabelledBatches
from crossmod.data.resample import to_size
from crossmod.data.slices import SliceSet, class_map, draw_evenly, load_slices
from crossmod.data.splits import split_in_words, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import take_slices
from crossmod.engine.average import averaged
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.compute import accelerate, choose
from crossmod.engine.device import describe_device
from crossmod.engine.loop import Plan, fit
from crossmod.engine.trainee import parameters
from crossmod.engine.world import World, launched
from crossmod.errors import InputError
from crossmod.runs import Run, is_run, start_run
from crossmod.seeds import derive
from crossmod.segment.predict import THRESHOLD, predict, score
from crossmod.segment.segmenter import build
from crossmod.settings import Machine, SegmentSettings

log = logging.getLogger(__name__)

KIND = "segment"


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
    if (synthetic is None) != (settings.count == 0):
        found = f"--count {settings.count} and {'no' if synthetic is None else 'a'} --synthetic store"
        raise InputError("segment", found=found, wanted="both or neither", do="Give the other one too.")
    machine = machine or Machine()
    with launched(machine) as world:
        return _train(out, Store(real), Store(synthetic) if synthetic else None, settings, machine, world)


def _train(
    out: Path, store: Store, extra: Store | None, settings: SegmentSettings, machine: Machine, world: World
) -> Run:
    sequence = settings.sequence if settings.modality == "mr" else None
    # The folds are those of all patients, labelled or not, as they are for a translator.
    patients = [case.patient for case in store.select(settings.modality, sequence=sequence)]
    cases = store.select(settings.modality, sequence=sequence, organ=settings.organs[0])
    extra_cases = extra.select_synthetic(settings.modality, settings.organs[0]) if extra is not None else ()
    inputs = {
        "real": {case.id: case.sha256 for case in cases},
        "synthetic": {case.id: case.sha256 for case in extra_cases},
    }
    plain = settings.model_dump(mode="json")
    # The first process may have made the folder by the time that another one looks.
    if world.once(lambda: is_run(out) and start_run(out, KIND, plain, inputs).finished):
        log.info("%s is finished already.", out)
        return Run(out)
    # Everything that can be refused is refused before the run folder is made.
    train, test = _divide(load_slices(store, cases, settings, size=settings.size, labelled=True), patients, settings)
    parts = [] if settings.without_real else [train]
    if extra is not None:
        tested = {case.sha256 for case in cases if case.id in test.intensities}
        _check_for_leaks(extra, extra_cases, set(test.patients), tested, settings)
        parts.append(_synthetic(extra, extra_cases, settings))
    run = world.once(lambda: start_run(out, KIND, plain, inputs))
    compute = choose(world.device, settings.precision, ranks=world.ranks, blocks=False)
    log.info("Computing on %s: %s. %s", describe_device(world.device), compute, " ".join(compute.why))
    trainee = accelerate(averaged(build(settings, world.device), ("segmenter",), settings.ema), compute)
    batches = LabelledBatches(tuple(parts), settings, world.device, rank=world.rank, ranks=world.ranks)
    plan = Plan(
        f"Training {settings.network} on {0 if settings.without_real else len(train)} real + {settings.count} synthetic",
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
        "data": _data_card(out, store, None if settings.without_real else train, test, extra, extra_cases),
        "tested": _by_case(test),
        "leaking": settings.split == "slice",
        "alarms": done.alarms,
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "seconds_per_epoch": round(done.seconds * batches.steps / done.step, 2),
        "device": describe_device(world.device),
        "processes": world.ranks,
        "compute": str(compute),
    }

    def finish() -> None:
        with compute.inference():
            found = predict(trainee.model["segmenter"], test, world.device)
        _write_predictions(run.path / "predictions", store, cases, test, found.probability >= THRESHOLD, settings)
        scores = score(test, found.probability, cases)
        run.finish({**card, "scores": scores, "slices_per_second": round(found.slices_per_second, 1)})

    world.once(finish)
    return run


def _divide(slices: SliceSet, patients: Sequence[str], settings: SegmentSettings) -> tuple[SliceSet, SliceSet]:
    train, test = split_slices(slices, settings, patients)
    showing = set(slices.showing_organ())
    if settings.train_on == "organ":
        train = [index for index in train if index in showing]
    if settings.test_on == "organ":
        test = [index for index in test if index in showing]
    for side, option, indexes in (("training", "--train-on all", train), ("test", "--test-on all", test)):
        if not any(index in showing for index in indexes):
            found = f"no {side} slice that shows {settings.organs[0]}"
            raise InputError(
                "the split", found=found, wanted="some on both sides", do=f"Use another --fold, or {option}."
            )
    return slices.take(draw_evenly(slices, train, settings.real_slices, settings.seed)), slices.take(test)


def _check_for_leaks(
    store: Store, cases: Sequence[CaseRecord], patients: set[str], tested: set[str], settings: SegmentSettings
) -> None:
    """Refuse synthetic slices of a model that saw what is tested on, under whatever name."""
    for case in cases:
        assert case.synthetic is not None
        if settings.split == "slice":
            if case.synthetic.split != split_in_words(settings):
                raise InputError(
                    store.path,
                    found=f"slices of {case.synthetic.run}, trained by another split ({case.synthetic.split})",
                    wanted=f"the same split ({split_in_words(settings)})",
                    do="Train the translator with the same --split, --test-slices and --split-seed.",
                )
            continue
        seen = sorted(patients & {case.patient, *case.synthetic.trained_on})
        again = tested & set(case.synthetic.trained_cases)
        if seen or again:
            who = f"the test patients {', '.join(seen)}" if seen else f"{len(again)} test cases under other names"
            raise InputError(
                store.path,
                found=f"slices of the model {case.synthetic.run}, which saw {who}",
                wanted="each patient on one side of the split",
                do="Train the translator with the same --folds, --fold and --split-seed, then synthesize anew.",
            )


def _synthetic(store: Store, cases: Sequence[CaseRecord], settings: SegmentSettings) -> SliceSet:
    slices = load_slices(store, cases, settings, size=settings.size, labelled=True)
    origins = [origin.consistency for case in cases if case.synthetic for origin in case.synthetic.slices]
    if settings.min_consistency > 0 and None in origins:
        found = "slices without a consistency, from a model without a segmentor"
        raise InputError(store.path, found=found, wanted="essnet slices", do="Leave --min-consistency out.")
    good = [i for i, score in enumerate(origins) if score is None or score >= settings.min_consistency]
    if settings.count > len(good):
        raise InputError(
            f"--count {settings.count}",
            found=f"{len(good)} synthetic slices in {store.path}"
            + (f" with a consistency of {settings.min_consistency} or more" if settings.min_consistency else ""),
            wanted=f"a count up to {len(good)}",
            do="Lower --count, or synthesize from more labelled cases.",
        )
    return slices.take(draw_evenly(slices, good, settings.count, derive(settings.seed, "synthetic")))


def _write_predictions(
    path: Path, store: Store, cases: Sequence[CaseRecord], test: SliceSet, answer: np.ndarray, settings: SegmentSettings
) -> None:
    """A store of the tested slices: image, truth and answer."""
    # A run that was killed here before left a part of it.
    shutil.rmtree(path, ignore_errors=True)
    tested = _by_case(test)
    with writing_store(path) as writer:
        for record in cases:
            if record.id not in tested:
                continue
            rows = [i for i, key in enumerate(test.keys) if key.case == record.id]
            volume = to_size(store.read(record.id), settings.size)
            truth = class_map(volume, settings.organs, record.id)
            volume = replace(volume, labels=truth, label_names=dict(enumerate(settings.organs, start=1)))
            part = take_slices(volume, tested[record.id])
            writer.add(record.id, part, patient=record.patient, answer=answer[rows].astype(np.uint8))


def _by_case(slices: SliceSet) -> dict[str, list[int]]:
    """The slices of each case, in their order."""
    found: dict[str, list[int]] = {}
    for key in slices.keys:
        found.setdefault(key.case, []).append(key.slice)
    return found


def _data_card(
    out: Path, store: Store, train: SliceSet | None, test: SliceSet, extra: Store | None, extra_cases: Sequence[CaseRecord]
) -> dict[str, Any]:
    made = [case.synthetic for case in extra_cases if case.synthetic]
    families, runs = sorted({one.family for one in made}), sorted({one.run for one in made})
    return {
        "real": os.path.relpath(store.path, out),
        "synthetic": os.path.relpath(extra.path, out) if extra else None,
        "synthetic_family": " + ".join(families) or None,
        "synthetic_run": " + ".join(runs) or None,
        "synthetic_models": sorted({one.model for one in made}),
        "synthetic_recipe": " + ".join(sorted({one.recipe for one in made})) or None,
        "train_slices": len(train) if train else 0,
        "train_patients": list(train.patients) if train else [],
        "test_slices": len(test),
        "test_patients": list(test.patients),
    }
