"""What the loop trains: networks, their optimizers, whatever else must survive a restart, and one function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

Batch = Mapping[str, Tensor]
Losses = dict[str, Float[Tensor, ""]]


@runtime_checkable
class Stateful(Protocol):
    """Anything with a state that a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...  # noqa: D102


def no_draws(rng: np.random.Generator) -> Batch:
    """A step without chance."""
    return {}


@dataclass(frozen=True)
class Trainee:
    """A family or a segmenter, ready to be trained.

    Args:
        networks: by the paper's symbol.
        optimizers: by the networks that they move.
        step: one update of everything from one batch; gives detached losses. It works on the device alone, asks the
            host nothing and draws nothing but dropout, so that it can be recorded and replayed.
        draw: what else the host draws for a step, such as pool exchanges; it goes into the batch. Its generator is the
            step's own.
        memory: what else must survive a restart, such as image pools; each process has its own.
        blocks: parts of the networks that are compiled, each as one; none: compiling wins nothing.
        averages: running averages of networks, by the network's name; empty: the networks as they are trained count.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    step: Callable[[Batch], Losses]
    draw: Callable[[np.random.Generator], Batch] = no_draws
    memory: dict[str, Stateful] = field(default_factory=dict)
    blocks: tuple[nn.Module, ...] = ()
    averages: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, nn.Module]:
        """The networks that are looked at and used: averaged ones where there are any."""
        return {**self.networks, **self.averages}


@runtime_checkable
class Batches(Protocol):
    """Training data: any batch of any epoch, the same whenever it is asked for."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        ...

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch of one step; it depends on nothing but the seed, the epoch and the step."""
        ...


def parameters(network: nn.Module) -> int:
    """How many numbers are trained in a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
