"""Checkpoints: one safetensors file that holds all that must survive a restart, and a checksum of itself.

Notable:
- A file that does not fit its checksum is named and left aside; the one before it is used.
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

from crossmod.engine.tree import flatten, unflatten
from crossmod.errors import InputError
from crossmod.files import replacing

log = logging.getLogger(__name__)


def save(folder: Path, step: int, state: dict[str, Any], *, keep: int = 2, best: int | None = None) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`, and all but the best networks that it speaks of.

    Args:
        folder: the run's checkpoints.
        step: steps taken so far; it names the file.
        state: nested dicts and lists of tensors and plain values.
        keep: how many stay, this one included.
        best: the step of the best networks, where there are any.
    """
    path = at_step(folder, step)
    write(path, state)
    surpassed = {*folder.glob("best-*.safetensors")} - ({best_at(folder, best)} if best is not None else set())
    for old in (*checkpoints(folder)[:-keep], *surpassed):
        old.unlink()
    return path


def write(path: Path, state: dict[str, Any]) -> None:
    """Write one state to a file, with a checksum, whole or not at all."""
    tensors, skeleton = flatten(state)
    text = json.dumps(skeleton)
    with replacing(path) as temporary:
        save_file(_unshared(tensors), temporary, {"state": text, "checksum": _checksum(tensors, text)})


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses two names for one memory; the state of a tied parameter is written twice instead.
    seen: set[int] = set()
    given = {}
    for name, tensor in tensors.items():
        given[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return given


def at_step(folder: Path, step: int) -> Path:
    """The file of the checkpoint that was written after so many steps."""
    return folder / f"step-{step:08d}.safetensors"


def best_at(folder: Path, step: int) -> Path:
    """The file of networks that were the best when they were scored after so many steps."""
    return folder / f"best-{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def newest(folder: Path) -> dict[str, Any] | None:
    """The state in the newest checkpoint that is whole; None where there is none at all.

    Raises:
        InputError: there are checkpoints, and every one is damaged.
    """
    paths = checkpoints(folder)
    for path in reversed(paths):
        try:
            return load(path)
        except InputError as error:
            log.warning("%s %s", error, "The checkpoint before it is used." if path != paths[0] else "")
    if paths:
        found = f"{len(paths)} checkpoints, all damaged"
        raise InputError(folder, found=found, wanted="a whole one", do="Train anew in another folder.")
    return None


def load(path: Path) -> dict[str, Any]:
    """The state in one checkpoint.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - it is no dict
        if header["checksum"] != _checksum(tensors, header["state"]):
            raise ValueError("its bytes do not fit its checksum")
        return unflatten(tensors, json.loads(header["state"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        found = f"a damaged checkpoint ({error})"
        raise InputError(path, found=found, wanted="the file as it was written", do="Remove it.") from None


def load_weights(network: nn.Module, state: dict[str, Tensor], name: str, subject: object) -> None:
    """Put weights into a network.

    Raises:
        InputError: they are those of another architecture.
    """
    own = network.state_dict()
    strange = sorted(set(own) ^ set(state)) or [key for key in own if own[key].shape != state[key].shape]
    if strange:
        key = strange[0]
        sides = [str(list(side[key].shape)) if key in side else "nothing" for side in (state, own)]
        raise InputError(
            subject,
            found=f"weights of another architecture: {name} holds {sides[0]} for {key}",
            wanted=sides[1],
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
