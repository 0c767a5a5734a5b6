"""The weights of a bundle: safetensors, read without trusting a word of its header.

Notable:
- The architecture says which tensors there must be, so that nothing is allocated because the file says so.
- The bytes are read once, and what is checked is what is used.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from crossmod.engine.checkpoint import weights_hash
from crossmod.files import replacing
from crossmod.inference.bundle.format import WEIGHTS_FILE, Bundle, Entry
from crossmod.inference.bundle.networks import Shapes, shapes_of
from crossmod.inference.bundle.parse import damaged, read_bounded, strict_json

MOST_HEADER = 2**20


def write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by name, in fp32, whole or not at all."""
    with replacing(path) as temporary:
        save_file({name: tensors[name].detach().cpu().float().contiguous() for name in sorted(tensors)}, temporary)


def read_weights(folder: Path, bundle: Bundle) -> dict[str, Tensor]:
    """The tensors of a bundle by name, each of the shape that its architecture asks for.

    Raises:
        InputError: the file is not the one that `bundle` speaks of, or holds anything but finite fp32 tensors of it.
    """
    path, told = folder / WEIGHTS_FILE, bundle.files[WEIGHTS_FILE]
    shapes = shapes_of(bundle, folder)
    data = 4 * sum(math.prod(shape) for shape in shapes.values())
    content = read_bounded(path, 8 + MOST_HEADER + data, exactly=told.bytes)
    # Before the hash: what a header lies about is told as that.
    places = dict(_places(content, shapes, data, path))
    if hashlib.sha256(content).hexdigest() != told.sha256:
        raise damaged(path, "other bytes than bundle.json names by their SHA-256")
    tensors = {}
    for name, start in places.items():
        # Cloned, since a header of odd length leaves the numbers at odd places.
        count = math.prod(shapes[name])
        tensors[name] = torch.frombuffer(content, dtype=torch.float32, count=count, offset=start).clone()
        if not bool(torch.isfinite(tensors[name]).all()):
            raise damaged(path, f"NaN or infinity in {name}")
        tensors[name] = tensors[name].reshape(shapes[name])
    return tensors


def _places(content: bytearray, shapes: Shapes, data: int, path: Path) -> Iterator[tuple[str, int]]:
    """Where each tensor begins; together they fill the file."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MOST_HEADER, len(content) - 8):
        raise damaged(path, f"a header of {length} bytes in a file of {len(content)}")
    header = strict_json(content[8 : 8 + length], path)
    if not isinstance(header, dict) or set(header) != set(shapes):
        strange = sorted(set(header) ^ set(shapes)) if isinstance(header, dict) else ["no header"]
        raise damaged(path, f"other tensors than the architecture has: {strange[0]}")
    if len(content) != 8 + length + data:
        raise damaged(path, f"{len(content) - 8 - length} bytes of numbers where the architecture has {data}")
    ends = 0
    for name, told in sorted(header.items(), key=lambda item: _begin(item[1])):
        shape = shapes[name]
        wanted = {"dtype": "F32", "shape": list(shape), "data_offsets": [ends, ends + 4 * math.prod(shape)]}
        # As text, since 1.0 and True equal 1.
        if repr(_plain(told)) != repr(_plain(wanted)):
            raise damaged(path, f"{told} for {name} where there should be {wanted}")
        yield name, 8 + length + ends
        ends = wanted["data_offsets"][1]


def _begin(told: Any) -> int:
    offsets = told.get("data_offsets") if isinstance(told, dict) else None
    return offsets[0] if isinstance(offsets, list) and offsets and type(offsets[0]) is int else -1


def _plain(told: Any) -> Any:
    return sorted(told.items()) if isinstance(told, dict) else told


def hash_of(entry: Entry, tensors: dict[str, Tensor]) -> str:
    """SHA-256 over the names and values of one network's tensors."""
    return weights_hash(of_network(entry.name, tensors))


def of_network(network: str, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of one network, by part and by their own name."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        whose, part, own = name.split("/")
        if whose == network:
            found.setdefault(part, {})[own] = tensor
    return found
