"""A phantom data set: invented people, scanned by CT and MR, labelled, in the layout of CHAOS or as NIfTI.

- CT patients and MR patients are different people, as in CHAOS, even if their ids agree; `paired` makes them the same,
  so that a translation can be compared with the truth. That is for checking only.
- Everything follows from the seed; `phantom.json` lists the people.
- A set of MR source 2 is from another hospital: its people and ids are different, even with the same seed.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from crossmod.config import Modality, Settings
from crossmod.files import atomic_folder, write_json
from crossmod.phantom.anatomy import ORGANS, Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import Person, draw_person
from crossmod.phantom.scanners import SCANNERS, SEQUENCES, MrSource, render_ct, render_mr
from crossmod.phantom.writers import (
    CT_QUIRKS,
    MR_QUIRKS,
    Identity,
    Quirks,
    write_ct_case,
    write_label_names,
    write_mr_case,
    write_nifti_case,
)
from crossmod.progress import track

# The importer warns of these CHAOS patients; the phantom's have nothing to be warned of.
CAUTIONED = (21, 22, 33)


# People of the two modalities are counted apart, so that more CT patients do not change who is scanned by MR.
FIRST_MR_PERSON = 1000

# The same for people of the two sources; ids of folders are apart by as much, so that two sets share a store.
SECOND_SOURCE = 10_000

LATER_SETTINGS = {"ct_contrast": None, "mr_source": 1}


class PhantomSettings(Settings):
    """What phantom to make."""

    ct_patients: int = Field(ge=0)
    """How many people are scanned by CT."""
    mr_patients: int = Field(ge=0)
    """How many people are scanned by MR, each in three sequences."""
    size: int = Field(default=128, ge=16, le=1024)
    """Rows and columns of a slice."""
    slices: int = Field(default=32, ge=4, le=400)
    """About how many slices a CT has over the upper abdomen; MR has fewer."""
    seed: int = Field(default=0, ge=0)
    """Another seed, other people."""
    layout: Literal["chaos", "nifti"] = "chaos"
    """`chaos`: DICOM and PNG as the CHAOS data set has them; `nifti`: one file an image."""
    paired: bool = False
    """Whether CT and MR show the same people; for checking only."""
    ct_contrast: Literal["yes", "no"] | None = None
    """CT with contrast agent or without, of the same people; headers name the agent. Not given: with it, unnamed."""
    mr_source: MrSource = 1
    """1: 1.5 T, as CHAOS; 2: other people at another hospital's 3 T, with another T1."""

    @model_validator(mode="after")
    def _someone(self) -> "PhantomSettings":
        if self.ct_patients + self.mr_patients == 0:
            raise ValueError("at least one patient")
        return self


@dataclass(frozen=True)
class _Case:
    modality: Modality
    number: int  # the id of its folder
    person: int  # who: the same number, the same person
    quirks: Quirks


def write_phantom(out: Path, settings: PhantomSettings) -> None:
    """Write a phantom data set to a new or empty folder."""
    cases = _cases(settings)
    with atomic_folder(out) as folder:
        for case in track(cases, "phantom"):
            _write_case(folder, case, settings)
        if settings.layout == "nifti":
            for modality in sorted({case.modality for case in cases}):
                write_label_names(folder / modality)
        write_json(folder / "phantom.json", _record(settings, cases))


def _cases(settings: PhantomSettings) -> list[_Case]:
    ct, mr = _numbers(settings, "ct"), _numbers(settings, "mr")
    first = (settings.mr_source - 1) * SECOND_SOURCE
    others = first if settings.paired else first + FIRST_MR_PERSON
    return [
        *(_Case("ct", number, first + i, CT_QUIRKS[i % len(CT_QUIRKS)]) for i, number in enumerate(ct)),
        *(_Case("mr", number, others + i, MR_QUIRKS[i % len(MR_QUIRKS)]) for i, number in enumerate(mr)),
    ]


