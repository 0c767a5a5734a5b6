"""Families of translators: what training, synthesis, bundles, experiments and reports need to know of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, cast

import numpy as np
import torch
from jaxtyping import Float, Float32, Num, UInt8
from torch import nn

from crossmod import registry
from crossmod.data.slices import SliceSet
from crossmod.engine.state import TrainingTask
from crossmod.errors import InputError
from crossmod.settings import TranslateSettings

Images = Float32[np.ndarray, "slices size size"]
Statistics = Mapping[str, Float[np.ndarray, "..."]]


@dataclass(frozen=True, eq=False)
class SourceSlices:
    """Slices of one case, as a control changes them."""

    images: Images  # in [-1, 1]
    classes: UInt8[np.ndarray, "slices size size"] | None  # values of all labels of the case; 0 elsewhere
    hu: Num[np.ndarray, "slices size size"] | None  # of CT in HU


@dataclass(frozen=True)
class Control:
    """A family without networks: it gives source slices other intensities, and leaves all structures in place.

    Args:
        change: slices of one case in [-1, 1], statistics of `fit` and random numbers of this case; gives the slices,
            in [-1, 1].
        fit: statistics of the training slices of the source and of the target, by name.
        needs_labels: whether each source case must have labels of the organs.
        needs_hu: whether the source must be CT in HU.
    """

    change: Callable[[SourceSlices, Statistics, np.random.Generator], Images]
    fit: Callable[[SliceSet, SliceSet], Statistics] = lambda source, target: {}
    needs_labels: bool = False
    needs_hu: bool = False


def refuse_control(settings: TranslateSettings, *_: object) -> NoReturn:
    """Refuse what needs the networks of a family to a control, which has none."""
    raise InputError(
        f"--family {settings.family}",
        found="a control, which has no networks",
        expected="a family with networks, such as essnet",
        do="Controls are for `synthesize`, `segment` and `experiment` only; use a trained translator here.",
    )


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
        segmentor_first: whether S is trained before, on source slices with random contrast, and then stays as it is.
        control: what it does instead, if it has no networks.
    """

    title: str
    build: Callable[[TranslateSettings, torch.device], TrainingTask] = refuse_control
    generators: Callable[[TranslateSettings], Mapping[str, nn.Module]] = refuse_control
    segmentor: Callable[[TranslateSettings], nn.Module] | None = None
    reference: str = ""
    several_inputs: bool = False
    segmentor_first: bool = False
    control: Control | None = None


def family_of(name: str) -> Family:
    """The family of that name: built in, registered, or of an installed package."""
    return cast(Family, registry.member("family", name))


def is_control(name: str) -> bool:
    """Whether the family of that name has no networks."""
    return family_of(name).control is not None


def needs_labels(settings: TranslateSettings) -> bool:
    """Whether a training with `settings` takes labelled source cases only: by its family, or since it has a judge."""
    family = family_of(settings.family)
    own = settings.family == "essnet" or family.segmentor_first or settings.judge is not None
    return own or (family.control is not None and family.control.needs_labels)
