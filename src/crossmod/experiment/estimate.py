"""The cost of a plan, and the effect that its design can detect.

The variances are those of earlier experiments (docs/log.md, in Dice): between the folds of 14 real patients, whose
translators and training sides differ, and, as the other end of the range, on the phantom. They differ for other data,
image sizes and trainings: the result is a range, and only a guide.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossmod.benchmark.session import slice_set
from crossmod.config import build as build_settings
from crossmod.data.batches import LabelledBatches, UnpairedBatches
from crossmod.engine.device import accelerate, choose, pick_device, wait_for
from crossmod.engine.distributed import computing_with, threads_for
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import Batches, TrainingTask
from crossmod.experiment.jobs import Job, Kind
from crossmod.experiment.plan import Plan
from crossmod.machine import is_small
from crossmod.progress import track
from crossmod.seeds import rng
from crossmod.segmentation import model as segmenter
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.statistics.arm_scores import fold_inflation
from crossmod.statistics.power import Luck, holm_level, smallest_effect
from crossmod.synthesis import train
from crossmod.synthesis.families import family_of
from crossmod.synthesis.train_segmentor import settings_of as segmentor_settings

# SD of the gain that the patients of a fold have in common: smallest on the phantom, largest on real patients.
FOLD_SD = (0.01, 0.06)
# Share of that variance which comes from the seed of the translator.
OF_SEED = 0.67
# SD of a patient's own gain, of the luck of a run, and of the residual of a patient in a run.
OWN_SD, RUN_SD, REST_SD = 0.03, 0.01, 0.02
# Of a fold.
LEAST_PATIENTS = 2


@dataclass(frozen=True)
class Size:
    """The size of an experiment."""

    patients: int  # tested on, all folds together
    folds: int  # tested on; 1 for a split by slice
    seeds: int  # of an arm in each fold
    arms: int  # the largest number of arms with one baseline
    retrain: bool  # whether each seed has its own translator


def size_of(plan: Plan) -> Size:
    """The size of a planned experiment."""
    baselines = [arm.baseline for arm in plan.arms.values() if arm.baseline is not None]
    return Size(
        patients=len({patient for people, _ in plan.tested.values() for patient in people}),
        folds=len(plan.tested),
        seeds=len(plan.design.seeds),
        arms=max((baselines.count(base) for base in set(baselines)), default=0),
        retrain=plan.design.retrain,
    )


def smallest(size: Size, fold_sd: float) -> float:
    """The smallest difference in Dice that is shown with 80 % power, at Holm's most conservative step."""
    # Of both arms: the luck of each run, and the residual of each patient in it.
    runs = 2 * (RUN_SD**2 / size.folds + REST_SD**2 / size.patients) / size.seeds
    if size.folds < 2:
        # The result holds for one translator, whose luck is thus not part of the variance.
        luck = Luck(runs, 2.0 * (size.seeds - 1))
    else:
        averaged = 1 - OF_SEED + OF_SEED / size.seeds if size.retrain else 1.0
        common = fold_sd**2 * averaged / size.folds
        luck = Luck(common + runs, size.folds - 1.0, of_folds=True, inflation=fold_inflation(size.folds))
    return smallest_effect(OWN_SD, size.patients, luck, level=holm_level(size.arms))


def detectable_in_words(size: Size) -> list[str]:
    """The detectable effect in sentences; none if there is nothing to compare."""
    if not size.arms:
        return []
    if size.seeds < 2 or size.patients < 2:
        few = "one seed per arm" if size.seeds < 2 else "one test patient"
        return [f"No effect can be shown with {few}, however large."]
    count = f"{size.patients} patients, {size.folds} fold{'s' * (size.folds > 1)}, {size.seeds} seeds"
    arms = f", {size.arms} arms after Holm's correction" if size.arms > 1 else ""
    lines = [f"Effects that {count}{arms} show with 80 % power: {_span(size)}. Smaller ones are likely to be missed."]
    if size.folds < 2:
        return [*lines, "With one fold the answer holds for its one trained translator only."]
    more = 2 * size.folds
    if more * LEAST_PATIENTS <= size.patients:
        lines.append(f"With {more} folds of the same patients: {_span(replace(size, folds=more))}.")
    low, high = FOLD_SD
    return [
        *lines,
        f"This assumes the variances of earlier experiments: an SD of {low:g} to {high:g} of the gain that the "
        f"patients of a fold have in common, and of {OWN_SD:g} of a patient's own gain.",
    ]


def _span(size: Size) -> str:
    low, high = (smallest(size, fold_sd) for fold_sd in FOLD_SD)
    if low >= 1:
        return "none, since a difference in 3D Dice is below 1"
    if size.folds < 2:
        return f"3D Dice by {low:.3f} or more"
    return f"3D Dice by {low:.3f} to {'more than 1' if high >= 1 else f'{high:.3f}'} or more"


# Steps that are not timed, and those that are.
WARM, TIMED = 2, 4
# Of noise, more than a step reads.
SLICES = 16
# Weights, and the two moments of Adam.
COPIES = 3
# Bytes per pixel of a synthetic slice: float32 image, label, prediction.
PIXEL = 6
# Time that does not depend on steps: starting, reading, testing.
FIXED_SECONDS = 3.0


