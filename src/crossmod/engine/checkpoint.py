"""Checkpoints: one safetensors file with everything that must survive a restart, and a checksum of itself.

Notable:
- A file that does not match its checksum is reported; the one before it is used.
- No pickle: tensors by name, the rest as JSON in the file's header.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from crossmod.engine.distributed import Distributed
from crossmod.engine.optimizers import load_optimizer
from crossmod.engine.state import State, TrainerState, TrainingTask
from crossmod.errors import InputError
from crossmod.files import atomic_write
from crossmod.runs import Run

TENSOR = "tensor:"


def flatten(tree: Any, name: str = "") -> tuple[dict[str, Tensor], Any]:
    """Take the tensors out of a tree: the tensors by their path, on the CPU, and the tree with `"tensor:<path>"` in
    their place; dicts become pairs, since keys in JSON cannot be numbers."""
    if isinstance(tree, Tensor):
        # To the host first: a copy in another layout would take memory on the device.
        return {name: tree.detach().cpu().contiguous()}, TENSOR + name
    if isinstance(tree, dict | list | tuple):
        pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
        tensors: dict[str, Tensor] = {}
        skeleton = []
        for key, value in pairs:
            own, plain = flatten(value, f"{name}/{key}" if name else str(key))
            if tensors.keys() & own.keys():
                raise ValueError(f"two tensors would be called {next(iter(tensors.keys() & own.keys()))}")
            tensors |= own
            skeleton.append([key, plain])
        return tensors, {"dict" if isinstance(tree, dict) else "list": skeleton}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {}, tree
    raise TypeError(f"{name}: a {type(tree).__name__} cannot go into a checkpoint")


def unflatten(tensors: dict[str, Tensor], skeleton: Any) -> Any:
    """Put the tensors back into their tree."""
    if isinstance(skeleton, dict):
        kind, pairs = next(iter(skeleton.items()))
        values = [(key, unflatten(tensors, plain)) for key, plain in pairs]
        return dict(values) if kind == "dict" else [value for _, value in values]
    if isinstance(skeleton, str) and skeleton.startswith(TENSOR):
        return tensors[skeleton.removeprefix(TENSOR)]
    return skeleton


def snapshot(trainee: TrainingTask, at: TrainerState, world: Distributed) -> State:
    """State shared by all processes, and that of each; every process must call it, and the first one gets
    everything."""
    random = {"cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(world.device)
    own = {"memory": {name: part.state_dict() for name, part in trainee.memory.items()}, "random": random}
    return {
        "standing": at.state_dict(),
        "networks": {name: network.state_dict() for name, network in trainee.networks.items()},
        "averages": {name: network.state_dict() for name, network in trainee.averages.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainee.optimizers.items()},
        "ranks": world.gather(unflatten(*flatten(own))),  # on the CPU
    }


def best(trainee: TrainingTask, at: TrainerState) -> State:
    """The networks that were scored, without what only training needs."""
    return {"best": at.best, "networks": {name: network.state_dict() for name, network in trainee.model.items()}}


def restore(trainee: TrainingTask, run: Run, world: Distributed) -> TrainerState:
    """Restore the newest undamaged checkpoint of the run."""
    state = newest(run.path / "checkpoints")
    at = TrainerState(**state["standing"]) if state else TrainerState()
    world.once(lambda: run.rewind_metrics(at.step))
    if state is None:
        return at
    if len(state["ranks"]) != world.ranks:
        raise InputError(
            run.path,
            found=f"a run of {len(state['ranks'])} processes, continued with {world.ranks}",
            expected="as many as it began with",
            do="Give the same --devices and --nodes.",
        )
    for name, network in trainee.networks.items():
        load_weights(network, state["networks"][name], name, run.path)
    for name, network in trainee.averages.items():
        load_weights(network, state["averages"][name], name, run.path)
    for name, optimizer in trainee.optimizers.items():
        load_optimizer(optimizer, state["optimizers"][name])
    own = state["ranks"][world.rank]
    for name, part in trainee.memory.items():
        part.load_state_dict(own["memory"][name])
    torch.set_rng_state(own["random"]["cpu"])
    if world.device.type == "cuda" and "cuda" in own["random"]:
        torch.cuda.set_rng_state(own["random"]["cuda"], world.device)
    return at


log = logging.getLogger(__name__)


def save(folder: Path, step: int, state: State, *, keep: int = 2, best: int | None = None) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`, and all best networks except those of step `best`."""
    path = at_step(folder, step)
    write(path, state)
    surpassed = {*folder.glob("best-*.safetensors")} - ({best_at(folder, best)} if best is not None else set())
    for old in (*checkpoints(folder)[:-keep], *surpassed):
        old.unlink()
    return path


