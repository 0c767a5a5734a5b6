"""What people see while an experiment runs: what is going on, what is left, and how long that will take."""

import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from crossmod.experiment.jobs import Job, Kind
from crossmod.experiment.scheduler import Outcome, Scheduler
from crossmod.progress import clock

# Rows of a live table: more would not fit a terminal.
MOST = 16


@dataclass(eq=False)
class LiveTable:
    """Lines in a log; a live table on a terminal where jobs run side by side.

    Args:
        jobs: all of them.
        slots: how many run at once.
        live: draw a table; one job after another shows its own progress.
    """

    jobs: Mapping[str, Job]
    slots: int = 1
    live: bool = False
    _began: float = 0.0
    _running: dict[str, float] = field(default_factory=dict)
    _spent: dict[Kind, tuple[float, int]] = field(default_factory=dict)
    _left: dict[Kind, int] = field(default_factory=dict)
    _table: Live | None = None

    def begin(self, ledger: Scheduler) -> None:
        """Before the first job."""
        self._began = time.monotonic()
        for name, job in self.jobs.items():
            if ledger.states[name] != "done":
                self._left[job.kind] = self._left.get(job.kind, 0) + job.work
        if ledger.counts["done"]:
            self._say(f"{ledger.counts['done']} of {len(self.jobs)} runs are there already.")
        if self.live and sys.stderr.isatty():
            # It asks for the picture itself, twice a second: clocks tick where nothing happens for an hour, and 100,000
            # quick events are no 100,000 tables.
            self._table = Live(
                get_renderable=lambda: self._picture(ledger),
                console=Console(stderr=True),
                refresh_per_second=2,
                transient=True,
            )
            self._table.start()

    def started(self, job: Job, ledger: Scheduler) -> None:
        """A job began."""
        self._running[job.name] = time.monotonic()
        done = ledger.counts["done"] + ledger.counts["failed"] + ledger.counts["blocked"]
        place = done + ledger.counts["running"]
        self._say(f"[{place}/{len(self.jobs)}] {job.kind}: {job.title} ({self._times()})")

    def ended(self, job: Job, outcome: Outcome, ledger: Scheduler, blocked: Collection[str] = ()) -> None:
        """A job ended, one way or another.

        Args:
            job: which.
            outcome: how.
            ledger: all that is known by now.
            blocked: jobs that cannot be done because it failed.
        """
        self._running.pop(job.name, None)
        if outcome.saved:
            self._say(f"Stopped and saved: {job.kind}: {job.title}; it goes on from there.")
        elif outcome.lost:
            again = "started again from its checkpoint" if ledger.states[job.name] == "ready" else "given up"
            why = f" ({outcome.error})" if outcome.error else ""
            self._say(f"Lost{why}: {job.kind}: {job.title}; {again}.")
        elif outcome.error is not None:
            self._say(f"FAILED: {job.kind}: {job.title}: {outcome.error}")
        else:
            seconds, work = self._spent.get(job.kind, (0.0, 0))
            self._spent[job.kind] = (seconds + outcome.seconds, work + job.work)
        if ledger.states[job.name] != "ready":
            self._left[job.kind] -= job.work
        for other in blocked:
            self._left[self.jobs[other].kind] -= self.jobs[other].work

    def end(self) -> None:
        """After the last job."""
        if self._table is not None:
            self._table.stop()
            self._table = None

    def left(self) -> float | None:
        """Seconds to go, as far as jobs of all kinds that are left have been seen; None where one has not."""
        total = 0.0
        for kind, work in self._left.items():
            seconds, done = self._spent.get(kind, (0.0, 0))
            if work and not done:
                return None
            total += seconds / done * work if work else 0.0
        return total / self.slots

    def _times(self) -> str:
        left = self.left()
        so_far = f"{clock(time.monotonic() - self._began)} so far"
        return so_far if left is None else f"{so_far}, about {clock(left)} left"

    def _say(self, line: str) -> None:
        if self._table is not None:
            self._table.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _picture(self, ledger: Scheduler) -> Group:
        """What is going on; drawn by a thread of its own, so that what runs is copied first."""
        now, counts = time.monotonic(), ledger.counts
        table = Table("running", Column("for", justify="right"))
        for name, since in islice(self._running.copy().items(), MOST):
            table.add_row(Text(f"{self.jobs[name].kind}: {self.jobs[name].title}"), clock(now - since))
        left = len(self.jobs) - counts["done"] - counts["failed"] - counts["blocked"]
        head = f"{counts['done']} of {len(self.jobs)} done, {counts['failed']} failed, {left} left; {self._times()}"
        return Group(Text(head), table)
