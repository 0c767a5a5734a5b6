"""Adam as the engine wants it: one kernel a step, and rates that a recorded step can follow."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

# Options of a group that say how it computes, not what.
OWN = ("lr", "fused", "capturable", "foreach", "differentiable")


def adam(weights: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], device: torch.device) -> Adam:
    """Adam (Kingma & Ba 2015), fused.

    On a GPU its step counts and rates are tensors there, since numbers would be frozen into a CUDA graph.
    """
    graphs = device.type == "cuda"
    lr = torch.tensor(rate, device=device) if graphs else rate
    return Adam(weights, lr, betas, fused=True, capturable=graphs)


def rates(optimizer: Optimizer) -> list[float]:
    """The learning rates of an optimizer's groups."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_rates(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Give each group its learning rate, in place where it is a tensor."""
    for group, value in zip(optimizer.param_groups, values, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Take the state of a checkpoint, each moment laid out in memory as its weight is.

    A fused step walks over weight, gradient and moments side by side: moments in another layout would be silently
    exchanged between weights (PyTorch 2.13 does not check).

    How the optimizer computes stays its own: the checkpoint may come from another device, and its rates are numbers on
    the host, which a recorded step would freeze.
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
