"""What `findings.json` has under `published`: published results of a benchmark, and an experiment's beside them."""

from typing import TypedDict


class Estimate(TypedDict):
    """A mean over patients with its 95 % interval."""

    mean: float | None
    low: float | None
    high: float | None


class PublishedRow(TypedDict):
    """A published method: Dice by organ, and `mean`; `unverified` names those not checked against the paper. `sees`:
    nothing, images or labels, what training saw of the target."""

    method: str
    sees: str
    dice: dict[str, float]
    unverified: list[str]
    source: str
    note: str


class OwnRow(TypedDict):
    """An arm: 3D Dice by organ, and `mean` if it has all organs; `cut` are those of scans cut to labelled slices."""

    arm: str
    sees: str
    dice: dict[str, Estimate]
    cut: dict[str, Estimate]


class PublishedBeside(TypedDict):
    """The benchmark; `cut` says that its published scores compare with those of cut scans; `caveats` are sentences."""

    benchmark: str
    title: str
    organs: list[str]
    cut: bool
    published: list[PublishedRow]
    own: list[OwnRow]
    caveats: list[str]
