"""Published results of public benchmarks, and the rules that they follow: `published.yaml`, read and checked."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from crossmod.config import Settings, build, read_yaml

FILE = Path(__file__).parent / "published.yaml"
# The mean over organs, beside these.
MEAN = "mean"

# What a training sees of the target.
Sees = Literal["nothing", "images", "labels"]


class PublishedResult(Settings):
    """One row: what a method reached."""

    method: str
    sees: Sees
    """What its training saw of the target: nothing, images, or also labels."""
    dice: dict[str, float] = Field(min_length=1)
    """By organ, and `mean`; what is not known is left out."""
    unverified: tuple[str, ...] = ()
    """Organs, or `mean`, whose number was not checked against the paper."""
    source: str
    """Where the other numbers were read."""
    note: str = ""
    """What makes it differ from the other rows."""


class Protocol(Settings):
    """A benchmark: its rules, and its published results."""

    title: str
    organs: tuple[str, ...]
    target_images: bool
    """Whether training may see unlabelled images of the target."""
    tested: int = Field(ge=1)
    """Number of test patients."""
    test_patients: tuple[str, ...] = ()
    """Their names, as `crossmod prepare chaos` gives them, where they are part of the target's patients."""
    source_patients: int = Field(ge=1)
    """Number of source patients that are trained on."""
    cut: bool = False
    """Whether published scores are of scans cut to labelled slices."""
    caveats: tuple[str, ...]
    """What the published numbers depend on, in sentences."""
    results: tuple[PublishedResult, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Protocol":
        if self.test_patients and len(set(self.test_patients)) != self.tested:
            raise ValueError(f"{self.tested} test patients, got {len(set(self.test_patients))}")
        for row in self.results:
            unknown = sorted({*row.dice} - {*self.organs, MEAN}) + sorted({*row.unverified} - {*row.dice})
            if unknown:
                raise ValueError(f"organs of the protocol with a number, got {unknown[0]} of {row.method}")
            if not all(0 < value < 1 for value in row.dice.values()):
                raise ValueError(f"a Dice between 0 and 1, got {row.dice} of {row.method}")
        return self


@cache
def protocols(path: Path = FILE) -> Mapping[str, Protocol]:
    """Every benchmark by its name.

    Raises:
        InputError: the file has another form.
    """
    return {name: build(Protocol, values, subject=f"{path.name}: {name}") for name, values in read_yaml(path).items()}
