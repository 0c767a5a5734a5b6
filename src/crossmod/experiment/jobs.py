"""Jobs: the runs of an experiment, each named by the hash of all that its result depends on, and their order.

Notable: scheduling an event costs as much as the jobs that it affects, so that 100,000 jobs take seconds.
"""

import hashlib
import heapq
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal, get_args

from crossmod.config import build
from crossmod.data.store import MANIFEST
from crossmod.runs import CARD
from crossmod.settings import BEFORE_FRAMES, Machine, SegmentSettings, TranslateSettings

Kind = Literal["train", "synthesize", "segment"]

# Part of every hash; to be increased when the code changes the results of the same settings and data.
RESULTS = 1
DIGITS = 12


@dataclass(frozen=True)
class Job:
    """One run."""

    name: str  # its folder under `runs`; ends with the hash
    kind: Kind
    title: str  # a description for people
    settings: Mapping[str, Any]  # of the run, as plain values; of `synthesize`, its options
    # Paths of the stores that it reads, by their role: `ct` and `mr` of `train`, `source` of `synthesize`, `real` of
    # `segment`
    stores: Mapping[str, tuple[str, ...]]
    # Names of the jobs whose results it reads, by their role: the `model` of `synthesize`, the `synthetic` slices of
    # `segment`
    needs: Mapping[str, str]
    work: int = 0  # steps of training or slices; 0 if unknown

    def folder(self, root: Path) -> Path:
        """The folder of its result."""
        return root / "runs" / self.name

    def finished(self, root: Path) -> bool:
        """Whether its result is complete."""
        return (self.folder(root) / (MANIFEST if self.kind == "synthesize" else CARD)).is_file()


def name_of(
    kind: Kind, what: str, settings: Mapping[str, Any], cases: Mapping[str, object], needs: Mapping[str, str]
) -> str:
    """`kind-what-hash`; the same for the same settings, checksums of cases and needed runs, whatever the plan."""
    # Values that runs had before the setting existed are not hashed, so that older experiments keep their names.
    hashed = {key: value for key, value in settings.items() if key not in BEFORE_FRAMES or value != BEFORE_FRAMES[key]}
    content = {"results": RESULTS, "kind": kind, "settings": hashed, "cases": cases, "needs": needs}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{kind}-{what}-{digest[:DIGITS]}"


def finished_among(jobs: Mapping[str, Job], root: Path) -> list[str]:
    """Names of the finished jobs.

    The folder is listed once: to ask a network disk for each of 100,000 jobs that were not begun takes minutes.
    """
    runs = root / "runs"
    begun = {entry.name for entry in os.scandir(runs)} if runs.is_dir() else set()
    return [name for name, job in jobs.items() if name in begun and job.finished(root)]


