"""`crossmod bench synthesize`: slices through a generator and its segmentor."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import nn

from crossmod.benchmark.compare import BenchmarkPlan, Outcome, Way, Work, compare
from crossmod.benchmark.options import TranslateBench, preset_in_words, translate_settings
from crossmod.benchmark.result import Bench
from crossmod.benchmark.session import STEPS, images, rates, reference_path, report, session
from crossmod.benchmark.train import size_in_words
from crossmod.engine.device import BATCH, Compute, batch_size, choose, prepare
from crossmod.networks.blocks import blocks, initialise
from crossmod.runs import TranslatorCard
from crossmod.seeds import derive
from crossmod.settings import TranslateSettings
from crossmod.synthesis.families import family_of
from crossmod.synthesis.translator import Translator

# Batches of one timed pass: enough that a GPU is kept busy from one to the next.
BATCHES = {"cpu": 1, "cuda": 4}
NEVER_COMPILED = {"cpu": ("On a CPU synthesis is never compiled: that takes longer than a store.",), "cuda": ()}


def bench_synthesize(options: TranslateBench) -> Bench:
    """Time the translation of slices of noise, with what S sees in them where the family has an S."""
    with session(options) as device:
        settings = translate_settings(options, gpu=device.type == "cuda")
        at_once = batch_size(device, settings.size)
        # As `load_translator` chooses it.
        compute = choose(device, settings.precision, settings.compile if device.type == "cuda" else "off")
        found = rates(compute)
        source = images("ct", BATCH[device.type] * BATCHES[device.type], settings.size)
        ways = (
            Way(reference_path(device), "fp32", lambda: _plain(settings, device, source)),
            Way(str(compute), compute.precision, lambda: _shipped(settings, compute, source)),
        )
        plan = BenchmarkPlan(
            work="a translation",
            device=device,
            steps=options.steps or STEPS[device.type],
            warm=2,
            checked=1,
            outcome="the images, and how many pixels S gives to each class, with the same weights",
            slices=len(source),
            unit="slice",
        )
        made = compare(plan, *ways, found)
        notes = [
            preset_in_words(options, gpu=device.type == "cuda"),
            "What is timed goes from images in main memory to images there.",
            f"Both take {at_once} slices at a time, whatever batch a training takes.",
            *NEVER_COMPILED[device.type],
            *compute.why,
        ]
        return report("synthesize", size_in_words(settings), device, found, [made], notes)


def networks(settings: TranslateSettings, device: torch.device) -> tuple[nn.Module, nn.Module | None]:
    """A generator and, if the family has one, a segmentor; the same weights each time."""

    def initialised(name: str, network: nn.Module) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, "weights", name))
            initialise(network)
        return network.to(device).eval()

    family = family_of(settings.family)
    S = initialised("S", family.segmentor(settings)) if family.segmentor else None
    return initialised("G1", family.generators(settings)["G1"]), S


def _shipped(settings: TranslateSettings, compute: Compute, source: np.ndarray) -> Work:
    G, S = networks(settings, compute.device)
    made = [network for network in (G, S) if network is not None]
    prepare(made, blocks(made), compute)
    model = Translator(settings, cast(TranslatorCard, {}), "bench", G, S, "", compute)

    def work(step: int) -> Callable[[], Outcome]:
        fakes, answers = model.translate(source)
        return lambda: _outcome(fakes, answers, settings)

    return work


def _plain(settings: TranslateSettings, device: torch.device, source: np.ndarray) -> Work:
    G, S = networks(settings, device)
    at_once = batch_size(device, settings.size)

    @torch.inference_mode()
    def work(step: int) -> Callable[[], Outcome]:
        fakes, answers = [], []
        for begin in range(0, len(source), at_once):
            fake = G(torch.from_numpy(source[begin : begin + at_once, None]).to(device))
            fakes.append(fake[:, 0].cpu().numpy())
            if S is not None:
                answers.append(S(fake).argmax(dim=1).to(torch.uint8).cpu().numpy())
        return lambda: _outcome(np.concatenate(fakes), np.concatenate(answers) if answers else None, settings)

    return work


def _outcome(fakes: np.ndarray, answers: np.ndarray | None, settings: TranslateSettings) -> Outcome:
    if answers is None:
        return {"images": fakes}
    return {"images": fakes, "classes": np.bincount(answers.ravel(), minlength=1 + len(settings.organs))}
