"""Made-up patients with a liver and a spleen, and small stores of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from crossmod.config import Modality
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from tests.support.stores import Stores, made_volume

ORGANS = ("liver", "spleen")
# Value of each organ: the two sides number them differently.
VALUES: dict[Modality, dict[str, int]] = {"ct": {"liver": 6, "spleen": 1}, "mr": {"liver": 1, "spleen": 4}}


def two_organs(rng: np.random.Generator, modality: Modality) -> Volume:
    """`made_volume` with a square spleen beside the liver, in slices 2 and 3 only, of another brightness."""
    volume = made_volume(rng, modality)
    assert volume.labels is not None
    z, y, x = np.indices(volume.labels.shape)
    spleen = (abs(y - 15) < 4) & (abs(x - 25) < 3) & (z > 1) & (z < 4) & (volume.labels == 0)
    bright = 200 if modality == "ct" else 450
    values = VALUES[modality]
    labels = values["liver"] * (volume.labels > 0) + values["spleen"] * spleen
    return replace(
        volume,
        voxels=np.where(spleen, bright, volume.voxels).astype(np.int16),
        labels=labels.astype(np.uint8),
        label_names={value: name for name, value in values.items()},
    )


def without(volume: Volume, organ: str) -> Volume:
    """The same volume, whose labels do not know an organ."""
    assert volume.labels is not None
    (value,) = (number for number, name in volume.label_names.items() if name == organ)
    names = {number: name for number, name in volume.label_names.items() if name != organ}
    return volume.with_labels(np.where(volume.labels == value, 0, volume.labels), names)


def write_stores(root: Path, *, ct: int = 6, mr: int = 5) -> Stores:
    made = Stores(root / "ct", root / "mr")
    sides: tuple[tuple[Path, Modality, int], ...] = ((made.ct, "ct", ct), (made.mr, "mr", mr))
    for path, modality, count in sides:
        rng = np.random.default_rng(count)
        with writing_store(path) as writer:
            for number in range(count):
                writer.add(f"{modality}-{number}", two_organs(rng, modality), patient=f"{modality}-{number}")
    return made
