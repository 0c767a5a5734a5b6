"""The phantom's tissues: codes, HU, fat, and texture."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

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


# HU 70 s after contrast, and how far a person's may lie from it.
PORTAL_VENOUS: dict[str, float] = {
    "air": -1000,
    "gas": -980,
    "skin": 20,
    "fat": -103,
    "muscle": 57,
    "lung": -850,
    "bone": 520,
    "marrow": 160,
    "disc": 82,
    "nerve": 38,
    "csf": 12,
    "heart": 105,
    "artery": 152,
    "vein": 150,
    "liver": 111,
    "liver_vessel": 157,
    "bile": 8,
    "spleen": 121,
    "*_cortex": 178,
    "*_medulla": 164,
    "urine": 30,
    "pancreas": 92,
    "gut_wall": 82,
    "stomach_fluid": 10,
    "chyme": 28,
    "stool": 20,
}
SPREAD: dict[str, float] = {
    "liver": 7,
    "liver_vessel": 8,
    "spleen": 7,
    "*_cortex": 8,
    "*_medulla": 8,
    "artery": 8,
    "vein": 8,
    "muscle": 3,
    "fat": 3,
    "marrow": 25,
    "lung": 20,
    "stomach_fluid": 6,
    "chyme": 12,
    "stool": 15,
}
# Standard deviation of the tissue's own grain, HU.
GRAIN: dict[str, float] = {
    "fat": 7,
    "muscle": 8,
    "lung": 45,
    "bone": 60,
    "marrow": 35,
    "liver": 4,
    "spleen": 4,
    "*_cortex": 8,
    "*_medulla": 8,
    "heart": 8,
    "pancreas": 12,
    "chyme": 14,
    "stool": 70,
    "skin": 10,
}

# What differs without contrast agent. Ranges of Buzug (Computed Tomography, 2008, p. 475) and of Prokop and Galanski
# (Spiral and Multislice CT of the Body, 2003): liver 45-65 HU, spleen 35-55, kidney 20-40, blood 45-65; the liver lies
# 1-18 HU above the spleen (Park et al., Radiology 2011;258:760-766). So vessels are darker than the liver around them,
# and a kidney looks the same all through.
_UNENHANCED: dict[str, float] = {
    "muscle": 52,
    "marrow": 145,
    "heart": 44,
    "artery": 45,
    "vein": 45,
    "liver": 58,
    "liver_vessel": 45,
    "spleen": 48,
    "*_cortex": 32,
    "*_medulla": 32,
    "urine": 6,
    "pancreas": 41,
    "gut_wall": 36,
}
NATIVE: dict[str, float] = {**PORTAL_VENOUS, **_UNENHANCED}
# People differ by their blood alone, no longer by how fast it flows.
NATIVE_SPREAD: dict[str, float] = {
    **SPREAD,
    "liver": 5,
    "liver_vessel": 4,
    "spleen": 4,
    "*_cortex": 4,
    "*_medulla": 4,
    "artery": 4,
    "vein": 4,
}
NATIVE_GRAIN: dict[str, float] = {**GRAIN, "*_cortex": 4, "*_medulla": 4, "heart": 4}


Field = Float32[np.ndarray, "slices rows columns"]


def grain(rng: np.random.Generator, shape: tuple[int, int, int], width: tuple[float, float, float]) -> Field:
    """Gaussian noise of mean 0 and standard deviation 1, smoothed by a standard deviation of `width` voxels along each
    axis."""
    field = rng.standard_normal(shape, dtype=np.float32)
    if max(width) > 0.2:
        field = gaussian_filter(field, width, mode="wrap", truncate=3)
    # Nearly constant fields are left alone: a wide smoothing of a small volume has no spread to speak of.
    return field / max(float(field.std()), 1e-6)


def shading(rng: np.random.Generator, shape: tuple[int, int, int], strength: float) -> Field:
    """A smooth positive factor about 1, like the shading of MR by coils; `strength`: relative change from middle to
    edge."""
    z, y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    a = rng.normal(0, strength / 2, size=6).astype(np.float32)
    # Surface coils: the rim is brighter than the depth.
    rim = strength * float(rng.uniform(0.3, 1.0)) * (x * x + y * y - np.float32(0.6))
    return np.exp(rim + a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * x * z)


def standing_wave(shape: tuple[int, int, int], loss: float) -> Field:
    """A factor that darkens the middle of each slice by `loss` (0 to 1), where at 3 T the exciting waves cancel in a
    wide body."""
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape[1:])
    dip = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) * np.float32(1 / 0.4**2))
    return np.broadcast_to(1 - np.float32(loss) * dip, shape).astype(np.float32)
