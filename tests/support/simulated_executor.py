"""An executor that does nothing, by a clock of its own: to see how 100,000 jobs are kept, without doing any.

Durations, failures and lost workers are drawn by chance, from a seed. It refuses what no executor should be given.
"""

import heapq
import random
from collections.abc import Collection

from crossmod.experiment.jobs import Job, Outcome


class Simulated:
    """Jobs that take some seconds of a clock that jumps.

    Args:
        slots: jobs at once.
        seed: of all that is left to chance.
        lost: how probable it is that a job's worker is lost at a try.
        failed: how probable it is that a job fails.
        done: jobs that were done before.
    """

    def __init__(
        self, slots: int, *, seed: int = 0, lost: float = 0.0, failed: float = 0.0, done: Collection[str] = ()
    ):
        self.slots, self.clock, self.closed = slots, 0.0, False
        self.busy = 0.0
        """Seconds of work, all slots together."""
        self.done = set(done)
        self._chance = random.Random(seed)
        self._lost, self._failed = lost, failed
        self._running: list[tuple[float, int, Outcome]] = []
        self._names: set[str] = set()
        self._started = 0

    def start(self, job: Job) -> None:
        """Take a job.

        Raises:
            ValueError: more than there are slots, a job that is running or done, or one that waits for another.
        """
        missing = set(job.needs.values()) - self.done
        if len(self._running) >= self.slots or job.name in self._names or job.name in self.done or missing:
            why = f"without {sorted(missing)}" if missing else "beyond its slots, or again"
            raise ValueError(f"{job.name} was started {why}")
        seconds = (job.work or 1) * self._chance.expovariate(1.0)
        lost = self._chance.random() < self._lost
        error = "bad luck" if not lost and self._chance.random() < self._failed else None
        outcome = Outcome(job.name, error=error, lost=lost, seconds=seconds)
        # The number decides between two that end at once, which are not to be compared.
        heapq.heappush(self._running, (self.clock + seconds, self._started, outcome))
        self._names.add(job.name)
        self._started += 1

    def wait(self) -> list[Outcome]:
        """The next one that ends; the clock jumps there."""
        self.clock, _, outcome = heapq.heappop(self._running)
        self.busy += outcome.seconds
        self._names.remove(outcome.name)
        if not outcome.lost and outcome.error is None:
            self.done.add(outcome.name)
        return [outcome]

    def close(self) -> None:
        """Let go of what runs."""
        self.closed = True
        self._running, self._names = [], set()
