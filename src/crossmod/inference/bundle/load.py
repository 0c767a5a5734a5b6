"""A bundle as a network that translates: loaded with no pickle, no training code, and no trust in its content.

Notable:
- The architecture says which tensors there must be, so that nothing is allocated because the file says so.
- The bytes are read once, and what is checked is what is used.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import Compute, apply, choose, pick_device, prepare
from crossmod.engine.threads import suited_to
from crossmod.errors import InputError
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
from crossmod.inference.bundle.schema import WEIGHTS_FILE, Bundle, Entry
from crossmod.inference.trust.similarity import Fingerprint
from crossmod.inference.types import About
from crossmod.networks.blocks import blocks

MOST_HEADER = 2**20


def write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by name, in fp32, whole or not at all."""
    with atomic_write(path) as temporary:
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
        expected = {"dtype": "F32", "shape": list(shape), "data_offsets": [ends, ends + 4 * math.prod(shape)]}
        # As text, since 1.0 and True equal 1.
        if repr(_plain(told)) != repr(_plain(expected)):
            raise damaged(path, f"{told} for {name} where there should be {expected}")
        yield name, 8 + length + ends
        ends = expected["data_offsets"][1]


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


@dataclass(frozen=True, eq=False)
class BundleNetwork:
    """A `Network` from a bundle.

    Args:
        about: what is known of it.
        generator: from source to target.
        segmentor: S, where there is one.
        compute: where and how it computes.
        fingerprint: what the inputs of its training looked like, where that is known.
    """

    about: About
    generator: nn.Module
    segmentor: nn.Module | None
    compute: Compute
    fingerprint: Fingerprint | None = None

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Slices in [-1, 1] to slices in [-1, 1], and the class that S sees at each pixel, where there is an S.

        Raises:
            InputError: what comes out is no image, as of weights that were made to overflow.
        """
        with suited_to(self.generator, images.shape[-1], self.compute.device):
            fakes, answers = apply(self.generator, self.segmentor, images, self.compute)
        if not np.isfinite(fakes).all():
            raise damaged(self.about.name, "values that are no numbers in what it makes")
        return fakes, answers


def load_bundle(path: Path, *, device: str = "auto", network: str | None = None) -> BundleNetwork:
    """One network of a bundle.

    Args:
        path: the bundle's folder.
        device: where to compute: `auto`, `cpu` or `cuda`.
        network: by its name in the bundle; default: the first.

    Raises:
        InputError: the folder is no bundle, one of a newer crossmod, damaged, or made to do harm.
    """
    bundle = read_bundle(path)
    names = [entry.name for entry in bundle.networks]
    if network is not None and network not in names:
        expected = f"one of {', '.join(names)}"
        raise InputError(path, found=f"no network {network!r}", expected=expected, do="Choose one of them.")
    return _loaded(path, bundle, device, (network or names[0],))[0]


def load_networks(path: Path, *, device: str = "auto") -> tuple[BundleNetwork, ...]:
    """Every network of a bundle, in its order: of one patient's scan, each makes its own CT window.

    Raises:
        InputError: as `load_bundle`.
    """
    bundle = read_bundle(path)
    return _loaded(path, bundle, device, tuple(entry.name for entry in bundle.networks))


def _loaded(path: Path, bundle: Bundle, device: str, expected: tuple[str, ...]) -> tuple[BundleNetwork, ...]:
    place = pick_device(device)
    tensors = read_weights(path, bundle)
    made = []
    for entry in bundle.networks:
        if entry.name not in expected:
            continue
        if hash_of(entry, tensors) != entry.weights:
            raise damaged(path, f"other weights than {entry.name} is said to have")
        # Compiling takes longer than a volume.
        compute = choose(place, entry.precision, "off")
        parts = networks_of(entry)
        for part, state in of_network(entry.name, tensors).items():
            parts[part].load_state_dict(state, assign=True)
            parts[part].requires_grad_(False).to(place).eval()
        prepare(parts.values(), blocks(parts.values()), compute)
        made.append(
            BundleNetwork(
                about_entry(bundle, entry), parts["generator"], parts.get("segmentor"), compute, entry.fingerprint
            )
        )
    return tuple(made)


def about_entry(bundle: Bundle, entry: Entry) -> About:
    """What a bundle says of one of its networks."""
    several = len(bundle.networks) > 1
    return About(
        name=f"{bundle.name}, {entry.name}" if several else bundle.name,
        family=entry.family,
        source=bundle.source,
        target=bundle.target,
        inputs=bundle.inputs,
        size=entry.size,
        field_mm=entry.field_mm,
        low=entry.low,
        high=entry.high,
        window=entry.window,
        organs=entry.organs,
        weights=entry.weights,
        version=entry.version,
        trained_on={side: one.model_dump() for side, one in entry.trained_on.items()},
        licence=bundle.card.licence,
        percentiles=entry.percentiles,
        flip=entry.flip,
        sequence=entry.sequence,
        contrast=entry.contrast,
        stack=entry.architecture.stack,
        stack_mm=entry.stack_mm,
        frame=entry.frame,
        pixel_mm=entry.pixel_mm,
    )
