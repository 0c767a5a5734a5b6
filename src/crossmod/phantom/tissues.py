"""What the phantom is made of: tissue codes, and how much of each is fat."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

_NAMES = (
    "air",
    "gas",
    "skin",
    "fat",
    "muscle",
    "lung",
    "bone",
    "marrow",
    "disc",
    "nerve",
    "csf",
    "heart",
    "artery",
    "vein",
    "liver",
    "liver_vessel",
    "bile",
    "spleen",
    "right_cortex",
    "right_medulla",
    "left_cortex",
    "left_medulla",
    "urine",
    "pancreas",
    "gut_wall",
    "stomach_fluid",
    "chyme",
    "stool",
)

TISSUES: dict[str, int] = {name: code for code, name in enumerate(_NAMES)}

# Label value of each organ, in every modality, and the tissues that count as it.
ORGANS: dict[int, str] = {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"}
ORGAN_TISSUES: dict[str, tuple[str, ...]] = {
    "liver": ("liver", "liver_vessel"),
    "right_kidney": ("right_cortex", "right_medulla"),
    "left_kidney": ("left_cortex", "left_medulla"),
    "spleen": ("spleen",),
}

# Proton fraction that is fat; the liver's own belongs to the person.
FAT: dict[str, float] = {"fat": 0.93, "marrow": 0.45, "skin": 0.1, "muscle": 0.03, "pancreas": 0.06, "gut_wall": 0.04}


def table(values: Mapping[str, float | int], default: float = 0.0) -> Float[np.ndarray, " tissues"]:
    """One number for each tissue code; a name that begins with `*` stands for all that end alike.

    Args:
        values: tissue name -> number; `*_cortex` covers both kidneys.
        default: for tissues that are not named.
    """
    result = np.full(len(_NAMES), default, np.float32)
    for pattern, value in values.items():
        for name, code in TISSUES.items():
            if name == pattern or (pattern.startswith("*") and name.endswith(pattern[1:])):
                result[code] = value
    return result
