"""How long 50 concurrent readers of 20 scans each wait, and whether every answer is stored.

Run: `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/reader_load.py [THINK...]`. THINK is the time that each reader
looks at each scan, in seconds; 0 means that a reader answers as soon as a page has loaded, which no human
does. Target, on two cores: 95 of 100 pages in 300 ms, images in 1 s. Server and readers share the machine.
"""

import asyncio
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.serve_process import Survey, Visitor, make_survey, serving, told_of

READERS, SCANS, SIZE = 50, 20, 256
# Number of processes that simulate readers; more would use the server's core.
PROCESSES = 2
TARGETS = {"page": 0.3, "saving": 0.3, "image": 1.0}


@dataclass
class Measured:
    """Measurements of the readers of one process."""

    told: set[tuple[int, int, str]]
    seconds: dict[str, list[float]]
    failures: int
    busy: float
    """Processor time of the process that simulated them, in seconds."""


async def whole(visitor: Visitor, think: float) -> None:
    """One reader, from the link to the end."""
    async with visitor.client:
        # Fifty readers do not open the link at the same instant.
        await asyncio.sleep(random.random() * think)
        await visitor.arrive()
        first = await visitor.get("/scan/1")
        # A browser requests them once.
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', first.text):
            assert (await visitor.get(path, "static")).status_code == 200
        await visitor.read(SCANS)
        await visitor.get("/submit")


async def all_of(visitors: list[Visitor], think: float) -> None:
    await asyncio.gather(*(whole(visitor, think) for visitor in visitors))


def play(url: str, survey: Survey, tokens: list[str], think: float) -> Measured:
    """Some readers, in a separate process."""
    visitors = [Visitor(url, token, think=think) for token in tokens]
    began = time.process_time()
    asyncio.run(all_of(visitors, think))
    seconds = {
        kind: [one for v in visitors for one in v.seconds[kind]] for kind in ("page", "saving", "image", "static")
    }
    busy = time.process_time() - began
    return Measured(told_of(visitors, survey), seconds, sum(v.failures for v in visitors), busy)


def measure(think: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        survey = make_survey(Path(folder) / "load", readers=READERS, count=SCANS, size=SIZE)
        tokens = list(survey.tokens)
        shares = [(tokens[i::PROCESSES], think) for i in range(PROCESSES)]
        with serving(survey) as server, multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            before, began = os.getloadavg()[0], time.monotonic()
            parts = pool.starmap(play, [(server.url, survey, *share) for share in shares])
            wall = time.monotonic() - began
            served = server.processor_seconds()
            kept = survey.kept()
        print(f"{READERS} readers x {SCANS} scans of {SIZE} px, {think:g} s a scan: {wall:.1f} s")
        print(f"  load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
        report(wall, served, parts, kept)


def report(wall: float, served: float, parts: list[Measured], kept: list[tuple[int, int, str]]) -> None:
    told = set().union(*(part.told for part in parts))
    places = len({row[:2] for row in kept})
    busy = sum(part.busy for part in parts)
    requests = sum(len(one) for part in parts for one in part.seconds.values())
    print(f"  {requests / wall:.0f} requests a second")
    print(f"  processor: server {served:.1f} s, {1e3 * served / requests:.1f} ms a request; readers {busy:.1f} s")
    lost, doubled, failed = len(told - set(kept)), len(kept) - places, sum(part.failures for part in parts)
    print(f"  answers: {len(told)} sent, {len(kept)} kept, {lost} lost, {doubled} doubled, {failed} failed tries")
    for kind in parts[0].seconds:
        seconds = np.concatenate([part.seconds[kind] for part in parts])
        middle, most, last = np.percentile(seconds, (50, 95, 99))
        target = f" (target {1e3 * TARGETS[kind]:.0f})" if kind in TARGETS else ""
        print(
            f"  {kind:6} {len(seconds):5} times, ms: median {1e3 * middle:.0f}, 95th {1e3 * most:.0f}{target}, "
            f"99th {1e3 * last:.0f}, longest {1e3 * seconds.max():.0f}"
        )


def main(thinks: Iterable[float]) -> None:
    for think in thinks:
        measure(think)


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]] or [2.0, 0.0])
