"""CT and MR images of an invented anatomy.

- Source 1 is the scanner of CHAOS: 1.5 T, strongly T1-weighted 2D slices, thick, with gaps.
- Source 2 is another hospital's: 3 T, a 3D gradient echo of a low flip angle, with thin adjacent slices, a larger
  field, three times the noise on T1, the dark middle caused by standing waves at 3 T, and flatter contrast. In phase,
  as means of 4 persons and 5 scans of each: fat over liver 1.24 (source 1: 1.52), spleen over liver 0.87 (0.67), muscle
  over liver 0.97 (0.75), fluid over fat 0.35 (0.19).
- T1 is a dual echo of water W and fat F: in phase |W + F|, out of phase |W - F|. Where a voxel holds both, as at every
  border between organ and fat, the two cancel and leave the dark India ink outline.
- Both T1 phases come from one excitation: same grain, same shading, other noise.
- Noise is Rician: the magnitude of a complex signal with Gaussian noise in both parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.phantom.anatomy import Anatomy
from crossmod.phantom.tissues import TISSUES, Field, grain, shading, share_of, standing_wave, table

Sequence = Literal["t1_in", "t1_out", "t2_spir"]
SEQUENCES: tuple[Sequence, ...] = get_args(Sequence)

MrSource = Literal[1, 2]

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """One source of MR; ranges vary from scan to scan."""

    tesla: float  # field strength
    water_t1: str  # column of the tissues' table: signal of pure water on T1
    # Sequence -> repetition time, echo time (ms) and flip angle (degrees)
    times: Mapping[str, tuple[float, float, float]]
    volumetric: bool  # whether T1 is one excited slab (3D) rather than a stack of slices
    gain: Range  # signal of fat under the skin on T1, of 4095
    noise_t1: Range  # standard deviation in each part of the complex signal on T1, in the same unit; `noise_t2` on T2
    noise_t2: Range
    shade_t1: float  # strength of the coils' shading on T1; `shade_t2` on T2
    shade_t2: float
    standing_wave: float  # share of the signal that the body's middle loses
    field: Range  # width of a slice, mm
    closest: float  # smallest distance of slices, mm; thinner ones would take too long to scan
    slices: float  # number of slices per slice of CT
    thickness: Range  # of a slice, as a fraction of the distance between two


# At 1.5 T fat and water point the same way after 4.6 ms and oppose each other after 2.3 ms; at 3 T after half of that.
SCANNERS: dict[MrSource, Scanner] = {
    1: Scanner(
        tesla=1.5,
        water_t1="water_t1",
        times={"t1_in": (175.0, 4.6, 80.0), "t1_out": (175.0, 2.3, 80.0), "t2_spir": (1800.0, 80.0, 90.0)},
        volumetric=False,
        gain=(780.0, 1000.0),
        noise_t1=(9.0, 14.0),
        noise_t2=(9.0, 14.0),
        shade_t1=0.3,
        shade_t2=0.35,
        standing_wave=0.0,
        field=(350.0, 400.0),
        closest=5.5,
        slices=0.85,
        thickness=(0.8, 0.92),
    ),
    2: Scanner(
        tesla=3.0,
        water_t1="water_t1_3t",
        times={"t1_in": (4.0, 2.3, 4.0), "t1_out": (4.0, 1.15, 4.0), "t2_spir": (1800.0, 70.0, 90.0)},
        volumetric=True,
        gain=(420.0, 560.0),
        noise_t1=(15.0, 23.0),
        noise_t2=(5.0, 8.0),
        shade_t1=0.45,
        shade_t2=0.5,
        standing_wave=0.4,
        field=(400.0, 450.0),
        closest=3.0,
        slices=1.3,
        thickness=(1.0, 1.0),
    ),
}


HIGHEST = 4095

# Signal of pure fat, for fat under the skin on T1 = 1.
FAT_T1, FAT_T2 = 1.0, 0.09


def render_mr(
    anatomy: Anatomy, sequence: Sequence, seed: int | np.random.SeedSequence, *, source: MrSource = 1
) -> Volume:
    """Scan a person by MR; 12-bit magnitudes as int16. `seed` decides contrast, grain, shading and noise: both T1
    phases need the same one."""
    if sequence not in SEQUENCES:
        raise InputError("sequence", found=repr(sequence), expected=", ".join(SEQUENCES), do="Name one of these.")
    weighting = "t2" if sequence == "t2_spir" else "t1"
    rng = _generator(seed, weighting)
    scanner = SCANNERS[source]
    water_signal = table("water_t2" if weighting == "t2" else scanner.water_t1)
    water_signal *= np.exp(rng.normal(0, 0.05, size=len(TISSUES)).clip(-0.12, 0.12)).astype(np.float32)
    # Both kidneys of one person look the same.
    for part in ("cortex", "medulla"):
        water_signal[TISSUES[f"left_{part}"]] = water_signal[TISSUES[f"right_{part}"]]
    fat_of = anatomy.fat_fractions
    water = anatomy.mix(water_signal * (1 - fat_of) * (1 - share_of("air", "gas")))
    fat = anatomy.mix(fat_of * np.float32(FAT_T2 if weighting == "t2" else FAT_T1))
    shape = anatomy.tissues.shape
    between, pixel = anatomy.spacing
    field = grain(rng, shape, (2.5 / between, 2.0 / pixel, 2.0 / pixel))
    texture = (1 + anatomy.mix(table("mr_grain")) * field).clip(0.2)
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


def _generator(seed: int | np.random.SeedSequence, purpose: str) -> np.random.Generator:
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    # Not spawn(): that changes the sequence, and the second phase would get another grain than the first.
    key = (*sequence.spawn_key, *purpose.encode())
    return np.random.default_rng(np.random.SeedSequence(sequence.entropy, spawn_key=key))


def _magnitude(rng: np.random.Generator, signal: Field, noise: float) -> np.ndarray:
    real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.rint(np.hypot(real, imaginary)).clip(0, HIGHEST).astype(np.int16)


LOWEST_HU = -1000.0


def render_ct(anatomy: Anatomy, seed: int | np.random.SeedSequence, *, contrast: bool = True) -> Volume:
    """Scan a person by CT: HU as int16, at least -1000, with air and table. `contrast`: portal-venous, or without
    contrast agent; the same person and noise either way."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 0.6, size=len(TISSUES)).clip(-1.5, 1.5)
    # Both kidneys and all vessels take up contrast together.
    together = rng.normal(0, 0.6, size=2).clip(-1.5, 1.5)
    for group, shift in ((("_cortex", "_medulla"), together[0]), (("artery", "vein", "liver_vessel"), together[1])):
        for name, code in TISSUES.items():
            if name.endswith(group):
                offset[code] = shift
    # Fat in the liver lowers its HU: 1 HU a per cent.
    phase, prefix = ("portal_venous", "") if contrast else ("native", "native_")
    values = table(phase) + table(f"{prefix}spread") * offset.astype(np.float32)
    values[TISSUES["liver"]] -= 100 * max(anatomy.liver_fat - 0.06, 0)
    hu = anatomy.mix(values)
    between, pixel = anatomy.spacing
    shape = anatomy.tissues.shape
    hu += anatomy.mix(table(f"{prefix}grain")) * grain(rng, shape, (1.5 / between, 2.2 / pixel, 2.2 / pixel))
    vessels = grain(rng, shape, (3 / between, 2.4 / pixel, 2.4 / pixel))
    hu += anatomy.mix(share_of("lung")) * (900 * np.clip(vessels - 1.6, 0, 0.9)).astype(np.float32)
    _lay_on_table(hu, anatomy, rng)
    # Reconstruction makes noise that neighbours share.
    hu += float(rng.uniform(9, 15)) * grain(rng, shape, (0.0, 0.55, 0.55))
    voxels = np.rint(hu).clip(LOWEST_HU, 3000).astype(np.int16)
    return Volume(voxels, anatomy.affine, "ct", sequence=phase, contrast=contrast)


def _lay_on_table(hu: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Draw the table's shell, a shallow trough under the lowest skin; the patient hides what would cut into them."""
    _, pixel = anatomy.spacing
    touched = np.flatnonzero((anatomy.tissues != TISSUES["air"]).any(axis=(0, 2)))
    size = hu.shape[1]
    lowest = float(touched[-1]) if len(touched) else size / 2
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    across = (columns - (size - 1) / 2) * pixel
    # The trough's circle is wider than a body, so that only its middle carries.
    rise = across**2 * (1 / (2 * float(rng.uniform(420, 600))))
    below = (rows - lowest) * pixel + rise - 5.0
    wide = np.abs(across) - 205
    shell, foam, lower = _band(below, 0.0, 3.0), _band(below, 3.0, 28.0), _band(below, 28.0, 31.0)
    air = anatomy.mix(share_of("air"))
    for depth, value in ((foam, -960.0), (shell, 160.0), (lower, 100.0)):
        share = np.clip(0.5 - np.maximum(depth, wide) / pixel, 0, 1) * air
        hu += share * (value - hu)


def _band(depth: Float[np.ndarray, "rows columns"], start: float, stop: float) -> Float[np.ndarray, "rows columns"]:
    return np.maximum(start - depth, depth - stop)
