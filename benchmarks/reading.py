"""Share of an EssNet training step spent on building the batch: time of `batches.batch` and of the step, batch of 1.

Run: `python benchmarks/reading.py [DEVICE]`. Target: a share below 0.1 % on a CPU. Full size takes a
minute there, since its blocks are compiled first.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from crossmod.data.batches import UnpairedBatches
from crossmod.data.slices import SliceKey, SliceSet
from crossmod.engine.device import choose, pick_device
from crossmod.seeds import rng
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import build

SLICES = 200
SMALL: dict[str, Any] = {"size": 64, "generator_filters": 16, "generator_blocks": 3, "discriminator_filters": 16}
MODELS = {"64 px, 16 filters, 3 blocks": TranslateSettings(**SMALL), "256 px, full size": TranslateSettings()}
BATCHES, STEPS, WARM_UP = 400, 5, 3


def random_slices(settings: TranslateSettings, *names: str) -> SliceSet:
    """Noise of the loaded size, half of it organ."""
    shape = (SLICES, settings.loaded, settings.loaded)
    pixels = rng(0, *names).integers(-32767, 32768, shape, dtype=np.int16)
    keys = tuple(SliceKey("noise", "noise", i) for i in range(SLICES))
    everywhere = np.ones(SLICES, dtype=bool)
    return SliceSet(pixels, (pixels > 0).astype(np.uint8), everywhere, everywhere, keys, {})


def seconds(work: Callable[[int], object], times: int, device: torch.device) -> float:
    """The median time of one call, including the work on the device."""
    taken = []
    for number in range(times):
        before = time.perf_counter()
        work(number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)


def main() -> None:
    device = pick_device(sys.argv[1] if len(sys.argv) > 1 else "auto")
    print(f"{'EssNet':28} {'batch us':>9} {'step ms':>9} {'share %':>8}   computed on {device}, by")
    for name, settings in MODELS.items():
        batches = UnpairedBatches(random_slices(settings, "ct"), random_slices(settings, "mr"), settings, device)

        def batch(number: int, batches: UnpairedBatches = batches) -> dict[str, torch.Tensor]:
            return batches.batch(*divmod(number, batches.steps))

        batch(0)
        reading = seconds(batch, BATCHES, device)
        compute = choose(device, size=settings.size)
        trainee = build(settings, compute)
        drawn = {name: draw.to(device) for name, draw in trainee.draw(rng(0, "step")).items()}
        given = {**batch(0), **drawn}
        seconds(lambda number: trainee.step(given), WARM_UP, device)  # noqa: B023 - called at once
        step = seconds(lambda number: trainee.step(given), STEPS, device)  # noqa: B023
        print(f"{name:28} {reading * 1e6:9.1f} {step * 1e3:9.1f} {100 * reading / step:8.3f}   {compute}", flush=True)


if __name__ == "__main__":
    main()
