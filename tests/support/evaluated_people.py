"""Made-up people who are long enough to have axial layers, and images "made" from them without any network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossmod.config import Modality
from crossmod.data.store import SliceOrigin, Store, Synthetic
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume, take_slices

SLICES, MM, SIZE = 18, 12.0, 32
# The liver's slices, first and one beyond the last: 13 of 12 mm, of which ten layers are 188 mm.
LIVER = (3, 16)


def person(seed: int, modality: Modality, *, size: int = SIZE, sequence: str = "t2_spir") -> Volume:
    """A round body with a bowel of noise and a liver in slices 3 to 15; the kidneys are not labelled."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[0:SLICES, 0:size, 0:size]
    middle = size / 2 + rng.normal(0, 0.5, 2)
    radius = rng.uniform(0.36, 0.42) * size
    body = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    row, column = rng.uniform(0.42, 0.5, 2) * size
    liver = ((y - row) ** 2 + (x - column) ** 2 < (0.17 * size) ** 2) & (z >= LIVER[0]) & (z < LIVER[1])
    texture = rng.normal(0, 12, z.shape)
    bright = rng.uniform(0.95, 1.05)
    if modality == "ct":
        voxels = np.where(body, np.where(liver, 110, 40 + 4 * z) * bright + texture, -1000)
    else:
        voxels = np.where(body, np.where(liver, 150, 320 + 6 * z) * bright + texture, 5 + abs(texture) / 4)
    mm = 340 / size
    affine = np.array([[0, 0, -mm, 170], [0, -mm, 0, 170], [MM, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    return Volume(
        voxels=np.rint(voxels).astype(np.int16),
        affine=affine,
        modality=modality,
        sequence=None if modality == "ct" else sequence,
        labels=liver.astype(np.uint8),
        label_names={1: "liver"},
    )


def real_store(path: Path, modality: Modality, seeds: Sequence[int], *, name: str = "") -> Path:
    with writing_store(path) as writer:
        for seed in seeds:
            case = f"{name or modality}-{seed}"
            writer.add(case, person(seed, modality), patient=case)
    return path


def synthetic_store(
    path: Path,
    source: Path,
    make: Callable[[Volume, int], np.ndarray],
    *,
    target: Modality = "mr",
    sequence: str | None = "t2_spir",
    slices: Sequence[int] | None = None,
    trained_on: Sequence[str] = (),
    answer: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Path:
    """What `synthesize` would write, of images that `make` gives for each source volume and its number."""
    store = Store(source)
    with writing_store(path) as writer:
        for number, record in enumerate(store.cases):
            volume = store.read(record.id)
            kept = list(slices) if slices is not None else list(range(len(volume.voxels)))
            assert volume.labels is not None
            voxels = make(volume, number)
            made = take_slices(replace(volume, voxels=voxels, modality=target, sequence=sequence), kept)
            assert made.labels is not None
            found = answer(made.labels) if answer else None
            scores = [None if found is None else _dice(a == 1, b == 1) for a, b in
                      zip(made.labels if found is None else found, made.labels, strict=True)]  # fmt: skip
            writer.add(
                f"{record.id}-as-{target}", made, patient=record.patient, answer=found,
                synthetic=Synthetic(
                    family="essnet", model="0" * 64, recipe="1" * 64, run="run", split="patient",
                    source_case=record.id, source_sha256=record.sha256, source_range=(-160.0, 240.0),
                    shift=(0.0, 0.0), slices_per_second=1.0, trained_on=tuple(trained_on), trained_cases=(),
                    organs=("liver",),
                    slices=tuple(SliceOrigin(source_slice=i, consistency=s) for i, s in zip(kept, scores, strict=True)),
                ),
            )  # fmt: skip
    return path


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 1.0 if not (a.any() or b.any()) else float(2 * (a & b).sum() / (a.sum() + b.sum()))


def look_alike(volume: Volume, number: int) -> np.ndarray:
    """MR as other people have it."""
    return person(500 + number, "mr").voxels


def flat(volume: Volume, number: int) -> np.ndarray:
    """The same without texture, which is what a poor generator makes."""
    voxels = person(500 + number, "mr").voxels.astype(np.float32)
    return np.where(voxels > 50, np.where(voxels < 230, 150.0, 360.0), 5.0)


@dataclass(frozen=True)
class People:
    ct: Path
    mr: Path
    good: Path
    poor: Path


TRAINED_ON = ("ct-0", "mr-100", "mr-101", "mr-102")


def make_people(root: Path) -> People:
    """Four CT patients, eight MR patients, and what two models made of the CT's liver slices."""
    ct = real_store(root / "ct", "ct", range(4))
    mr = real_store(root / "mr", "mr", range(100, 108))
    slices = range(*LIVER)
    good = synthetic_store(
        root / "good", ct, look_alike, slices=slices, trained_on=TRAINED_ON, answer=lambda label: label
    )
    return People(ct, mr, good, synthetic_store(root / "poor", ct, flat, slices=slices, trained_on=TRAINED_ON))
