"""Components that a package or a notebook can add, by kind and name: families, losses, networks, metrics and others.

Built-in members are listed here as `module:attribute`, so that nothing is imported before it is used. A package adds
members with an entry point of the group `crossmod.KIND`, which every process finds, including workers; a notebook with
`crossmod.register(KIND, NAME, MEMBER)`, for its own process only. docs/how-to/extend.md shows one of each kind.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args

from crossmod.errors import InputError

Kind = Literal[
    "family",
    "adversarial_loss",
    "segmentation_loss",
    "augmentation",
    "segmenter",
    "image_metric",
    "segmentation_metric",
    "executor",
    "importer",
    "report_section",
]
MemberType = TypeVar("MemberType")

_BUILT_IN: dict[str, dict[str, str]] = {
    "family": {
        "cyclegan": "crossmod.synthesis.cyclegan:FAMILY",
        "essnet": "crossmod.synthesis.essnet:FAMILY",
        "guided": "crossmod.synthesis.guided:FAMILY",
        "multi_input": "crossmod.synthesis.multi_input:FAMILY",
        "source": "crossmod.synthesis.control_families:SOURCE",
        "histogram": "crossmod.synthesis.control_families:HISTOGRAM",
        "fda": "crossmod.synthesis.control_families:FDA",
        "random_contrast": "crossmod.synthesis.control_families:RANDOM_CONTRAST",
        "class_contrast": "crossmod.synthesis.control_families:CLASS_CONTRAST",
        "painted": "crossmod.synthesis.control_families:PAINTED",
    },
    "adversarial_loss": {
        "least_squares": "crossmod.synthesis.losses:least_squares",
        "cross_entropy": "crossmod.synthesis.losses:cross_entropy",
    },
    "segmentation_loss": {
        "cross_entropy": "crossmod.segmentation.model:cross_entropy",
        "dice_cross_entropy": "crossmod.segmentation.model:dice_cross_entropy",
    },
    # `augment` and `strong_augment` are settings of their own.
    "augmentation": {"random_contrast": "crossmod.data.random_contrast:AUGMENTATION"},
    "segmenter": {
        "unet": "crossmod.networks.unet:paper_unet",
        "tiny": "crossmod.networks.unet:tiny_unet",
        "tiny_instance": "crossmod.networks.unet:tiny_instance_unet",
        "dynunet": "crossmod.networks.monai:dynunet",
        "attention_unet": "crossmod.networks.monai:attention_unet",
        "swin_unetr": "crossmod.networks.monai:swin_unetr",
        "segresnet": "crossmod.networks.monai:segresnet",
    },
    "image_metric": {
        "frechet": "crossmod.metrics.distribution:FRECHET",
        "kid": "crossmod.metrics.distribution:KID",
        "kl_256": "crossmod.metrics.distribution:KL_256",
        "kl_3": "crossmod.metrics.distribution:KL_3",
        "correlation": "crossmod.metrics.distribution:CORRELATION",
        "intersection": "crossmod.metrics.distribution:INTERSECTION",
        "spectrum": "crossmod.metrics.distribution:SPECTRUM",
    },
    # In the order of tables; reports compare arms by the first one.
    "segmentation_metric": {
        "dice": "crossmod.statistics.verdicts:DICE",
        "iou": "crossmod.statistics.verdicts:IOU",
        "hd95": "crossmod.statistics.verdicts:HD95",
        "assd": "crossmod.statistics.verdicts:ASSD",
        "mssd": "crossmod.statistics.verdicts:MSSD",
        "ravd": "crossmod.statistics.verdicts:RAVD",
        "slice_dice": "crossmod.statistics.verdicts:SLICE_DICE",
    },
    "executor": {
        "local": "crossmod.experiment.executors.options:local",
        "ray": "crossmod.experiment.executors.ray:RayExecutor",
        "slurm": "crossmod.experiment.executors.slurm:SlurmExecutor",
    },
    "importer": {
        "chaos": "crossmod.commands.prepare:prepare_chaos",
        "dicom": "crossmod.commands.prepare:prepare_dicom",
        "nifti": "crossmod.commands.prepare:prepare_nifti",
    },
    # The sections of crossmod's own follow from what is reported.
    "report_section": {},
}
_REGISTERED: dict[str, dict[str, Any]] = {kind: {} for kind in get_args(Kind)}


def register(kind: str, name: str, member: Any) -> None:
    """Add a member in this process, under a name that settings and options then accept.

    Args:
        kind: one of `crossmod.registry.Kind`.
        name: its name; if it is registered twice, the later member is used.
        member: the object, see docs/how-to/extend.md; or `module:attribute`, which is imported on first use.

    Raises:
        InputError: the kind does not exist, or the name is that of a built-in member.
    """
    if kind not in _BUILT_IN:
        raise InputError(
            "register", found=f"the kind {kind!r}", expected=f"one of {', '.join(_BUILT_IN)}", do="Change it."
        )
    if name in _BUILT_IN[kind]:
        found = f"the {kind} {name!r}, which is built in"
        raise InputError("register", found=found, expected="a new name", do="Choose another name.")
    _REGISTERED[kind][name] = member


def names(kind: Kind) -> tuple[str, ...]:
    """The names of all members, built-in ones first."""
    return tuple(dict.fromkeys((*_BUILT_IN[kind], *_of_packages(kind), *_REGISTERED[kind])))


def member(kind: Kind, name: str) -> Any:
    """A member by its name, imported if necessary.

    Raises:
        InputError: no member has this name, or its package cannot be imported.
    """
    if name in _BUILT_IN[kind]:
        return _imported(_BUILT_IN[kind][name])
    if name in _REGISTERED[kind]:
        found = _REGISTERED[kind][name]
        return _imported(found) if isinstance(found, str) else found
    point = _of_packages(kind).get(name)
    if point is None:
        do = "Check the name, or install the package that adds it."
        raise InputError(kind, found=repr(name), expected=f"one of {', '.join(names(kind))}", do=do)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        found = f"{point.value}, which cannot be imported ({error})"
        raise InputError(
            f"{kind} {name}", found=found, expected="an importable member", do="Fix its package."
        ) from None


def known(kind: Kind, name: str) -> str:
    """Return the name if a member has it.

    Raises:
        ValueError: otherwise, in the form of the checks of settings ("EXPECTED, got FOUND").
    """
    if name not in names(kind):
        raise ValueError(f"one of {', '.join(names(kind))}, got {name!r}")
    return name


def check_outputs(kind: Literal["segmenter", "segmentation_loss"], name: str) -> None:
    """Refuse a member that does not work for several organs: built-in ones do, and added ones whose function has a
    parameter `outputs`, the number of logits per pixel.

    Raises:
        ValueError: in the form of the checks of settings.
    """
    if name in _BUILT_IN[kind]:
        return
    given = inspect.signature(member(kind, name)).parameters
    if "outputs" not in given and not any(one.kind is one.VAR_KEYWORD for one in given.values()):
        expected = f"one organ for the {kind} {name}, whose function has no parameter `outputs`"
        raise ValueError(f"{expected} (docs/how-to/extend.md), got several")


def built_in(kind: Kind) -> tuple[str, ...]:
    """The names of the built-in members."""
    return tuple(_BUILT_IN[kind])


class Members(Mapping[str, MemberType]):
    """All members of a kind by name, built-in ones first; members that are registered later appear in it too."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind

    def __getitem__(self, name: str) -> MemberType:
        if name not in names(self._kind):
            raise KeyError(name)
        return member(self._kind, name)

    def __iter__(self) -> Iterator[str]:
        return iter(names(self._kind))

    def __len__(self) -> int:
        return len(names(self._kind))


@cache
def _imported(address: str) -> Any:
    module, _, attribute = address.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _of_packages(kind: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=f"crossmod.{kind}")}
