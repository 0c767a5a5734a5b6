"""Main memory of a training run with 2000 CT slices of 256 px: load, step, save.

Run: `python benchmarks/training_memory.py [full|tiny] [bf16|fp32] [STEPS]`, on Linux. `full` is the paper's EssNet,
compiled as with `--compile auto`. Limit: a peak below 3 GB; the target is 1.5 GB.
"""

import multiprocessing
import sys
import tempfile
from pathlib import Path

import torch
from memory import MB, write

from crossmod.data.batches import UnpairedBatches
from crossmod.data.pixel_size import training_scale
from crossmod.data.slices import load_slices
from crossmod.data.store import Store
from crossmod.engine.device import choose
from crossmod.engine.distributed import Distributed
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.memory import peak_bytes, resident_bytes
from crossmod.runs import start_run
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import build

CPU = torch.device("cpu")


def main() -> None:
    size, precision, steps = (*sys.argv[1:], *("full", "bf16", "6")[len(sys.argv) - 1 :])
    widths = {"full": {}, "tiny": {"generator_filters": 16, "generator_blocks": 3, "discriminator_filters": 16}}[size]
    settings = TranslateSettings.model_validate({**widths, "precision": precision, "pixel_mm": 1.25, "load_size": 286})
    seen = {"before": resident_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        # In a separate process, so that the memory for writing does not count.
        writing = multiprocessing.get_context("spawn").Process(target=write, args=(Path(folder) / "store", 2000))
        writing.start()
        writing.join()
        store = Store(Path(folder) / "store")
        slices = load_slices(store, store.cases, settings, scale=training_scale(settings), labelled=True)
        seen["with its slices"] = resident_bytes()
        compute = choose(CPU, settings.precision, settings.compile, size=settings.size)
        trainee = build(settings, compute)
        run = start_run(Path(folder) / "run", "train", {}, {})
        batches = UnpairedBatches(slices, slices.take(range(300)), settings, CPU)
        # A checkpoint after each step, so that saving is included.
        fit(trainee, batches, run, TrainingPlan("Training", 1, 0, steps=int(steps), minutes=0), Distributed(CPU))
        seen["after training"], seen["peak"] = resident_bytes(), peak_bytes(CPU)
    print(f"EssNet, {size}, {settings.size} px, {compute}, {len(slices)} + 300 slices of {slices.size} px")
    for name, held in seen.items():
        print(f"{name:16} {held / MB:8.0f} MB resident")


if __name__ == "__main__":
    main()
