"""Load a bundle as networks that translate: without pickle, training code, or trust in its content.

Notable:
- The architecture determines the tensors, so that no size in the weights file is trusted.
- The bytes are read once: what is checked is what is used.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import Compute, apply, choose, pick_device, prepare
from crossmod.engine.distributed import suited_to
from crossmod.files import atomic_write
from crossmod.inference.bundle.parse import (
    Shapes,
    damaged,
    networks_of,
    read_bounded,
    read_bundle,
    shapes_of,
    strict_json,
)
from crossmod.inference.bundle.schema import OF_ABOUT, WEIGHTS_FILE, Bundle, Entry
from crossmod.inference.types import About
from crossmod.metrics.fingerprint import Fingerprint
from crossmod.networks.blocks import blocks

MOST_HEADER = 2**20


def write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by name, in fp32, atomically."""
    with atomic_write(path) as temporary:
        save_file({name: tensors[name].detach().cpu().float().contiguous() for name in sorted(tensors)}, temporary)


def read_weights(folder: Path, bundle: Bundle) -> dict[str, Tensor]:
    """The tensors of a bundle by name, of the shapes of its architecture.

    Raises:
        InputError: the file is not the one named in `bundle`, or has anything but finite fp32 tensors of it.
    """
    path, expected = folder / WEIGHTS_FILE, bundle.files[WEIGHTS_FILE]
    shapes = shapes_of(bundle, folder)
    data = 4 * sum(math.prod(shape) for shape in shapes.values())
    content = read_bounded(path, 8 + MOST_HEADER + data, exactly=expected.bytes)
    # Before the hash, so that a false header is reported as such.
    places = dict(_places(content, shapes, data, path))
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise damaged(path, "other bytes than bundle.json names by their SHA-256")
    tensors = {}
    for name, start in places.items():
        # Cloned, since a header of odd length misaligns the numbers.
        count = math.prod(shapes[name])
        tensors[name] = torch.frombuffer(content, dtype=torch.float32, count=count, offset=start).clone()
        if not bool(torch.isfinite(tensors[name]).all()):
            raise damaged(path, f"NaN or infinity in {name}")
        tensors[name] = tensors[name].reshape(shapes[name])
    return tensors


def _places(content: bytearray, shapes: Shapes, data: int, path: Path) -> Iterator[tuple[str, int]]:
    """The offset of each tensor; together they fill the file."""
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
    for name, entry in sorted(header.items(), key=lambda item: _begin(item[1])):
        end = ends + 4 * math.prod(shapes[name])
        expected = {"data_offsets": [ends, end], "dtype": "F32", "shape": list(shapes[name])}
        # As text, since 1.0 and True equal 1.
        if not isinstance(entry, dict) or repr(sorted(entry.items())) != repr(sorted(expected.items())):
            raise damaged(path, f"{entry} for {name} where there should be {expected}")
        yield name, 8 + length + ends
        ends = end


def _begin(entry: object) -> int:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return offsets[0] if isinstance(offsets, list) and offsets and type(offsets[0]) is int else -1


def hash_of(entry: Entry, tensors: dict[str, Tensor]) -> str:
    """SHA-256 over the names and values of one network's tensors."""
    return weights_hash(_of_network(entry.name, tensors))


def _of_network(network: str, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of one network, by part and name."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, part, name = key.split("/")
        if owner == network:
            parts.setdefault(part, {})[name] = tensor
    return parts


@dataclass(frozen=True, eq=False)
class BundleNetwork:
    """A `Network` from a bundle.

    Args:
        segmentor: S, if there is one.
        fingerprint: of its training images, if known.
    """

    about: About
    generator: nn.Module
    segmentor: nn.Module | None
    compute: Compute
    fingerprint: Fingerprint | None = None

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], and give the class of each pixel from S, if there is an S.

        Raises:
            InputError: the output is not finite, as with weights that overflow.
        """
        with suited_to(self.generator, images.shape[-1], self.compute.device):
            fakes, answers = apply(self.generator, self.segmentor, images, self.compute)
        if not np.isfinite(fakes).all():
            raise damaged(self.about.name, "NaN or infinity in its output")
        return fakes, answers


def load_networks(path: Path, *, device: str = "auto") -> tuple[BundleNetwork, ...]:
    """Every network of a bundle, in its order; each makes its own CT window.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: the folder is not a bundle, or is one of a newer crossmod, damaged, or malicious.
    """
    bundle = read_bundle(path)
    place = pick_device(device)
    tensors = read_weights(path, bundle)
    loaded = []
    for entry in bundle.networks:
        if hash_of(entry, tensors) != entry.weights:
            raise damaged(path, f"other weights than {entry.name} is said to have")
        # Compiling takes longer than a volume.
        compute = choose(place, entry.precision, "off")
        parts = networks_of(entry)
        for part, state in _of_network(entry.name, tensors).items():
            parts[part].load_state_dict(state, assign=True)
            parts[part].requires_grad_(False).to(place).eval()
        prepare(parts.values(), blocks(parts.values()), compute)
        about, segmentor = about_entry(bundle, entry), parts.get("segmentor")
        loaded.append(BundleNetwork(about, parts["generator"], segmentor, compute, entry.fingerprint))
    return tuple(loaded)


def about_entry(bundle: Bundle, entry: Entry) -> About:
    """What a bundle says of one of its networks."""
    return About(
        name=f"{bundle.name}, {entry.name}" if len(bundle.networks) > 1 else bundle.name,
        source=bundle.source,
        target=bundle.target,
        inputs=bundle.inputs,
        weights=entry.weights,
        trained_on={side: counts.model_dump() for side, counts in entry.trained_on.items()},
        licence=bundle.card.licence,
        stack=entry.architecture.stack,
        **{field: getattr(entry, field) for field in OF_ABOUT},
    )
