"""Families of translators: what training, synthesis, bundles, experiments and reports need to know of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from crossmod import registry
from crossmod.engine.state import TrainingTask
from crossmod.settings import TranslateSettings


@dataclass(frozen=True)
class Family:
    """One family of translators.

    Args:
        title: its name in reports.
        build: makes networks, optimizers and the training step on a device; must have the networks G1 (CT to MR) and
            G2 (MR to CT).
        generators: makes untrained G1 and G2 by name, as `build` does.
        segmentor: makes the untrained S, with logits of background and organs; None: the family has none.
        reference: the papers that the model card of a bundle cites.
        several_inputs: whether it takes several registered MR inputs.
    """

    title: str
    build: Callable[[TranslateSettings, torch.device], TrainingTask]
    generators: Callable[[TranslateSettings], Mapping[str, nn.Module]]
    segmentor: Callable[[TranslateSettings], nn.Module] | None = None
    reference: str = ""
    several_inputs: bool = False


def family_of(name: str) -> Family:
    """The family of that name: built in, registered, or of an installed package."""
    return cast(Family, registry.member("family", name))
