"""Running averages of weights: smoother than any single step's (Polyak & Juditsky 1992; Karras et al. 2018)."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from crossmod.engine.trainee import Batch, Losses, Trainee


def averaged(trainee: Trainee, names: tuple[str, ...], decay: float) -> Trainee:
    """The same trainee, with exponential moving averages of some of its networks.

    After each step `average = decay * average + (1 - decay) * weights`, buffers (such as batch norm's) likewise.

    Args:
        trainee: what is trained.
        names: of the networks to be averaged.
        decay: weight of the past; 0: no averages.
    """
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
    # The parameters themselves: what state_dict gives would be left behind when the memory layout is changed.
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]
