"""What is shown while an experiment runs: the running jobs, what is left, and the time that will take."""

import sys
import time
from collections.abc import Collection, Mapping
from itertools import islice

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from crossmod.experiment.jobs import Job, Kind, Outcome, Scheduler
from crossmod.progress import clock, progress_disabled

# Rows of a live table that fit a terminal.
MOST = 16


class LiveTable:
    """Lines in a log; on a terminal, if jobs run side by side (`live`), a table."""

    def __init__(self, jobs: Mapping[str, Job], slots: int = 1, live: bool = False):
        self.jobs, self._slots, self._live = jobs, slots, live
        self._began = 0.0
        self._running: dict[str, float] = {}
        self._spent: dict[Kind, tuple[float, int]] = {}
        self._left: dict[Kind, int] = {}
        self._table: Live | None = None

    def begin(self, scheduler: Scheduler) -> None:
        """Before the first job."""
        self._began = time.monotonic()
        for name, job in self.jobs.items():
            if scheduler.states[name] != "done":
                self._left[job.kind] = self._left.get(job.kind, 0) + job.work
        if scheduler.counts["done"]:
            self._print(f"{scheduler.counts['done']} of {len(self.jobs)} runs are finished already.")
        if self._live and sys.stderr.isatty():
            # The table is drawn on request, twice a second: clocks tick although nothing happens for an hour, and
            # 100,000 quick events do not draw 100,000 tables.
            self._table = Live(
                get_renderable=lambda: self._draw(scheduler),
                console=Console(stderr=True),
                refresh_per_second=2,
                transient=True,
            )
            self._table.start()

    def started(self, job: Job, scheduler: Scheduler) -> None:
        """A job began."""
        self._running[job.name] = time.monotonic()
        place = sum(scheduler.counts[state] for state in ("done", "failed", "blocked", "running"))
        self._print(f"[{place}/{len(self.jobs)}] {job.kind}: {job.title} ({self._times()})")

    def ended(self, job: Job, outcome: Outcome, scheduler: Scheduler, blocked: Collection[str] = ()) -> None:
        """A job ended, and others are `blocked` by its failure."""
        self._running.pop(job.name, None)
        if outcome.saved:
            self._print(f"Stopped and saved: {job.kind}: {job.title}; it will resume.")
        elif outcome.lost:
            again = "started again from its checkpoint" if scheduler.states[job.name] == "ready" else "given up"
            why = f" ({outcome.error})" if outcome.error else ""
            self._print(f"Lost{why}: {job.kind}: {job.title}; {again}.")
        elif outcome.error is not None:
            self._print(f"FAILED: {job.kind}: {job.title}: {outcome.error}")
        else:
            seconds, work = self._spent.get(job.kind, (0.0, 0))
            self._spent[job.kind] = (seconds + outcome.seconds, work + job.work)
        if scheduler.states[job.name] != "ready":
            self._left[job.kind] -= job.work
        for other in blocked:
            self._left[self.jobs[other].kind] -= self.jobs[other].work

    def end(self) -> None:
        """After the last job."""
        if self._table is not None:
            self._table.stop()
            self._table = None

    def left(self) -> float | None:
        """Estimated seconds left; None until a job of each remaining kind has finished."""
        total = 0.0
        for kind, work in self._left.items():
            seconds, done = self._spent.get(kind, (0.0, 0))
            if work and not done:
                return None
            total += seconds / done * work if work else 0.0
        return total / self._slots

    def _times(self) -> str:
        left = self.left()
        so_far = f"{clock(time.monotonic() - self._began)} so far"
        return so_far if left is None else f"{so_far}, about {clock(left)} left"

    def _print(self, line: str) -> None:
        if self._table is not None:
            self._table.console.print(line, markup=False, highlight=False)
        elif not progress_disabled():
            print(line, file=sys.stderr, flush=True)

    def _draw(self, scheduler: Scheduler) -> Group:
        """The running jobs; another thread draws them, so that they are copied first."""
        now, counts = time.monotonic(), scheduler.counts
        table = Table("running", Column("for", justify="right"))
        for name, since in islice(self._running.copy().items(), MOST):
            table.add_row(Text(f"{self.jobs[name].kind}: {self.jobs[name].title}"), clock(now - since))
        left = len(self.jobs) - counts["done"] - counts["failed"] - counts["blocked"]
        head = f"{counts['done']} of {len(self.jobs)} done, {counts['failed']} failed, {left} left; {self._times()}"
        return Group(Text(head), table)
