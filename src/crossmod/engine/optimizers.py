"""Optimizers, learning rates over time, and moving averages of the weights."""

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from crossmod.engine.state import Batch, Losses, State, TrainingTask


def averaged(trainee: TrainingTask, names: tuple[str, ...], decay: float) -> TrainingTask:
    """The same trainee, with exponential moving averages of some of its networks, also of buffers such as batch norm's.
    After each step `average = decay * average + (1 - decay) * weights`; 0: no averages."""
    if decay == 0:
        return trainee
    averages = {name: copy.deepcopy(trainee.networks[name]).requires_grad_(False).eval() for name in names}
    old = [part for name in names for part in _parts(averages[name])]
    new = [part for name in names for part in _parts(trainee.networks[name])]

    def step(batch: Batch) -> Losses:
        losses = trainee.step(batch)
        with torch.no_grad():
            torch._foreach_lerp_(old, new, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        return losses

    return replace(trainee, step=step, averages=averages)


def _parts(network: nn.Module) -> list[Tensor]:
    # The parameters themselves: tensors of state_dict would be outdated when the memory layout is changed.
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]


# Options of a group that determine how it computes, not what.
OWN = ("lr", "fused", "capturable", "foreach", "differentiable")


def adam(weights: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], device: torch.device) -> Adam:
    """Adam (Kingma & Ba 2015), fused; on a GPU its steps and rates are tensors, since a CUDA graph would freeze
    numbers."""
    graphs = device.type == "cuda"
    lr = torch.tensor(rate, device=device) if graphs else rate
    return Adam(weights, lr, betas, fused=True, capturable=graphs)


def rates(optimizer: Optimizer) -> list[float]:
    """The learning rates of an optimizer's groups."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_rates(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Set the learning rate of each group, in place if it is a tensor."""
    for group, value in zip(optimizer.param_groups, values, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def load_optimizer(optimizer: Optimizer, state: State) -> None:
    """Restore the state of a checkpoint, each moment in the memory layout of its weight.

    A fused step iterates over weight, gradient and moments in parallel: moments in another layout would be silently
    exchanged between weights (PyTorch 2.13 does not check).

    Options of how the optimizer computes are kept: the checkpoint may be from another device, and its rates are numbers
    on the host, which a recorded step would freeze.
    """
    own = [{name: group[name] for name in OWN if name in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    saved = rates(optimizer)
    for group, options in zip(optimizer.param_groups, own, strict=True):
        group.update(options)
    set_rates(optimizer, saved)
    for weight, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, torch.Tensor) and moment.shape == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(moment)
