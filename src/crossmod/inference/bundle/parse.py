"""Parse what a stranger sent: bounded before it is parsed, and networks built only from checked numbers."""

import json
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from crossmod.errors import InputError
from crossmod.inference.bundle.schema import FORMAT, JSON_FILE, Architecture, Bundle, Entry, printable
from crossmod.networks.blocks import ResNet

# Of all networks of a bundle together: 800 MB. The paper's generator and S have 23 million.
MOST_PARAMETERS = 200_000_000

Shapes = Mapping[str, tuple[int, ...]]


def networks_of(entry: Entry) -> dict[str, nn.Module]:
    """`generator` and, where there is one, `segmentor`, as shapes alone (device `meta`)."""
    with torch.device("meta"):
        made = {"generator": _generator(entry.architecture)}
        if entry.architecture.classes:
            a = entry.architecture
            made["segmentor"] = ResNet(a.classes, a.filters, a.blocks, head="linear")
    return made


def _generator(a: Architecture) -> nn.Module:
    if a.kind == "resnet":
        return ResNet(a.stack, a.filters, a.blocks, inputs=a.stack)
    # Only here, since the module of several inputs defines their training, too.
    from crossmod.networks.multi_input import MultiInputGenerator, MultiOutputGenerator

    if a.kind == "spread":
        return MultiOutputGenerator(1, a.filters, a.blocks, a.stack)
    return MultiInputGenerator(a.inputs, a.filters, a.blocks, a.branch_blocks, a.stack)


def shapes_of(bundle: Bundle, subject: object) -> dict[str, tuple[int, ...]]:
    """Every tensor that the weights must hold: `network/part/name` and its shape.

    Raises:
        InputError: they would be more than any bundle has.
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
    """The sentence for a bundle that is not as it was written; `found` may hold what a stranger wrote."""
    expected, do = "a bundle as `crossmod export` writes it", "Get it anew from who made it, or export the run again."
    text = printable(found)
    return InputError(subject, found=text if len(text) <= 300 else f"{text[:300]}...", expected=expected, do=do)


def read_bounded(path: Path, most: int, *, exactly: int | None = None) -> bytearray:
    """The bytes of a regular file, into memory that was not asked for by the file itself.

    Args:
        path: the file; a link is refused, since a bundle could point it at anything.
        most: bytes that it may have.
        exactly: bytes that it must have.

    Raises:
        InputError: another size, no file, or none that can be read.
    """
    try:
        # A pipe would wait for a writer; O_NONBLOCK opens it at once, and it is refused as no file.
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
            # One byte more is asked for: the file may be growing.
            if stream.readinto(content) != len(content) or stream.read(1):
                raise damaged(path, "a file that changes while it is read")
            return content
    except OSError as error:
        link = path.is_symlink()
        raise damaged(path, "a link" if link else (error.strerror or "nothing that can be read").lower()) from None


def strict_json(content: bytes | bytearray, subject: object) -> Any:
    """JSON without repeated keys, NaN, infinity, or nesting that exhausts a parser.

    Raises:
        InputError: it is something else.
    """
    try:
        text = content.decode("utf-8")
        _refuse_depth(text)
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(subject, f"no such JSON ({error})") from None


def _refuse_depth(text: str) -> None:
    depth, quoted, escaped = 0, False, False
    for one in text:
        if quoted:
            quoted, escaped = escaped or one != '"', one == "\\" and not escaped
        elif one == '"':
            quoted = True
        elif one in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"nested deeper than {DEEPEST}")
        elif one in "]}":
            depth -= 1


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r} twice")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which JSON has not")


def read_bundle(path: Path) -> Bundle:
    """What a bundle's `bundle.json` says, every number within its bounds.

    Raises:
        InputError: the folder is no bundle, one of a newer crossmod, or its file says what none would.
    """
    place = path / JSON_FILE
    if not path.is_dir() or not os.path.lexists(place):
        found = f"no {JSON_FILE} in it" if path.is_dir() else "a file" if path.exists() else "no such folder"
        do = "Give the folder that `crossmod export` made."
        raise InputError(path, found=found, expected="a bundle", do=do)
    return parse_bundle(read_bounded(place, MOST_JSON), place)


def parse_bundle(content: bytes | bytearray, subject: object) -> Bundle:
    """The same from the file's bytes."""
    plain = strict_json(content, subject)
    made = plain.get("format") if isinstance(plain, dict) else None
    if type(made) is int and made > FORMAT:
        raise InputError(
            subject,
            found=f"bundle format {made}, made by a newer crossmod" if made < 10**6 else "a bundle of a newer crossmod",
            expected=f"format {FORMAT}",
            do="Update crossmod, or ask for a bundle made by this version.",
        )
    try:
        # From the text, since lists there are tuples here; strict_json has refused what the parsers read differently.
        return Bundle.model_validate_json(bytes(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise damaged(subject, f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
