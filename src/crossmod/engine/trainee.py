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


@dataclass(frozen=True)
class Trainee:
    """A family or a segmenter, ready to be trained.

    Args:
        networks: by the paper's symbol.
        optimizers: by the networks that they move.
        step: one update of everything from one batch; gives detached losses. Its generator is the step's own.
        memory: what else must survive a restart, such as image pools.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    step: Callable[[Batch, np.random.Generator], Losses]
    memory: dict[str, Stateful] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Stateful]:
        """All that a checkpoint holds of it."""
        optimizers: dict[str, Stateful] = {f"optimizer {name}": o for name, o in self.optimizers.items()}
        return {**self.networks, **optimizers, **self.memory}


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
