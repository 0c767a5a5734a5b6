"""`crossmod bench train`: a training step of a translator."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.benchmark.compare import BenchmarkPlan, Outcome, Way, Work, compare, plain
from crossmod.benchmark.hardware import timed
from crossmod.benchmark.options import TranslateBench, preset_in_words, translate_settings
from crossmod.benchmark.result import Bench, Comparison
from crossmod.benchmark.session import FIRST, STEPS, rates, reference_path, report, session, slice_set
from crossmod.data.batches import UnpairedBatches
from crossmod.engine.device import choose
from crossmod.engine.state import Batches, TrainingTask
from crossmod.seeds import rng
from crossmod.settings import TranslateSettings
from crossmod.synthesis.families import family_of
from crossmod.synthesis.train import build

# Slices of each modality: an epoch long enough that what it draws at its beginning is spread as in a training.
SLICES = 100
FETCHES = 25


def bench_train(options: TranslateBench) -> Bench:
    """Time training steps of a translator on slices of noise."""
    with session(options) as device:
        settings = translate_settings(options, gpu=device.type == "cuda")
        compute = choose(device, settings.precision, settings.compile, size=settings.size)
        found, batches = rates(compute), _batches(settings, device)
        reference = Way(
            reference_path(device),
            "fp32",
            lambda: stepping(plain(family_of(settings.family).build(settings, device)), batches, settings.seed, device),
        )
        shipped = Way(
            f"{compute}, fused Adam",
            compute.precision,
            lambda: stepping(build(settings, compute), batches, settings.seed, device),
        )
        plan = BenchmarkPlan(
            work="a training step",
            device=device,
            steps=options.steps or STEPS[device.type],
            warm=FIRST[device.type],
            checked=FIRST[device.type],
            outcome=f"all losses, and how far each network moved, in the first {FIRST[device.type]} steps",
            slices=settings.batch_size,
        )
        made = with_reading(compare(plan, reference, shipped, found), batches, device)
        notes = [
            preset_in_words(options, gpu=device.type == "cuda"),
            "Slices per second are of each modality.",
            "The reference: the same networks and losses, eager, channels not last, torch.optim.Adam as it comes.",
            *compute.why,
        ]
        return report("train", size_in_words(settings), device, found, [made], notes)


def size_in_words(settings: TranslateSettings) -> str:
    """What is trained."""
    return (
        f"{settings.family}, {settings.size} px, {settings.generator_filters} filters, "
        f"{settings.generator_blocks} blocks, batch {settings.batch_size}"
    )


def _batches(settings: TranslateSettings, device: torch.device) -> UnpairedBatches:
    classes = {settings.source: 1 + len(settings.organs)} if family_of(settings.family).segmentor else {}
    ct, mr = (slice_set(side, SLICES, settings.loaded, classes=classes.get(side, 0)) for side in ("ct", "mr"))
    return UnpairedBatches(ct, mr, settings, device)


def stepping(task: TrainingTask, batches: Batches, seed: int, device: torch.device) -> Work:
    """Steps as the training loop takes them: draws, batch, step; their outcome is losses, and how far weights moved.

    Losses alone would not reveal a step that trains nothing. The weights themselves are no outcome: bf16 changes the
    first steps of Adam, which divides each gradient by its size, however small it is.
    """
    # On the host: they are not to count as the step's memory on a GPU.
    before = {name: _weights(network) for name, network in task.networks.items()}

    def work(step: int) -> Callable[[], Outcome]:
        epoch, within = divmod(step, batches.steps)
        draws = task.draw(rng(seed, "step", step, 0))
        sent = {name: drawn.to(device, non_blocking=True) for name, drawn in draws.items()}
        losses = task.step({**batches.batch(epoch, within), **sent})
        return lambda: {
            **losses,
            **{f"{name} moved": (_weights(net) - before[name]).norm() for name, net in task.networks.items()},
        }

    return work


def _weights(network: nn.Module) -> Float[Tensor, " weights"]:
    return torch.cat([weight.detach().cpu().flatten() for weight in network.parameters()])


def with_reading(comparison: Comparison, batches: Batches, device: torch.device) -> Comparison:
    """A comparison that also says what fetching the data of a step takes."""
    taken = [timed(lambda step: batches.batch(0, step % batches.steps), step, device) for step in range(FETCHES)]
    milliseconds = median(taken) * 1e3
    return replace(
        comparison, reading_milliseconds=milliseconds, reading_share=milliseconds / comparison.shipped.milliseconds
    )
