"""A training whose threads wait for cores that other programs use continues with fewer threads.

Notable:
- The kernel counts the waiting of each thread; a slow step may have other causes. Only Linux reports it: on other
  systems nothing is detected.
- Fewer threads order sums differently. Every change is recorded in the checkpoint and in the card, and a number of
  threads given by the user is never changed.
"""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from crossmod.engine.distributed import Distributed
from crossmod.engine.state import TrainerState

log = logging.getLogger(__name__)

# For every thread of this process: nanoseconds on a core, nanoseconds waiting for one, time slices.
TASKS = Path("/proc/self/task")
# Seconds between measurements; and of waiting before the number of threads is lowered.
BETWEEN, PATIENCE = 5.0, 15.0
# Waiting threads, on average. Two threads on two cores: 0.0 to 0.2 alone, 0.7 to 1.1 beside a busy program.
WAITING = 0.5
# The first steps of a sitting may compile, which keeps every core busy.
FIRST = 3


class Crowding:
    """Detects whether the threads of this process wait for cores that other programs use; `waited` and `clock` give
    seconds."""

    def __init__(self, waited: Callable[[], float | None] | None = None, clock: Callable[[], float] = time.monotonic):
        self._waited, self._clock = waited or seconds_waited, clock
        self.restart()

    def restart(self) -> None:
        """Forget earlier measurements, after work that was not training."""
        self._long = 0.0
        self._mark()

    def _mark(self) -> None:
        self._since, self._at = self._waited(), self._clock()

    def room_for(self, threads: int) -> int:
        """Number of threads that fit beside other programs: `threads`, or fewer if they have waited for long."""
        passed = self._clock() - self._at
        if threads < 2 or passed < BETWEEN:
            return threads
        since = self._since
        self._mark()
        if since is None or self._since is None:
            return threads
        waiting = (self._since - since) / passed
        self._long = self._long + passed if waiting >= WAITING else 0.0
        if self._long < PATIENCE:
            return threads
        self._long = 0.0
        # A thread that shares its core with another program waits half of the time.
        return max(1, threads - math.ceil(2 * waiting))


class GivingWay:
    """Lowers the number of threads after a step, or warns, if the cores are crowded; not on a GPU or with several
    processes."""

    def __init__(self, world: Distributed, at: TrainerState, crowding: Crowding | None = None):
        self._world, self._at = world, at
        self._crowding = crowding or Crowding()
        self._steps, self._warned = 0, False
        at.computes_with(torch.get_num_threads())

    def restart(self) -> None:
        """Ignore the time since the last step, which was not training."""
        self._crowding.restart()

    def after_step(self) -> None:
        """Measure, and lower the number of threads if required."""
        self._steps += 1
        if self._world.device.type != "cpu" or self._world.ranks > 1:
            return
        if self._steps <= FIRST:
            self._crowding.restart()
            return
        now = torch.get_num_threads()
        room = self._crowding.room_for(now)
        if room == now:
            return
        if not self._world.threads:
            torch.set_num_threads(room)
            self._at.computes_with(room)
        if not self._warned:
            log.warning(_ASKED_FOR if self._world.threads else _FEWER, {"now": now, "room": room})
        self._warned = True


_FEWER = (
    "Another program uses the same CPU cores: training continues with %(room)d of %(now)d threads, since threads that "
    "wait for each other become many times slower (--threads %(now)d would keep them all)."
)
_ASKED_FOR = (
    "Another program uses the same CPU cores, and %(now)d threads that wait for each other become many times slower: "
    "stop that program, or press Ctrl-C and rerun the command with --threads %(room)d."
)


def seconds_waited() -> float | None:
    """Seconds that the threads of this process have been ready to run without a core; None outside Linux."""
    try:
        return sum(_waited(task) for task in TASKS.iterdir()) / 1e9
    except OSError:
        return None


def _waited(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
