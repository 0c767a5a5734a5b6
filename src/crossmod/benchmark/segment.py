"""`crossmod bench segment`: a training step of the U-Net, and its prediction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from torch import nn

from crossmod.benchmark.compare import BenchmarkPlan, Outcome, Way, Work, compare, plain, silently
from crossmod.benchmark.options import SegmentBench, preset_in_words, segment_settings
from crossmod.benchmark.result import Bench, Comparison
from crossmod.benchmark.session import FIRST, STEPS, rates, reference_path, report, session, slice_set
from crossmod.benchmark.train import stepping, with_reading
from crossmod.data.batches import LabelledBatches
from crossmod.engine.cuda_graph import WARM
from crossmod.engine.device import Compute, accelerate, choose
from crossmod.engine.optimizers import averaged
from crossmod.engine.state import TrainingTask
from crossmod.segmentation.model import build
from crossmod.segmentation.predict import predict
from crossmod.settings import SegmentSettings

SLICES = 100

# Slices of one timed prediction: some batches of 8, also where they take a second each.
PREDICTED = {"cpu": 8, "cuda": 128}


def bench_segment(options: SegmentBench) -> Bench:
    """Time training steps and predictions of a segmenter on slices of noise."""
    with session(options) as device:
        settings = segment_settings(options, gpu=device.type == "cuda")
        compute = choose(device, settings.precision, blocks=False)
        found, steps = rates(compute), options.steps or STEPS[device.type]
        made = [_training(settings, compute, steps, found), _prediction(settings, compute, steps, found)]
        notes = [
            preset_in_words(options, gpu=device.type == "cuda"),
            "The reference: the same network and loss, channels not last, torch.optim.Adam as it comes.",
            "Dropout is off in the steps that are compared: the two would draw different positions.",
            *compute.why,
        ]
        size = f"{settings.network}, {settings.size} px, batch {settings.batch_size}"
        return report("segment", size, device, found, made, notes)


def _training(settings: SegmentSettings, compute: Compute, steps: int, found: dict[str, float]) -> Comparison:
    device = compute.device
    # Whole batches: another size would not be the recorded step.
    count = max(1, SLICES // settings.batch_size) * settings.batch_size
    slices = slice_set("mr", count, settings.size, classes=1 + len(settings.organs))
    batches = LabelledBatches((slices,), settings, device)
    # Before a step is recorded: what is recorded is to have its dropout.
    checked = min(FIRST[device.type], WARM)

    def work(task: TrainingTask) -> Work:
        return _without_dropout(stepping(task, batches, settings.seed, device), task, checked)

    def shipped() -> Work:
        return work(accelerate(averaged(build(settings, device), ("segmenter",), settings.ema), compute))

    plan = BenchmarkPlan(
        work="a training step",
        device=device,
        steps=steps,
        warm=FIRST[device.type],
        checked=checked,
        outcome=f"the loss, and how far the network moved, in the first {checked} steps",
        slices=settings.batch_size,
    )
    ways = (
        Way(reference_path(device), "fp32", lambda: work(plain(build(settings, device)))),
        Way(f"{compute}, fused Adam", compute.precision, shipped),
    )
    return with_reading(compare(plan, *ways, found), batches, device)


def _without_dropout(work: Work, task: TrainingTask, first: int) -> Work:
    def step(number: int) -> Callable[[], Outcome]:
        with _no_dropout(task) if number < first else nullcontext():
            return work(number)

    return step


@contextmanager
def _no_dropout(task: TrainingTask) -> Iterator[None]:
    layers = [layer for network in task.networks.values() for layer in network.modules()]
    shares = {layer: layer.p for layer in layers if isinstance(layer, nn.Dropout)}
    for layer in shares:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, share in shares.items():
            layer.p = share


def _prediction(settings: SegmentSettings, compute: Compute, steps: int, found: dict[str, float]) -> Comparison:
    device = compute.device
    tested = slice_set("tested", PREDICTED[device.type], settings.size)

    def work(network: nn.Module, path: Compute) -> Work:
        def step(number: int) -> Callable[[], Outcome]:
            with path.inference():
                probability = silently(lambda: predict(network, tested, device)).probability
            return lambda: {"probability": probability}

        return step

    def shipped() -> Work:
        return work(accelerate(build(settings, device), compute).model["segmenter"], compute)

    plan = BenchmarkPlan(
        work="a prediction",
        device=device,
        steps=steps,
        warm=2,
        checked=1,
        outcome="the probabilities, with the same weights",
        slices=len(tested),
        unit="slice",
    )

    def reference() -> Work:
        return work(build(settings, device).networks["segmenter"], Compute(device))

    ways = (
        Way(reference_path(device), "fp32", reference),
        Way(str(replace(compute, graphs=False)), compute.precision, shipped),
    )
    return compare(plan, *ways, found)
