"""Trainer state that must survive a restart, and the task that the loop trains."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from crossmod.engine.alarms import Alarm, new_alarms
from crossmod.runs import AlarmRecord

# Nested tensors and plain values, as a checkpoint holds them.
State: TypeAlias = dict[str, Any]

# Epochs whose mean losses are kept for alarms.
EPOCHS_REMEMBERED = 20


@dataclass(frozen=True)
class ValidationResult:
    """Result of a validation after an epoch."""

    numbers: Mapping[str, float] = field(default_factory=dict)  # by name, for the metrics
    score: float | None = None  # of the networks, the lower the better; None: not scored after this epoch
    alarms: Sequence[Alarm] = ()
    picture: Path | None = None  # a PNG that was written


@dataclass
class TrainerState:
    """State of a training."""

    step: int = 0  # steps taken
    seconds: float = 0.0  # of training, all sittings together
    over: bool = False  # it ended before its last step, since scores no longer improved
    best: dict[str, float] = field(default_factory=dict)  # score, step and epoch of the best networks so far
    waited: int = 0  # scores since then
    alarms: list[AlarmRecord] = field(default_factory=list)  # raised so far
    history: dict[str, list[float]] = field(default_factory=dict)  # mean losses of the last complete epochs
    sums: dict[str, float] = field(default_factory=dict)  # of losses since the epoch began
    summed: int = 0  # steps since the epoch began
    # Number of CPU threads, and from which step on, oldest first
    threads: list[dict[str, int]] = field(default_factory=list)

    def state_dict(self) -> State:
        """As plain data."""
        return asdict(self)

    @property
    def best_step(self) -> int | None:
        """The step of the best networks so far."""
        return int(self.best["step"]) if self.best else None

    def computes_with(self, threads: int) -> None:
        """Record the number of CPU threads from the next step on."""
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
        """The alarms that were not raised before; records them."""
        fresh = new_alarms(alarms, {alarm["alarm"] for alarm in self.alarms})
        self.alarms += [alarm.record(self.step, epoch) for alarm in fresh]
        return fresh

    def is_best(self, score: float | None, epoch: int) -> bool:
        """Whether a score is the best so far, which is recorded; one that is not finite never is."""
        if score is None:
            return False
        if not math.isfinite(score) or (self.best and not score < self.best["score"]):
            self.waited += 1
            return False
        self.best, self.waited = {"score": score, "step": self.step, "epoch": epoch}, 0
        return True


Batch = Mapping[str, Tensor]
Losses = dict[str, Float[Tensor, ""]]


@runtime_checkable
class Stateful(Protocol):
    """Anything with a state that a checkpoint can hold."""

    def state_dict(self) -> State: ...  # noqa: D102
    def load_state_dict(self, state: State, /) -> Any: ...  # noqa: D102


def no_random_draws(rng: np.random.Generator) -> Batch:
    """For steps without randomness."""
    return {}


@dataclass(frozen=True)
class TrainingTask:
    """A family or a segmenter, ready to be trained.

    Args:
        networks: by the paper's symbol.
        optimizers: by the networks that they update.
        step: one update of everything from one batch; returns detached losses. It works on the device only and draws
            nothing except dropout, so that it can be recorded and replayed.
        draw: other draws of the host for a step, such as pool exchanges, which are added to the batch; each step has
            its own random generator.
        memory: other state that must survive a restart, such as image pools; each process has its own.
        blocks: parts of the networks that are compiled separately; none: compiling saves nothing.
        averages: running averages of networks, by the network's name; empty: no averages.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    step: Callable[[Batch], Losses]
    draw: Callable[[np.random.Generator], Batch] = no_random_draws
    memory: dict[str, Stateful] = field(default_factory=dict)
    blocks: tuple[nn.Module, ...] = ()
    averages: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, nn.Module]:
        """The networks that are validated and used: averaged ones if any."""
        return {**self.networks, **self.averages}


@runtime_checkable
class Batches(Protocol):
    """Training data: any batch of any epoch, the same at each call."""

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        ...

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch of one step; it depends only on the seed, the epoch and the step."""
        ...


def parameters(network: nn.Module) -> int:
    """Number of trained parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
