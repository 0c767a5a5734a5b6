"""The phantom's tissues: codes, HU, MR signal, fat and texture."""

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

# One row per tissue, with the columns of `COLUMNS`: HU 70 s after contrast agent, how far a person's may be from it,
# and standard deviation of the tissue's own grain, HU; the same without agent; fraction of fat (of protons; the liver's
# own is the person's); signal of pure water on T1 at 1.5 T and at 3 T and on T2, for fat under the skin on T1 = 1;
# grain of MR relative to its signal.
#
# Without agent: ranges of Buzug (Computed Tomography, 2008, p. 475) and of Prokop and Galanski (Spiral and Multislice
# CT of the Body, 2003): liver 45-65 HU, spleen 35-55, kidney 20-40, blood 45-65; the liver is 1-18 HU above the spleen
# (Park et al., Radiology 2011;258:760-766). So vessels are darker than the liver around them, and a kidney looks the
# same throughout. People differ by their blood only, no longer by how fast it flows.
#
# At 3 T: sin(a) (1 - E) / (1 - cos(a) E), E = exp(-TR / T1), of TR 4 ms and a = 4 degrees, over that of fat, with T1 of
# de Bazelaire et al. (Radiology 2004;230:652-659): fat 382 ms, liver 809, spleen 1328, cortex 1142, medulla 1545,
# pancreas 725, muscle 898, marrow 586; blood 1900 and fluids 4000 ms. The rest follows the most similar tissue. Slices
# do not saturate what flows into a slab: vessels are nearer to the organs than in 2D.
#
# T2: slow flow, so small veins of the liver are bright, while the great vessels are void.
COLUMNS = (
    "portal_venous", "spread", "grain", "native", "native_spread", "native_grain", "fat",
    "water_t1", "water_t1_3t", "water_t2", "mr_grain",
)  # fmt: skip
# fmt: off
_ROWS: dict[str, tuple[float, ...]] = {
    #                   HU   +-   gr      HU   +-   gr    fat     T1    3 T      T2      gr
    "air":           ( -1000,   0,   0,  -1000,   0,   0,     0,     0,     0,      0,      0),
    "gas":           (  -980,   0,   0,   -980,   0,   0,     0,     0,     0,      0,      0),
    "skin":          (    20,   0,  10,     20,   0,  10,   0.1,  0.45,  0.78,   0.12,      0),
    "fat":           (  -103,   3,   7,   -103,   3,   7,  0.93,   0.5,  0.82,    0.1,   0.04),
    "muscle":        (    57,   3,   8,     52,   3,   8,  0.03,  0.46,   0.8,   0.15,    0.1),
    "lung":          (  -850,  20,  45,   -850,  20,  45,     0,  0.05,  0.05,  0.045,    0.5),
    "bone":          (   520,   0,  60,    520,   0,  60,     0,  0.06,   0.1,   0.03,      0),
    "marrow":        (   160,  25,  35,    145,  25,  35,  0.45,  0.42,  0.91,   0.24,   0.12),
    "disc":          (    82,   0,   0,     82,   0,   0,     0,  0.38,   0.6,   0.26,      0),
    "nerve":         (    38,   0,   0,     38,   0,   0,     0,  0.42,   0.7,    0.5,      0),
    "csf":           (    12,   0,   0,     12,   0,   0,     0,  0.16,  0.36,    1.1,      0),
    "heart":         (   105,   0,   8,     44,   0,   4,     0,   0.4,  0.68,   0.24,    0.2),
    "artery":        (   152,   8,   0,     45,   4,   0,     0,   0.3,  0.57,   0.07,      0),
    "vein":          (   150,   8,   0,     45,   4,   0,     0,  0.24,  0.57,   0.13,      0),
    "liver":         (   111,   7,   4,     58,   5,   4,     0,   0.6,  0.83,   0.37,  0.045),
    "liver_vessel":  (   157,   8,   0,     45,   4,   0,     0,  0.36,  0.59,   0.58,      0),
    "bile":          (     8,   0,   0,      8,   0,   0,     0,   0.3,  0.46,   1.15,      0),
    "spleen":        (   121,   7,   4,     48,   4,   4,     0,  0.42,  0.68,   0.72,   0.04),
    "right_cortex":  (   178,   8,   8,     32,   4,   4,     0,   0.5,  0.73,   0.78,   0.06),
    "right_medulla": (   164,   8,   8,     32,   4,   4,     0,  0.38,  0.63,    0.9,   0.08),
    "left_cortex":   (   178,   8,   8,     32,   4,   4,     0,   0.5,  0.73,   0.78,   0.06),
    "left_medulla":  (   164,   8,   8,     32,   4,   4,     0,  0.38,  0.63,    0.9,   0.08),
    "urine":         (    30,   0,   0,      6,   0,   0,     0,  0.16,  0.36,   1.15,      0),
    "pancreas":      (    92,   0,  12,     41,   0,  12,  0.06,  0.64,  0.85,   0.46,   0.12),
    "gut_wall":      (    82,   0,   0,     36,   0,   0,  0.04,  0.44,   0.7,   0.32,   0.12),
    "stomach_fluid": (    10,   6,   0,     10,   6,   0,     0,  0.18,  0.38,   1.12,   0.08),
    "chyme":         (    28,  12,  14,     28,  12,  14,     0,  0.34,  0.58,    0.8,    0.2),
    "stool":         (    20,  15,  70,     20,  15,  70,     0,  0.36,   0.5,    0.3,   0.35),
}
# fmt: on

TISSUES: dict[str, int] = {name: code for code, name in enumerate(_ROWS)}
_TABLE: dict[str, np.ndarray] = dict(zip(COLUMNS, np.array(list(_ROWS.values()), np.float32).T, strict=True))


def table(column: str) -> Float[np.ndarray, " tissues"]:
    """A copy of one column: a number per tissue code."""
    return _TABLE[column].copy()


def share_of(*names: str) -> Float[np.ndarray, " tissues"]:
    """1 for the named tissues, 0 for all others."""
    return np.isin(np.arange(len(TISSUES)), [TISSUES[name] for name in names]).astype(np.float32)


# Label value of each organ, in every modality, and the tissues that count as it.
ORGANS: dict[int, str] = {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"}
ORGAN_TISSUES: dict[str, tuple[str, ...]] = {
    "liver": ("liver", "liver_vessel"),
    "right_kidney": ("right_cortex", "right_medulla"),
    "left_kidney": ("left_cortex", "left_medulla"),
    "spleen": ("spleen",),
}


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