def write(path: Path, state: State) -> None:
    """Write one state to a file with a checksum, atomically."""
    tensors, skeleton = flatten(state)
    text = json.dumps(skeleton)
    with atomic_write(path) as temporary:
        save_file(_unshared(tensors), temporary, {"state": text, "checksum": _checksum(tensors, text)})


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses two names for one memory; the state of a tied parameter is written twice instead.
    seen: set[int] = set()
    unshared = {}
    for name, tensor in tensors.items():
        unshared[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return unshared


def at_step(folder: Path, step: int) -> Path:
    """The file of the checkpoint after this number of steps."""
    return folder / f"step-{step:08d}.safetensors"


def best_at(folder: Path, step: int) -> Path:
    """The file of the networks that were the best when scored after this number of steps."""
    return folder / f"best-{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def newest(folder: Path) -> State | None:
    """The state in the newest undamaged checkpoint; None without checkpoints."""
    paths = checkpoints(folder)
    for path in reversed(paths):
        try:
            return load(path)
        except InputError as error:
            log.warning("%s %s", error, "The checkpoint before it is used." if path != paths[0] else "")
    if paths:
        found = f"{len(paths)} checkpoints, all damaged"
        raise InputError(folder, found=found, expected="an undamaged one", do="Train again in another folder.")
    return None


def load(path: Path) -> State:
    """The state in one checkpoint."""
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - it is no dict
        if header["checksum"] != _checksum(tensors, header["state"]):
            raise ValueError("its bytes do not match its checksum")
        return unflatten(tensors, json.loads(header["state"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        found = f"a damaged checkpoint ({error})"
        raise InputError(path, found=found, expected="the file as it was written", do="Remove it.") from None


def trained_weights(run: Path, step: int, sha256: str, *, best: bool = False) -> dict[str, dict[str, Tensor]]:
    """The weights of a finished run by network, averaged ones where the run has them; `sha256`: their hash in the
    card."""
    file = (best_at if best else at_step)(run / "checkpoints", step)
    state = load(file)
    networks = {**state["networks"], **state.get("averages", {})}
    if weights_hash(networks) != sha256:
        found = f"other weights than the run {'had at its best' if best else 'ended with'}"
        do = "Restore the file, or train again in another folder."
        raise InputError(file, found=found, expected=f"those of {sha256[:12]}", do=do)
    return networks


def load_weights(network: nn.Module, state: dict[str, Tensor], name: str, subject: object) -> None:
    """Load weights into a network."""
    own = network.state_dict()
    strange = sorted(set(own) ^ set(state)) or [key for key in own if own[key].shape != state[key].shape]
    if strange:
        key = strange[0]
        sides = [str(list(side[key].shape)) if key in side else "nothing" for side in (state, own)]
        raise InputError(
            subject,
            found=f"weights of another architecture: {name} holds {sides[0]} for {key}",
            expected=sides[1],
            do="Use the settings that the run was trained with; they are in its config.yaml.",
        )
    network.load_state_dict(state)


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        # A view of the bytes: bfloat16 has no NumPy counterpart.
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weights_hash(weights: Mapping[str, Mapping[str, Tensor]]) -> str:
    """SHA-256 over the names and values of networks' weights: the name of a model."""
    tensors = {f"{name}/{key}": tensor.cpu() for name, state in weights.items() for key, tensor in state.items()}
    return _checksum({key: tensor.contiguous() for key, tensor in tensors.items()}, "")
