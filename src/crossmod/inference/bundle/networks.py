"""The networks of a bundle, by the numbers of its architecture; first without memory, to see what they would take."""

from collections.abc import Mapping

import torch
from torch import nn

from crossmod.inference.bundle.format import Architecture, Bundle, Entry
from crossmod.inference.bundle.parse import damaged
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
    from crossmod.networks.multi_input import Merge, Spread

    if a.kind == "spread":
        return Spread(1, a.filters, a.blocks, a.stack)
    return Merge(a.inputs, a.filters, a.blocks, a.branch_blocks, a.stack)


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
