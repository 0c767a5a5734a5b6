"""Where a training stands: what the loop itself must remember over a restart."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crossmod.engine.alarms import Alarm, new_alarms

# So many epochs of mean losses are kept for whoever watches.
EPOCHS_REMEMBERED = 20


@dataclass(frozen=True)
class Sight:
    """What was seen when the training was looked at, after an epoch.

    Args:
        numbers: by name, for the metrics.
        score: of the networks as they are now, the lower the better; None: not scored after this epoch.
        alarms: what looks wrong.
        picture: a PNG that was written.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    alarms: Sequence[Alarm] = ()
    picture: Path | None = None


@dataclass
class Standing:
    """Where a training stands.

    Args:
        step: steps taken.
        seconds: of training, all sittings together.
        over: it ended before its last step, since it got no better.
        best: score, step and epoch of the best networks so far.
        waited: scores since then.
        alarms: what was raised so far, as the metrics hold it.
        history: mean losses of the last whole epochs.
        sums: of losses since the epoch began, and of how many steps.
        threads: CPU threads that computed, and from which step on, oldest first.
    """

    step: int = 0
    seconds: float = 0.0
    over: bool = False
    best: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    alarms: list[dict[str, Any]] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    threads: list[dict[str, int]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @property
    def best_step(self) -> int | None:
        """The step of the best networks so far."""
        return int(self.best["step"]) if self.best else None

    def computes_with(self, threads: int) -> None:
        """From the next step on so many CPU threads compute."""
        if not self.threads or self.threads[-1]["threads"] != threads:
            self.threads.append({"step": self.step, "threads": threads})

    def count(self, means: Mapping[str, float], steps: int) -> None:
        """Add the mean losses of some steps to those of the epoch."""
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean * steps
        self.summed += steps

    def end_epoch(self) -> None:
        """Put the epoch's mean losses into the history."""
        for name, total in self.sums.items():
            self.history[name] = [*self.history.get(name, []), total / self.summed][-EPOCHS_REMEMBERED:]
        self.sums, self.summed = {}, 0

    def new(self, alarms: Sequence[Alarm], epoch: int) -> list[Alarm]:
        """The alarms that were not raised before; from now on they were."""
        fresh = new_alarms(alarms, self._raised())
        self.alarms += [{"step": self.step, "epoch": epoch, **alarm.reading} for alarm in fresh]
        return fresh

    def _raised(self) -> Collection[str]:
        return {alarm["alarm"] for alarm in self.alarms}

    def is_best(self, score: float | None, epoch: int) -> bool:
        """Whether a score is the best so far; from now on it is. One that is not finite never is."""
        if score is None:
            return False
        if not math.isfinite(score) or (self.best and not score < self.best["score"]):
            self.waited += 1
            return False
        self.best, self.waited = {"score": score, "step": self.step, "epoch": epoch}, 0
        return True
