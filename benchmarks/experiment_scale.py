"""Overhead of 100,000 runs and 100,000 patients, without any training: time and main memory of each part.

Run: `python benchmarks/experiment_scale.py [RUNS] [PATIENTS]`, on Linux. Each line is measured in a separate process.
The executor is `Simulated`: workers are lost in 1 % of all attempts, and 0.1 % of the jobs fail.
"""

import contextlib
import cProfile
import json
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.config import Modality, build
from crossmod.data.store import MANIFEST, Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.engine.memory import resident_bytes
from crossmod.experiment.design import Design
from crossmod.experiment.folder import PLAN, write_plan
from crossmod.experiment.jobs import Job, finished_among
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.run import execute
from crossmod.seeds import rng
from tests.support.simulated_executor import Simulated

FOLDS, ARMS, SLOTS = 5, 19, 256
MB = 1e6


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    patients = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    print(f"{'':44} {'s':>8} {'peak MB':>8} {'of it new':>9}  what")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stores = write_stores(root / "stores")
        measure(f"simulate {runs} runs", simulate, runs, root / "simulated")
        for count in (runs // 100, runs):
            measure(f"expand a plan of {count} runs and write it", expand, count, stores, root / f"plan-{count}")
        measure(f"expand a plan of {runs // 10} runs, profiled", profiled, runs // 10, stores)
        for count in (10, 1000, patients):
            made = manifest_of(count, stores["ct"][0], root / f"store-{count}")
            measure(f"open a store of {count} patients", open_store, made)
        folders = root / "folders"
        measure(f"make {runs} run folders with a card", make_folders, runs, folders)
        measure("find out which are finished", look, folders)


def measure(title: str, work: Callable[..., str], *arguments: Any) -> None:
    """Run in a separate process and print a line."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measured, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    seconds, peak, new, told = ours.recv()
    process.join()
    first, *rest = told.splitlines()
    print(f"{title:44} {seconds:8.2f} {peak / MB:8.0f} {new / MB:9.0f}  {first}", *rest, sep="\n", flush=True)


def _measured(pipe: Any, work: Callable[..., str], arguments: tuple[Any, ...]) -> None:
    before, began = resident_bytes(), time.perf_counter()
    # The output of Shown is part of the cost, but is not displayed.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        told = work(*arguments)
    # Not ru_maxrss, which a new process inherits from its parent.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    pipe.send((time.perf_counter() - began, peak, peak - before, told))


def jobs_of(count: int) -> dict[str, Job]:
    """Translators, their slices, and segmenters with and without them."""
    jobs = []
    for place in range(count // (2 + ARMS)):
        where = f"fold {place % FOLDS}, seed {place // FOLDS}"
        jobs.append(Job(f"train-{place}", "train", where, {}, {}, {}, work=35_000))
        jobs.append(Job(f"synthesize-{place}", "synthesize", where, {}, {}, {"model": f"train-{place}"}, work=1400))
        for arm in range(ARMS):
            needs = {"synthetic": f"synthesize-{place}"} if arm else {}
            jobs.append(Job(f"segment-{place}-{arm}", "segment", where, {}, {}, needs, work=30_000))
    return {job.name: job for job in jobs}


def simulate(count: int, root: Path) -> str:
    jobs = jobs_of(count)
    executor = Simulated(SLOTS, lost=0.01, failed=0.001)
    began = time.perf_counter()
    ledger = execute(jobs, root, executor, LiveTable(jobs, SLOTS))
    seconds = time.perf_counter() - began
    counts = {state: number for state, number in ledger.counts.items() if number}
    tries, use = sum(ledger.tries.values()), executor.busy / executor.clock / SLOTS
    return f"{counts}, {tries} tries, {tries / seconds:.0f} a second, slots used {use:.1%}"


def planned(count: int, stores: dict[Modality, tuple[Path, ...]]) -> Plan:
    seeds = max(count // (2 + ARMS) // FOLDS, 1)
    values = {
        "translators": {"essnet": {"preset": "rafiq2025"}},
        "segmenters": {"unet": {"preset": "rafiq2025", "settings": {"train_on": "all", "steps": 30_000}}},
        "counts": list(range(ARMS)),
        "folds": FOLDS,
        "seeds": list(range(seeds)),
        "retrain": True,
    }
    return make_plan(build(Design, values, subject="design"), stores)


def expand(count: int, stores: dict[Modality, tuple[Path, ...]], root: Path) -> str:
    began = time.perf_counter()
    plan = planned(count, stores)
    seconds = time.perf_counter() - began
    write_plan(plan, root)
    size = (root / PLAN).stat().st_size
    each = seconds / len(plan.jobs) * 1e3
    return f"{len(plan.jobs)} jobs in {seconds:.1f} s, {each:.2f} ms each; {PLAN} {size / MB:.1f} MB"


def profiled(count: int, stores: dict[Modality, tuple[Path, ...]]) -> str:
    profile = cProfile.Profile()
    profile.runcall(planned, count, stores)
    rows = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    slow = sorted(rows, key=lambda row: -row[1][3])[:14]
    lines = [f"    {row[3]:7.2f} s {row[0]:9d} calls  {Path(where[0]).name}:{where[2]}" for where, row in slow]
    return "\n".join(["what it spends its time on", *lines])


def write_stores(path: Path) -> dict[Modality, tuple[Path, ...]]:
    """Small stores of noise: the cost of a plan does not depend on pixels."""
    affine = np.array([[0, 0, -10, 160], [0, -10, 0, 160], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    sides: dict[Modality, str | None] = {"ct": None, "mr": "t2_spir"}
    for modality, sequence in sides.items():
        with writing_store(path / modality) as writer:
            for number in range(10):
                voxels = rng(0, modality, number).integers(0, 400, (24, 32, 32), dtype=np.int16)
                volume = Volume(voxels, affine, modality, sequence, (voxels > 200).astype(np.uint8), {1: "liver"})
                writer.add(f"{modality}-{number}", volume, patient=f"{modality}-{number}")
    return {modality: (path / modality,) for modality in sides}


def manifest_of(count: int, store: Path, path: Path) -> Path:
    """A manifest with the given number of patients, whose files do not exist."""
    content = json.loads((store / MANIFEST).read_text(encoding="utf-8"))
    record = content["cases"][0] | {
        "acquisition": {"manufacturer": "maker", "tube_voltage": 120.0, "slice_thickness": 3.0}
    }
    cases = [
        record | {"id": f"ct-{number}", "patient": f"ct-{number}", "sha256": f"{number:064x}"}
        for number in range(count)
    ]
    path.mkdir()
    (path / MANIFEST).write_text(json.dumps({**content, "cases": cases}, indent=1), encoding="utf-8")
    return path


def open_store(path: Path) -> str:
    size = (path / MANIFEST).stat().st_size
    cases = Store(path).select("ct", organ="liver")
    return f"{MANIFEST} {size / MB:.2f} MB, {size / len(cases):.0f} bytes a case"


def make_folders(count: int, root: Path) -> str:
    for name in jobs_of(count):
        folder = root / "runs" / name
        folder.mkdir(parents=True)
        (folder / ("manifest.json" if name.startswith("synth") else "card.json")).touch()
    return f"{len(list((root / 'runs').iterdir()))} folders"


def look(root: Path) -> str:
    jobs = jobs_of(len(list((root / "runs").iterdir())) + 2 + ARMS)
    began = time.perf_counter()
    there = finished_among(jobs, root)
    return f"{len(there)} of {len(jobs)}, in {time.perf_counter() - began:.2f} s"


if __name__ == "__main__":
    main()