def execute_job(job: Job, root: Path, machine: Machine) -> None:
    """Run a job whose needs are finished; an unfinished one resumes, a finished one is skipped."""
    if job.finished(root):
        return
    # PyTorch takes seconds to load, and a process that only distributes jobs does not need it.
    from crossmod.segmentation.train import train_segmenter
    from crossmod.synthesis.synthesize import synthesize
    from crossmod.synthesis.train import train_translator

    out = job.folder(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    runs = {role: root / "runs" / name for role, name in job.needs.items()}
    stores = {role: [Path(path) for path in paths] for role, paths in job.stores.items()}
    values = dict(job.settings)
    if job.kind == "train":
        settings = build(TranslateSettings, values, subject=job.name)
        train_translator(out, ct=stores["ct"], mr=stores["mr"], settings=settings, machine=machine)
    elif job.kind == "synthesize":
        synthesize(runs["model"], source=stores["source"], out=out, machine=machine)
    else:
        settings = build(SegmentSettings, values, subject=job.name)
        (real,) = stores["real"]
        train_segmenter(out, real=real, synthetic=runs.get("synthetic"), settings=settings, machine=machine)


State = Literal["waiting", "ready", "running", "done", "failed", "blocked"]

# Starts of a job whose worker is lost each time; each start resumes from the checkpoint.
TRIES = 4


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    name: str
    error: str | None = None  # why it failed, in a sentence; None if it did not
    lost: bool = False  # whether its worker was lost, which is not the job's fault; `error` may then give details
    saved: bool = False  # whether it was asked to stop, for instance by a cluster's time limit, and can resume
    seconds: float = 0.0


class Scheduler:
    """The state of all jobs, wherever they run; `needs` are, by job and in the order of the plan, those it reads."""

    def __init__(self, needs: Mapping[str, Collection[str]], done: Collection[str]):
        strangers = {other for others in needs.values() for other in others} - set(needs)
        if strangers:
            raise ValueError(f"needed, but no job: {sorted(strangers)[0]}")
        _refuse_circles(needs)
        finished = set(done) & set(needs)
        self.states: dict[str, State] = dict.fromkeys(needs, "waiting")
        self.counts: dict[State, int] = {**dict.fromkeys(get_args(State), 0), "waiting": len(needs)}
        self.failures: dict[str, str] = {}
        """By job, why it failed or is blocked."""
        self.tries: dict[str, int] = {}
        """By job, the number of starts."""
        self._order = {name: place for place, name in enumerate(needs)}
        self._missing = {name: len(set(others) - finished) for name, others in needs.items()}
        self._dependents: dict[str, list[str]] = {}
        self._ready: list[tuple[int, str]] = []
        for name, others in needs.items():
            for other in set(others):
                self._dependents.setdefault(other, []).append(name)
            if name in finished:
                self._move(name, "done")
            elif self._missing[name] == 0:
                self._make_ready(name)

    @property
    def open(self) -> bool:
        """Whether a job is running or can be started."""
        return self.counts["ready"] + self.counts["running"] > 0

    def next_job(self) -> str | None:
        """The next job to start, in the order of the plan, which then counts as running; None if none is ready."""
        if not self._ready:
            return None
        _, name = heapq.heappop(self._ready)
        self._move(name, "running")
        self.tries[name] = self.tries.get(name, 0) + 1
        return name

    def finish_job(self, outcome: Outcome) -> list[str]:
        """Record how a running job ended; gives the jobs that are blocked because it failed."""
        name = outcome.name
        if self.states[name] != "running":
            raise ValueError(f"{name} is {self.states[name]}, not running")
        if outcome.saved:
            # It took at least one step, so that this ends at some point; it must not use up its tries.
            self.tries[name] -= 1
            self._make_ready(name)
        elif outcome.lost and self.tries[name] < TRIES:
            self._make_ready(name)
        elif outcome.lost or outcome.error is not None:
            self.failures[name] = outcome.error or f"its worker was lost {TRIES} times"
            self._move(name, "failed")
            return self._block_dependents(name)
        else:
            self._move(name, "done")
            for other in self._dependents.get(name, ()):
                self._missing[other] -= 1
                if self._missing[other] == 0 and self.states[other] == "waiting":
                    self._make_ready(other)
        return []

    def _block_dependents(self, name: str) -> list[str]:
        blocked = []
        stack = list(self._dependents.get(name, ()))
        while stack:
            other = stack.pop()
            if self.states[other] == "waiting":
                self._move(other, "blocked")
                self.failures[other] = f"it needs {name}, which failed"
                blocked.append(other)
                stack += self._dependents.get(other, ())
        return blocked

    def _make_ready(self, name: str) -> None:
        self._move(name, "ready")
        heapq.heappush(self._ready, (self._order[name], name))

    def _move(self, name: str, state: State) -> None:
        self.counts[self.states[name]] -= 1
        self.states[name] = state
        self.counts[state] += 1


def _refuse_circles(needs: Mapping[str, Collection[str]]) -> None:
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise ValueError(f"{error.args[1][0]} needs itself") from None