@dataclass(frozen=True)
class Estimate:
    """The cost of the unfinished jobs."""

    seconds: Mapping[Kind, float]  # by kind of job, one job after another
    bytes: int
    jobs: Mapping[Kind, int]  # by kind, their number


def estimate(jobs: Iterable[Job], root: Path, machine: Machine) -> Estimate:
    """Time some steps, and add up the time of all unfinished jobs, without that of compiling."""
    left = [job for job in jobs if not job.finished(root)]
    # Controls have no steps.
    shapes = {_shape(job): job for job in left if job.kind != "synthesize" and job.work}
    rates = {shape: _measure(job, machine) for shape, job in track(shapes.items(), "Timing some steps")}
    before = {shape: _before(job, machine) for shape, job in shapes.items() if job.kind == "train"}
    by_name = {job.name: job for job in jobs}
    seconds: dict[Kind, float] = {}
    counts: dict[Kind, int] = {}
    room = 0
    for job in left:
        counts[job.kind] = counts.get(job.kind, 0) + 1
        if job.kind == "synthesize":
            model = by_name[job.needs["model"]]
            per_step, _ = rates.get(_shape(model), (0.0, 0))
            # A forward pass of one generator; a step has two forward and backward passes, so that an eighth is enough.
            took = job.work * per_step / 8
            room += job.work * PIXEL * int(model.settings["size"]) ** 2
        else:
            per_step, checkpoint = rates.get(_shape(job), (0.0, 0))
            took = job.work * per_step + before.get(_shape(job), 0.0)
            room += checkpoint * machine.keep
        seconds[job.kind] = seconds.get(job.kind, 0.0) + took + FIXED_SECONDS
    return Estimate(seconds, room, counts)


# Settings that do not change the time of a step.
_ALIKE = frozenset(
    {"seed", "fold", "folds", "count", "train_patients", "test_patients", "source_patients", "min_consistency", "steps"}
    | {"same_people"}
)


def _shape(job: Job) -> str:
    return f"{job.kind} " + str(sorted((key, str(value)) for key, value in job.settings.items() if key not in _ALIKE))


def _measure(job: Job, machine: Machine) -> tuple[float, int]:
    """Seconds per step, and bytes of a checkpoint."""
    device = pick_device(machine.device)
    kind = TranslateSettings if job.kind == "train" else SegmentSettings
    settings = build_settings(kind, dict(job.settings), subject=job.name)
    with computing_with(threads_for(machine, small=is_small(settings) and device.type == "cpu")):
        if isinstance(settings, TranslateSettings):
            return _timed(*_translator(settings, device), device)
        return _timed(*_segmenter(settings, device), device)


def _before(job: Job, machine: Machine) -> float:
    """Seconds for what is trained before a translator: the segmentor of some families, and the judge."""
    settings = build_settings(TranslateSettings, dict(job.settings), subject=job.name)
    networks = family_of(settings.family).segmentor_first + (settings.judge is not None)
    if not networks:
        return 0.0
    device, own = pick_device(machine.device), segmentor_settings(settings)
    with computing_with(threads_for(machine, small=is_small(own) and device.type == "cpu")):
        per_step, _ = _timed(*_segmenter(own, device), device)
    return networks * per_step * own.steps


def _timed(task: TrainingTask, batches: Batches, seed: int, device: torch.device) -> tuple[float, int]:
    began = 0.0
    for step in range(WARM + TIMED):
        if step == WARM:
            wait_for(device)
            began = time.perf_counter()
        draws = {name: drawn.to(device) for name, drawn in task.draw(rng(seed, "estimate", step)).items()}
        task.step({**batches.batch(0, step % batches.steps), **draws})
    wait_for(device)
    numbers = sum(_weights(network) for network in task.networks.values()) * COPIES
    numbers += sum(_weights(network) for network in task.averages.values())
    return (time.perf_counter() - began) / TIMED, numbers * np.dtype(np.float32).itemsize


def _translator(s: TranslateSettings, device: torch.device) -> tuple[TrainingTask, Batches, int]:
    compute = choose(device, s.precision, "off", size=s.size)
    classes = 1 + len(s.organs) if family_of(s.family).segmentor else 0
    many = {"ct": s.stack, "mr": s.stack * len(s.mr_inputs)}
    ct, mr = (
        tuple(
            slice_set(f"{side} {place}", SLICES, s.loaded, classes=classes if s.source == side and not place else 0)
            for place in range(count)
        )
        for side, count in many.items()
    )
    return train.build(s, compute), UnpairedBatches(ct, mr, s, device), s.seed


def _segmenter(s: SegmentSettings, device: torch.device) -> tuple[TrainingTask, Batches, int]:
    compute = choose(device, s.precision, blocks=False)
    task = accelerate(averaged(segmenter.build(s, device), ("segmenter",), s.ema), compute)
    return task, LabelledBatches((slice_set("mr", SLICES, s.size, classes=1 + len(s.organs)),), s, device), s.seed


def _weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
