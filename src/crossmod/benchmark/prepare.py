"""`crossmod bench prepare`: DICOM files of made-up patients into a store."""

import itertools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pydicom
import torch

from crossmod.benchmark.compare import BenchmarkPlan, Outcome, Way, Work, compare, silently
from crossmod.benchmark.options import PrepareBench
from crossmod.benchmark.result import Bench
from crossmod.benchmark.session import report, session
from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.store import Store
from crossmod.phantom.dataset import PhantomSettings, write_phantom

STEPS = 3


def bench_prepare(options: PrepareBench) -> Bench:
    """Time `crossmod prepare dicom` on a phantom that is written into a temporary folder."""
    with session(options) as _, tempfile.TemporaryDirectory(prefix="crossmod-bench-") as folder:
        device, source = torch.device("cpu"), Path(folder) / "phantom"
        write_phantom(
            source,
            PhantomSettings(
                ct_patients=options.patients, mr_patients=options.patients, size=options.size, slices=options.slices
            ),
        )
        files = sorted(source.rglob("*.dcm"))
        plan = BenchmarkPlan(
            work="preparing DICOM",
            device=device,
            steps=options.steps or STEPS,
            warm=2,
            checked=1,
            outcome="sum and sum of squares of each series' values",
            slices=len(files),
            unit="slice",
            networks=False,
        )
        ways = (
            Way("pydicom alone, one file after another", "", lambda: _plain(files)),
            Way("crossmod prepare dicom", "", lambda: _shipped(source, Path(folder))),
        )
        notes = [
            "The reference reads the pixels and applies the rescale, nothing else. It leaves out order and geometry of "
            "slices, checks, deidentification, and writing a store with checksums.",
            "Both read files that the system still holds in memory.",
        ]
        size = f"{len(files)} slices of {options.size} px, {options.patients} CT and {options.patients} MR patients"
        return report("prepare", size, device, {}, [compare(plan, *ways, {})], notes)


def _shipped(source: Path, folder: Path) -> Work:
    numbers = itertools.count()

    def work(step: int) -> Callable[[], Outcome]:
        store = folder / f"store-{next(numbers)}"
        silently(lambda: prepare_dicom(source, store))
        return lambda: _sums(Store(store).read(case.id).voxels for case in Store(store).cases)

    return work


def _plain(files: list[Path]) -> Work:
    def work(step: int) -> Callable[[], Outcome]:
        series = []
        for _, group in itertools.groupby(files, key=lambda file: file.parent):
            images = []
            for file in group:
                header = pydicom.dcmread(file)
                slope, intercept = (float(header.get(name, one)) for name, one in LINE)
                images.append(header.pixel_array * slope + intercept)
            series.append(np.stack(images))
        return lambda: _sums(series)

    return work


LINE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _sums(series: Iterable[np.ndarray]) -> Outcome:
    exact = [one.astype(np.float64) for one in series]
    sums = sorted((float(one.sum()), float(np.square(one).sum())) for one in exact)
    return {"sums": np.array(sums)}
