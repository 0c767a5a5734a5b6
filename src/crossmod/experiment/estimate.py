"""What a plan will cost, from a few steps of each kind of training on slices of noise: time, and room on the disk."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossmod.benchmark.session import slice_set
from crossmod.config import build as build_settings
from crossmod.data.batches import LabelledBatches, UnpairedBatches
from crossmod.engine.device import accelerate, choose, pick_device, wait_for
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import Batches, Trainee
from crossmod.engine.threads import computing_with, threads_for
from crossmod.experiment.jobs import Job, Kind
from crossmod.machine import is_small
from crossmod.progress import track
from crossmod.seeds import rng
from crossmod.segmentation import model as segmenter
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.synthesis import train

# Steps that are not timed, and those that are.
WARM, TIMED = 2, 4
# Of noise, more than a step takes.
SLICES = 16
# Adam holds two moments beside each weight.
COPIES = 3
# Bytes a pixel of a synthetic slice: float32 image, label, answer.
PIXEL = 6
# What does not depend on steps: starting, reading, testing.
FIXED_SECONDS = 3.0


@dataclass(frozen=True)
class Estimate:
    """Of what is left to do.

    Args:
        seconds: by kind of job, one job after another.
        bytes: on the disk.
        jobs: by kind, how many.
    """

    seconds: Mapping[Kind, float]
    bytes: int
    jobs: Mapping[Kind, int]


def estimate(jobs: Iterable[Job], root: Path, machine: Machine) -> Estimate:
    """Measure and add up; compiling is left out of the measurement and of the estimate.

    Args:
        jobs: all of a plan.
        root: folder of the experiment: what is finished there costs nothing more.
        machine: where it will be computed.
    """
    left = [job for job in jobs if not job.finished(root)]
    shapes = {_shape(job): job for job in left if job.kind != "synthesize"}
    rates = {shape: _measure(job, machine) for shape, job in track(shapes.items(), "Timing some steps")}
    by_name = {job.name: job for job in jobs}
    seconds: dict[Kind, float] = {}
    counts: dict[Kind, int] = {}
    room = 0
    for job in left:
        counts[job.kind] = counts.get(job.kind, 0) + 1
        if job.kind == "synthesize":
            model = by_name[job.needs["model"]]
            per_step, _ = rates.get(_shape(model), (0.0, 0))
            # One generator forward of the two forward and back of a step; an eighth is generous.
            took = job.work * per_step / 8
            room += job.work * PIXEL * int(model.settings["size"]) ** 2
        else:
            per_step, checkpoint = rates[_shape(job)]
            took = job.work * per_step
            room += checkpoint * machine.keep
        seconds[job.kind] = seconds.get(job.kind, 0.0) + took + FIXED_SECONDS
    return Estimate(seconds, room, counts)


# Jobs that differ in these alone take as long a step.
_ALIKE = frozenset(
    {"seed", "fold", "folds", "count", "train_patients", "test_patients", "source_patients", "min_consistency", "steps"}
    | {"same_people"}
)


def _shape(job: Job) -> str:
    return f"{job.kind} " + str(sorted((key, str(value)) for key, value in job.settings.items() if key not in _ALIKE))


def _measure(job: Job, machine: Machine) -> tuple[float, int]:
    """Seconds of a step, and bytes of a checkpoint."""
    device = pick_device(machine.device)
    kind = TranslateSettings if job.kind == "train" else SegmentSettings
    settings = build_settings(kind, dict(job.settings), subject=job.name)
    with computing_with(threads_for(machine, small=is_small(settings) and device.type == "cpu")):
        if isinstance(settings, TranslateSettings):
            return _timed(*_translator(settings, device), device)
        return _timed(*_segmenter(settings, device), device)


def _timed(trainee: Trainee, batches: Batches, seed: int, device: torch.device) -> tuple[float, int]:
    began = 0.0
    for step in range(WARM + TIMED):
        if step == WARM:
            wait_for(device)
            began = time.perf_counter()
        draws = {name: drawn.to(device) for name, drawn in trainee.draw(rng(seed, "estimate", step)).items()}
        trainee.step({**batches.batch(0, step % batches.steps), **draws})
    wait_for(device)
    numbers = sum(_numbers(network) for network in trainee.networks.values()) * COPIES
    numbers += sum(_numbers(network) for network in trainee.averages.values())
    return (time.perf_counter() - began) / TIMED, numbers * np.dtype(np.float32).itemsize


def _translator(s: TranslateSettings, device: torch.device) -> tuple[Trainee, Batches, int]:
    compute = choose(device, s.precision, "off", size=s.size)
    classes = 1 + len(s.organs) if s.family == "essnet" else 0
    many = {"ct": s.stack, "mr": s.stack * len(s.mr_inputs)}
    ct, mr = (
        tuple(
            slice_set(f"{side} {place}", SLICES, s.loaded, classes=classes if s.source == side and not place else 0)
            for place in range(count)
        )
        for side, count in many.items()
    )
    return train.build(s, compute), UnpairedBatches(ct, mr, s, device), s.seed


def _segmenter(s: SegmentSettings, device: torch.device) -> tuple[Trainee, Batches, int]:
    compute = choose(device, s.precision, blocks=False)
    trainee = accelerate(averaged(segmenter.build(s, device), ("segmenter",), s.ema), compute)
    return trainee, LabelledBatches((slice_set("mr", SLICES, s.size, classes=2),), s, device), s.seed


def _numbers(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
