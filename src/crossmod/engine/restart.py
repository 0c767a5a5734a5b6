"""All that must survive a restart as one dict, and back."""

from typing import Any

import torch

from crossmod.engine import checkpoint
from crossmod.engine.optimizers import load_optimizer
from crossmod.engine.standing import Standing
from crossmod.engine.trainee import Trainee
from crossmod.engine.tree import flatten, unflatten
from crossmod.engine.world import World
from crossmod.errors import InputError
from crossmod.runs import Run


def snapshot(trainee: Trainee, at: Standing, world: World) -> dict[str, Any]:
    """Networks, averages and optimizers, which all processes share; of each process its memory and random states.

    Every process must call it; the first one is given all.
    """
    random = {"cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(world.device)
    own = {"memory": {name: part.state_dict() for name, part in trainee.memory.items()}, "random": random}
    return {
        "standing": at.state_dict(),
        "networks": {name: network.state_dict() for name, network in trainee.networks.items()},
        "averages": {name: network.state_dict() for name, network in trainee.averages.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainee.optimizers.items()},
        "ranks": world.gather(_on_cpu(own)),
    }


def best(trainee: Trainee, at: Standing) -> dict[str, Any]:
    """The networks that were scored, without what only training needs."""
    return {"best": at.best, "networks": {name: network.state_dict() for name, network in trainee.model.items()}}


def restore(trainee: Trainee, run: Run, world: World) -> Standing:
    """Put everything back as the run's newest whole checkpoint has it.

    Raises:
        InputError: the checkpoint is of other networks or of another number of processes.
    """
    state = checkpoint.newest(run.path / "checkpoints")
    at = Standing(**state["standing"]) if state else Standing()
    world.once(lambda: run.rewind_metrics(at.step))
    if state is None:
        return at
    if len(state["ranks"]) != world.ranks:
        raise InputError(
            run.path,
            found=f"a run of {len(state['ranks'])} processes, continued with {world.ranks}",
            wanted="as many as it began with",
            do="Give the same --devices and --nodes.",
        )
    for name, network in trainee.networks.items():
        checkpoint.load_weights(network, state["networks"][name], name, run.path)
    for name, network in trainee.averages.items():
        checkpoint.load_weights(network, state["averages"][name], name, run.path)
    for name, optimizer in trainee.optimizers.items():
        load_optimizer(optimizer, state["optimizers"][name])
    own = state["ranks"][world.rank]
    for name, part in trainee.memory.items():
        part.load_state_dict(own["memory"][name])
    torch.set_rng_state(own["random"]["cpu"])
    if world.device.type == "cuda" and "cuda" in own["random"]:
        torch.cuda.set_rng_state(own["random"]["cuda"], world.device)
    return at


def _on_cpu(tree: dict[str, Any]) -> dict[str, Any]:
    tensors, skeleton = flatten(tree)
    return unflatten(tensors, skeleton)
