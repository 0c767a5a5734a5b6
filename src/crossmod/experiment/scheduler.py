"""Who waits for whom: the bookkeeping of many jobs, apart from where they run.

Notable: every event costs as much as the jobs that it touches, so that 100,000 jobs are settled in seconds.
"""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["waiting", "ready", "running", "done", "failed", "blocked"]

# A job whose worker was lost is started again so often; it goes on from its checkpoint.
TRIES = 4


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        name: of the job.
        error: why it failed, in a sentence; None where it did not.
        lost: whether its worker was lost, through no fault of the job's; `error` may say what is known of it.
        saved: whether it was asked to stop, by a cluster's time limit for instance, and can go on where it stands.
        seconds: that it took.
    """

    name: str
    error: str | None = None
    lost: bool = False
    saved: bool = False
    seconds: float = 0.0


@dataclass(eq=False)
class Scheduler:
    """The state of all jobs; made by `open_ledger`.

    Args:
        order: place of each job in the plan: what is ready is started in this order.
        states: of each job.
        missing: how many needed jobs are not done yet.
        dependents: by job, those that need it.
        failures: by job, why it failed.
        tries: by job, how often it was started.
        counts: how many jobs are in each state.
    """

    order: dict[str, int]
    states: dict[str, State]
    missing: dict[str, int]
    dependents: dict[str, list[str]]
    failures: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    counts: dict[State, int] = field(default_factory=dict)
    _ready: list[tuple[int, str]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether anything is running or may be started."""
        return self.counts["ready"] + self.counts["running"] > 0

    def take(self) -> str | None:
        """The next job to start, which counts as running from now on; None where none is ready."""
        if not self._ready:
            return None
        _, name = heapq.heappop(self._ready)
        self._move(name, "running")
        self.tries[name] = self.tries.get(name, 0) + 1
        return name

    def settle(self, outcome: Outcome) -> list[str]:
        """Take note of how a running job ended; gives the jobs that cannot be done because it failed."""
        name = outcome.name
        if self.states[name] != "running":
            raise ValueError(f"{name} is {self.states[name]}, not running")
        if outcome.saved:
            # It took a step at least, so that this comes to an end, and shall not run out of tries.
            self.tries[name] -= 1
            self._make_ready(name)
        elif outcome.lost and self.tries[name] < TRIES:
            self._make_ready(name)
        elif outcome.lost or outcome.error is not None:
            self.failures[name] = outcome.error or f"its worker was lost {TRIES} times"
            self._move(name, "failed")
            return self._block(name)
        else:
            self._move(name, "done")
            self._release(name)
        return []

    def _release(self, name: str) -> None:
        for other in self.dependents.get(name, ()):
            self.missing[other] -= 1
            if self.missing[other] == 0 and self.states[other] == "waiting":
                self._make_ready(other)

    def _block(self, name: str) -> list[str]:
        blocked = []
        stack = list(self.dependents.get(name, ()))
        while stack:
            other = stack.pop()
            if self.states[other] == "waiting":
                self._move(other, "blocked")
                self.failures[other] = f"it needs {name}, which failed"
                blocked.append(other)
                stack += self.dependents.get(other, ())
        return blocked

    def _make_ready(self, name: str) -> None:
        self._move(name, "ready")
        heapq.heappush(self._ready, (self.order[name], name))

    def _move(self, name: str, state: State) -> None:
        self.counts[self.states[name]] -= 1
        self.states[name] = state
        self.counts[state] += 1


def open_ledger(needs: Mapping[str, Collection[str]], done: Collection[str]) -> Scheduler:
    """A ledger in which some jobs are done already.

    Args:
        needs: by job, in the order of the plan, the jobs that it rests on.
        done: jobs that need not be done again.

    Raises:
        ValueError: a job needs one that is not there, or itself by way of others.
    """
    strangers = {other for others in needs.values() for other in others} - set(needs)
    if strangers:
        raise ValueError(f"needed, but no job: {sorted(strangers)[0]}")
    finished = set(done) & set(needs)
    dependents: dict[str, list[str]] = {}
    for name, others in needs.items():
        for other in set(others):
            dependents.setdefault(other, []).append(name)
    ledger = Scheduler(
        order={name: place for place, name in enumerate(needs)},
        states=dict.fromkeys(needs, "waiting"),
        missing={name: len(set(others) - finished) for name, others in needs.items()},
        dependents=dependents,
        counts={"waiting": len(needs), "ready": 0, "running": 0, "done": 0, "failed": 0, "blocked": 0},
    )
    _refuse_circles(needs)
    for name in needs:
        if name in finished:
            ledger._move(name, "done")
        elif ledger.missing[name] == 0:
            ledger._make_ready(name)
    return ledger


def _refuse_circles(needs: Mapping[str, Sequence[str] | Collection[str]]) -> None:
    settled: set[str] = set()
    for name in needs:
        path: dict[str, None] = {}
        stack: list[tuple[str, bool]] = [(name, False)]
        while stack:
            one, leaving = stack.pop()
            if leaving:
                path.pop(one)
                settled.add(one)
            elif one in path:
                raise ValueError(f"{one} needs itself")
            elif one not in settled:
                path[one] = None
                stack.append((one, True))
                stack += [(other, False) for other in needs[one]]
