"""Main memory needed to load the slices of a training run: 2000 of 256 px, read as 286 px, with masks.

Run: `python benchmarks/memory.py [SLICES]`, on Linux. Target: a peak of little more than the pixels (int16) and
masks (uint8) themselves, in addition to Python and torch.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from crossmod.data.pixel_size import training_scale
from crossmod.data.slices import draw_evenly, load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.engine.memory import peak_bytes, resident_bytes
from crossmod.seeds import rng
from crossmod.settings import TranslateSettings

CASE, PIXELS = 100, 256
MB = 1e6


def write(path: Path, slices: int) -> None:
    """A store of noise, in cases of 100 slices."""
    affine = np.array([[0, 0, -1.25, 160], [0, -1.25, 0, 160], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    with writing_store(path) as writer:
        for number in range(slices // CASE):
            voxels = rng(0, "memory", number).integers(-1000, 400, (CASE, PIXELS, PIXELS), dtype=np.int16)
            labels = (voxels > 0).astype(np.uint8)
            volume = Volume(voxels, affine, "ct", labels=labels, label_names={1: "liver"})
            writer.add(f"case-{number:03d}", volume, patient=f"patient-{number:03d}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    settings, cpu = TranslateSettings(pixel_mm=1.25, load_size=286), torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        # In a separate process, so that the memory for writing does not count.
        writing = multiprocessing.get_context("spawn").Process(target=write, args=(Path(folder) / "store", count))
        writing.start()
        writing.join()
        store = Store(Path(folder) / "store")
        before, began = resident_bytes(), time.monotonic()
        slices = load_slices(store, store.cases, settings, scale=training_scale(settings), labelled=True)
        slices = slices.take(draw_evenly(slices, range(len(slices)), len(slices), settings.seed))
        taken = time.monotonic() - began
        after, peak = resident_bytes(), peak_bytes(cpu)
    assert slices.masks is not None
    data = slices.pixels.nbytes + slices.masks.nbytes
    print(f"{len(slices)} slices of {slices.size} px in {taken:.1f} s: pixels and masks {data / MB:.0f} MB")
    print(f"{'':16} {'resident MB':>12} {'beyond before':>14} {'of the data':>12}")
    for name, held in (("before", before), ("peak", peak), ("after", after)):
        print(f"{name:16} {held / MB:12.0f} {(held - before) / MB:14.0f} {(held - before) / data:12.2f}")


if __name__ == "__main__":
    main()
