"""MR of the phantom: T1 in phase and out of phase, and T2 with fat suppressed (SPIR).

Notable:
- T1 is a dual echo of water W and fat F: in phase |W + F|, out of phase |W - F|. Where a voxel holds both, as at every
  border between organ and fat, the two cancel and leave the dark outline called India ink.
- Both T1 phases come from one excitation: same grain, same shading, other noise.
- Noise is Rician: the magnitude of a complex signal with Gaussian noise in both parts.
"""

import numpy as np

from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.phantom.anatomy import Anatomy
from crossmod.phantom.mr_sources import SCANNERS, SEQUENCES, MrSource, Sequence
from crossmod.phantom.texture import Field, grain, shading, standing_wave
from crossmod.phantom.tissues import TISSUES, table

HIGHEST = 4095

# Signal of pure fat and of each tissue's water, for fat under the skin on T1 = 1; water on T1 belongs to the scanner.
FAT_T1, FAT_T2 = 1.0, 0.09
WATER_T2: dict[str, float] = {
    "skin": 0.12,
    "fat": 0.1,
    "muscle": 0.15,
    "lung": 0.045,
    "bone": 0.03,
    "marrow": 0.24,
    "disc": 0.26,
    "nerve": 0.5,
    "csf": 1.1,
    "heart": 0.24,
    "artery": 0.07,
    "vein": 0.13,
    "liver": 0.37,
    # Slow flow: small veins of the liver shine, while the great vessels are void.
    "liver_vessel": 0.58,
    "bile": 1.15,
    "spleen": 0.72,
    "*_cortex": 0.78,
    "*_medulla": 0.9,
    "urine": 1.15,
    "pancreas": 0.46,
    "gut_wall": 0.32,
    "stomach_fluid": 1.12,
    "chyme": 0.8,
    "stool": 0.3,
}
# Standard deviation of the tissue's own grain, relative to its signal.
GRAIN: dict[str, float] = {
    "fat": 0.04,
    "muscle": 0.1,
    "lung": 0.5,
    "marrow": 0.12,
    "liver": 0.045,
    "spleen": 0.04,
    "*_cortex": 0.06,
    "*_medulla": 0.08,
    "heart": 0.2,
    "pancreas": 0.12,
    "stomach_fluid": 0.08,
    "chyme": 0.2,
    "stool": 0.35,
    "gut_wall": 0.12,
}


def render_mr(
    anatomy: Anatomy, sequence: Sequence, seed: int | np.random.SeedSequence, *, source: MrSource = 1
) -> Volume:
    """Scan a person by MR.

    Args:
        anatomy: the person on the scan's grid.
        sequence: `t1_in`, `t1_out` or `t2_spir`.
        seed: of contrast, grain, shading and noise; give both T1 phases the same one.
        source: which scanner of `SCANNERS`.

    Returns:
        12-bit magnitudes as int16.
    """
    if sequence not in SEQUENCES:
        raise InputError("sequence", found=repr(sequence), wanted=", ".join(SEQUENCES), do="Name one of these.")
    weighting = "t2" if sequence == "t2_spir" else "t1"
    rng = _generator(seed, weighting)
    scanner = SCANNERS[source]
    water_signal = table(WATER_T2 if weighting == "t2" else scanner.water_t1)
    water_signal *= np.exp(rng.normal(0, 0.05, size=len(TISSUES)).clip(-0.12, 0.12)).astype(np.float32)
    _alike(water_signal)
    fat_of = anatomy.fat_fractions
    water = anatomy.mix(water_signal * (1 - fat_of) * (1 - table({"air": 1.0, "gas": 1.0})))
    fat = anatomy.mix(fat_of * np.float32(FAT_T2 if weighting == "t2" else FAT_T1))
    shape = anatomy.tissues.shape
    between, pixel = (float(length) for length in np.linalg.norm(anatomy.affine[:3, :3], axis=0)[:2])
    field = grain(rng, shape, (2.5 / between, 2.0 / pixel, 2.0 / pixel))
    texture = (1 + anatomy.mix(table(GRAIN)) * field).clip(0.2)
    bias = shading(rng, shape, scanner.shade_t2 if weighting == "t2" else scanner.shade_t1)
    gain = float(rng.uniform(*scanner.gain))
    noise = float(rng.uniform(*(scanner.noise_t2 if weighting == "t2" else scanner.noise_t1)))
    if weighting == "t2":
        # Where the field is uneven, at the rim, suppression leaves more fat.
        fat *= shading(rng, shape, 0.9).clip(0.4, 3)
    if scanner.standing_wave > 0:
        bias *= standing_wave(shape, scanner.standing_wave)
    signal = water - fat if sequence == "t1_out" else water + fat
    signal *= texture * bias * np.float32(gain)
    own = _generator(seed, sequence)
    return Volume(_magnitude(own, signal, noise), anatomy.affine, "mr", sequence=sequence)


def _alike(values: np.ndarray) -> None:
    """Both kidneys of one person look the same."""
    for part in ("cortex", "medulla"):
        values[TISSUES[f"left_{part}"]] = values[TISSUES[f"right_{part}"]]


def _generator(seed: int | np.random.SeedSequence, purpose: str) -> np.random.Generator:
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    # Not spawn(): that changes the sequence, and the second phase would get another grain than the first.
    key = (*sequence.spawn_key, *purpose.encode())
    return np.random.default_rng(np.random.SeedSequence(sequence.entropy, spawn_key=key))


def _magnitude(rng: np.random.Generator, signal: Field, noise: float) -> np.ndarray:
    real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.rint(np.hypot(real, imaginary)).clip(0, HIGHEST).astype(np.int16)
