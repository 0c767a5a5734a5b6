"""Load a bundle as networks that translate: without pickle, training code, or trust in its content.

Notable:
- Sizes are bounded before parsing, and networks built only from checked numbers.
- The architecture determines the tensors, so that no size in the weights file is trusted.
- The bytes are read once: what is checked is what is used.
"""

import hashlib
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from pydantic import ValidationError
from torch import Tensor, nn

from crossmod.config import build
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import Compute, apply, choose, pick_device, prepare
from crossmod.engine.distributed import suited_to
from crossmod.errors import InputError
from crossmod.inference.bundle.schema import (
    DESCRIBED,
    FORMAT,
    JSON_FILE,
    OF_ABOUT,
    WEIGHTS_FILE,
    Bundle,
    Entry,
    printable,
)
from crossmod.inference.types import About
from crossmod.metrics.fingerprint import Fingerprint
from crossmod.networks.blocks import MultiInputGenerator, MultiOutputGenerator, ResNet, blocks

MOST_JSON = MOST_HEADER = 2**20
DEEPEST = 16
# Of all networks of a bundle: 800 MB. The paper's generator and S have 23 million.
MOST_PARAMETERS = 200_000_000

Shapes = Mapping[str, tuple[int, ...]]


def damaged(subject: object, found: str) -> InputError:
    """The error for a bundle that was changed or damaged; `found` may contain untrusted text."""
    expected, do = "a bundle as `crossmod export` writes it", "Get it again from its author, or export the run again."
    text = printable(found)
    return InputError(subject, found=text if len(text) <= 300 else f"{text[:300]}...", expected=expected, do=do)


def read_bounded(path: Path, most: int, *, exactly: int | None = None) -> bytearray:
    """The bytes of a regular file, of bounded size; links are refused, since a bundle could point them anywhere."""
    try:
        # O_NONBLOCK: a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise damaged(path, "no regular file")
            if exactly is not None and about.st_size != exactly:
                raise damaged(path, f"{about.st_size} bytes where there should be {exactly}")
            if about.st_size > most:
                raise damaged(path, f"{about.st_size} bytes, more than the {most} that such a file may have")
            content = bytearray(about.st_size)
            # The file may be growing.
            if stream.readinto(content) != len(content) or stream.read(1):
                raise damaged(path, "a file that changes while it is read")
            return content
    except OSError as error:
        link = path.is_symlink()
        raise damaged(path, "a link" if link else (error.strerror or "nothing that can be read").lower()) from None


def strict_json(content: bytes | bytearray, subject: object) -> object:
    """JSON without repeated keys, NaN, infinity, or deep nesting."""
    try:
        text = content.decode("utf-8")
        _refuse_depth(text)
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(subject, f"no such JSON ({error})") from None


def _refuse_depth(text: str) -> None:
    depth, quoted, escaped = 0, False, False
    for letter in text:
        if quoted:
            quoted, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"nested deeper than {DEEPEST}")
        elif letter in "]}":
            depth -= 1


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r} twice")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not JSON")


def read_bundle(path: Path) -> Bundle:
    """The content of a bundle's `bundle.json`, with every number within its bounds."""
    place = path / JSON_FILE
    if not path.is_dir() or not os.path.lexists(place):
        found = f"no {JSON_FILE} in it" if path.is_dir() else "a file" if path.exists() else "no such folder"
        do = "Give the folder that `crossmod export` made."
        raise InputError(path, found=found, expected="a bundle", do=do)
    content = read_bounded(place, MOST_JSON)
    plain = strict_json(content, place)
    version = plain.get("format") if isinstance(plain, dict) else None
    if type(version) is int and version > FORMAT:
        made = f"bundle format {version}, made by" if version < 10**6 else "a bundle of"
        do = "Update crossmod, or ask for a bundle made by this version."
        raise InputError(place, found=f"{made} a newer crossmod", expected=f"format {FORMAT}", do=do)
    try:
        # From the text, in which lists can be tuples; strict_json has refused what parsers read differently.
        return Bundle.model_validate_json(bytes(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise damaged(place, f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def networks_of(entry: Entry, bundle: Bundle) -> dict[str, nn.Module]:
    """`generator` and, if there is one, `segmentor`, without values (device `meta`).

    Raises:
        InputError: the networks are of a family that no installed package adds.
    """
    a = entry.architecture
    with torch.device("meta"):
        if a.kind == "family":
            return _of_family(entry, bundle)
        segmentor = {"segmentor": ResNet(a.classes, a.filters, a.blocks, head="linear")} if a.classes else {}
        if a.kind == "resnet":
            return {"generator": ResNet(a.stack, a.filters, a.blocks, inputs=a.stack), **segmentor}
        if a.kind == "spread":
            return {"generator": MultiOutputGenerator(1, a.filters, a.blocks, a.stack), **segmentor}
        merge = MultiInputGenerator(a.inputs, a.filters, a.blocks, a.branch_blocks, a.stack)
        return {"generator": merge, **segmentor}


def _of_family(entry: Entry, bundle: Bundle) -> dict[str, nn.Module]:
    # Imported here, since only bundles of such families need the code of training.
    from crossmod.settings import TranslateSettings
    from crossmod.synthesis.families import family_of

    a = entry.architecture
    if entry.family in DESCRIBED:
        raise damaged(bundle.name, f"networks of a package for the family {entry.family}")
    family = family_of(entry.family)
    values = {
        "family": entry.family,
        "source": bundle.source,
        "inputs": bundle.inputs if a.inputs > 1 else (),
        "size": entry.size,
        "stack": a.stack,
        "generator_filters": a.filters,
        "generator_blocks": a.blocks,
        "branch_blocks": a.branch_blocks,
        **({"organs": entry.organs} if entry.organs else {}),
    }
    settings = build(TranslateSettings, values, subject=bundle.name)
    networks = {"generator": family.generators(settings)[settings.generators[0]]}
    return {**networks, "segmentor": family.segmentor(settings)} if family.segmentor else networks


def shapes_of(bundle: Bundle, subject: object) -> dict[str, tuple[int, ...]]:
    """Every tensor of the weights: `network/part/name` -> shape; refused beyond `MOST_PARAMETERS`."""
    shapes: dict[str, tuple[int, ...]] = {}
    total = 0
    for entry in bundle.networks:
        for part, network in networks_of(entry, bundle).items():
            for name, tensor in network.state_dict().items():
                shapes[f"{entry.name}/{part}/{name}"] = tuple(tensor.shape)
                total += tensor.numel()
        if total > MOST_PARAMETERS:
            raise damaged(subject, f"networks of more than {MOST_PARAMETERS} numbers")
    return shapes


def read_weights(folder: Path, bundle: Bundle) -> dict[str, Tensor]:
    """The tensors of a bundle by name: finite, in fp32, of the shapes of its architecture, from the named file."""
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
    """A `Network` from a bundle."""

    about: About
    generator: nn.Module
    segmentor: nn.Module | None
    compute: Compute
    fingerprint: Fingerprint | None = None

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], and give the class of each pixel from S, if there is an S."""
        with suited_to(self.generator, images.shape[-1], self.compute.device):
            fakes, answers = apply(self.generator, self.segmentor, images, self.compute)
        if not np.isfinite(fakes).all():
            raise damaged(self.about.name, "NaN or infinity in its output")
        return fakes, answers


def load_networks(path: Path, *, device: str = "auto") -> tuple[BundleNetwork, ...]:
    """Every network of a bundle, in its order; each makes its own CT window.

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
        parts = networks_of(entry, bundle)
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