def _numbers(settings: PhantomSettings, modality: Modality) -> list[int]:
    """Ids with gaps, as a published set has them; paired people keep theirs."""
    list_of = "ct" if settings.paired else modality
    count = settings.ct_patients if modality == "ct" else settings.mr_patients
    rng = np.random.default_rng(_seed(settings, "ids", list_of))
    numbers = np.cumsum(rng.choice([1, 1, 2, 3], size=count + len(CAUTIONED))).tolist()
    offset = (settings.mr_source - 1) * SECOND_SOURCE
    return [offset + number for number in numbers if number not in CAUTIONED][:count]


def _seed(settings: PhantomSettings, purpose: str, *which: str | int) -> np.random.SeedSequence:
    return np.random.SeedSequence(settings.seed, spawn_key=tuple(_purpose(purpose, *which).encode()))


def _purpose(*parts: str | int) -> str:
    return "/".join(map(str, parts))


def _write_case(folder: Path, case: _Case, settings: PhantomSettings) -> None:
    person = draw_person(_seed(settings, "person", case.person))
    scan = _seed(settings, "scan", case.modality, case.number)
    anatomy = lay_on_grid(person, draw_grid(person, case.modality, settings, scan))
    labels = organ_labels(anatomy)
    if case.modality == "ct":
        image = render_ct(anatomy, scan, contrast=settings.ct_contrast != "no")
        # Headers of a set that was not asked for either stay silent, as anonymised ones are.
        volumes = {"image": image if settings.ct_contrast else replace(image, contrast=None)}
    else:
        volumes = {sequence: render_mr(anatomy, sequence, scan, source=settings.mr_source) for sequence in SEQUENCES}
    if settings.layout == "nifti":
        write_nifti_case(folder / case.modality / str(case.number), volumes, labels)
        return
    identity = Identity(case.person, f"{settings.seed}/{settings.size}/{settings.slices}")
    place = folder / "Train_Sets" / case.modality.upper() / str(case.number)
    if case.modality == "ct":
        write_ct_case(place, volumes["image"], labels, identity, case.quirks)
    else:
        write_mr_case(place, volumes, labels, identity, case.quirks, source=settings.mr_source)


def draw_grid(person: Person, modality: Modality, settings: PhantomSettings, seed: np.random.SeedSequence) -> Grid:
    """A scan's grid, large enough for the person: field, length and spacing vary between patients and modalities."""
    rng = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *b"/grid")))
    bottom, top = float(rng.uniform(-126, -112)), float(rng.uniform(100, 114))
    scanner = SCANNERS[settings.mr_source]
    low, high = (350, 385) if modality == "ct" else scanner.field
    field = max(float(rng.uniform(low, high)), person.width * 1.03)
    slices = settings.slices * float(rng.uniform(0.92, 1.08))
    if modality == "mr":
        slices = min(slices * scanner.slices, (top - bottom) / scanner.closest + 1)
    thickness = float(rng.uniform(0.6, 1.0) if modality == "ct" else rng.uniform(*scanner.thickness))
    x, y = (float(shift) for shift in rng.uniform(-5, 5, size=2))
    return Grid(settings.size, max(round(slices), 3), field, bottom, top, thickness, (x, y))


def _record(settings: PhantomSettings, cases: list[_Case]) -> dict[str, object]:
    unset = {name for name, default in LATER_SETTINGS.items() if getattr(settings, name) == default}
    return {
        "phantom": True,
        "note": "Made by crossmod: no person was scanned. Names, dates and ids in the headers are invented.",
        # Left out at their defaults, as in records from before these settings existed.
        "settings": settings.model_dump(mode="json", exclude=unset),
        "labels": {organ: value for value, organ in ORGANS.items()},
        "cases": [
            {
                "modality": case.modality,
                "id": case.number,
                "person": case.person,
                "seeds": {
                    "person": _purpose("person", case.person),
                    "scan": _purpose("scan", case.modality, case.number),
                },
                **({"quirks": asdict(case.quirks)} if settings.layout == "chaos" else {}),
            }
            for case in cases
        ],
    }
