"""Parse untrusted bundles: sizes are bounded before parsing, and networks built only from checked numbers."""

import json
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from pydantic import ValidationError
from torch import nn

from crossmod.errors import InputError
from crossmod.inference.bundle.schema import FORMAT, JSON_FILE, Architecture, Bundle, Entry, printable
from crossmod.networks.blocks import ResNet

# Of all networks of a bundle: 800 MB. The paper's generator and S have 23 million.
MOST_PARAMETERS = 200_000_000

Shapes = Mapping[str, tuple[int, ...]]


def networks_of(entry: Entry) -> dict[str, nn.Module]:
    """`generator` and, if there is one, `segmentor`, without values (device `meta`)."""
    with torch.device("meta"):
        a, parts = entry.architecture, {"generator": _generator(entry.architecture)}
        if a.classes:
            parts["segmentor"] = ResNet(a.classes, a.filters, a.blocks, head="linear")
    return parts


def _generator(a: Architecture) -> nn.Module:
    if a.kind == "resnet":
        return ResNet(a.stack, a.filters, a.blocks, inputs=a.stack)
    # Imported here, since that module also defines their training.
    from crossmod.networks.multi_input import MultiInputGenerator, MultiOutputGenerator

    if a.kind == "spread":
        return MultiOutputGenerator(1, a.filters, a.blocks, a.stack)
    return MultiInputGenerator(a.inputs, a.filters, a.blocks, a.branch_blocks, a.stack)


def shapes_of(bundle: Bundle, subject: object) -> dict[str, tuple[int, ...]]:
    """Every tensor of the weights: `network/part/name` -> shape.

    Raises:
        InputError: more parameters than a bundle may have.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    total = 0
    for entry in bundle.networks:
        for part, network in networks_of(entry).items():
            for name, tensor in network.state_dict().items():
                shapes[f"{entry.name}/{part}/{name}"] = tuple(tensor.shape)
                total += tensor.numel()
        if total > MOST_PARAMETERS:
            raise damaged(subject, f"networks of more than {MOST_PARAMETERS} numbers")
    return shapes


MOST_JSON = 2**20
DEEPEST = 16


def damaged(subject: object, found: str) -> InputError:
    """The error for a bundle that was changed or damaged; `found` may contain untrusted text."""
    expected, do = "a bundle as `crossmod export` writes it", "Get it again from its author, or export the run again."
    text = printable(found)
    return InputError(subject, found=text if len(text) <= 300 else f"{text[:300]}...", expected=expected, do=do)


def read_bounded(path: Path, most: int, *, exactly: int | None = None) -> bytearray:
    """The bytes of a regular file, of bounded size.

    Args:
        path: the file; links are refused, since a bundle could point them anywhere.
        most: the largest size in bytes.
        exactly: the required size in bytes.

    Raises:
        InputError: another size, or no readable file.
    """
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
    """JSON without repeated keys, NaN, infinity, or deep nesting.

    Raises:
        InputError: anything else.
    """
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
    """The content of a bundle's `bundle.json`, with every number within its bounds.

    Raises:
        InputError: the folder is not a bundle, or one of a newer crossmod, or its content is invalid.
    """
    place = path / JSON_FILE
    if not path.is_dir() or not os.path.lexists(place):
        found = f"no {JSON_FILE} in it" if path.is_dir() else "a file" if path.exists() else "no such folder"
        do = "Give the folder that `crossmod export` made."
        raise InputError(path, found=found, expected="a bundle", do=do)
    return parse_bundle(read_bounded(place, MOST_JSON), place)


def parse_bundle(content: bytes | bytearray, subject: object) -> Bundle:
    """The content of a `bundle.json` from its bytes."""
    plain = strict_json(content, subject)
    version = plain.get("format") if isinstance(plain, dict) else None
    if type(version) is int and version > FORMAT:
        found = (
            f"bundle format {version}, made by a newer crossmod" if version < 10**6 else "a bundle of a newer crossmod"
        )
        do = "Update crossmod, or ask for a bundle made by this version."
        raise InputError(subject, found=found, expected=f"format {FORMAT}", do=do)
    try:
        # From the text, in which lists can be tuples; strict_json has refused what parsers read differently.
        return Bundle.model_validate_json(bytes(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise damaged(subject, f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
