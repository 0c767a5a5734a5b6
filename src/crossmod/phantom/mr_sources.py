"""Where MR of the phantom comes from: two scanners, whose T1 of one tissue is not alike.

Notable:
- Source 1 is the scanner of CHAOS: 1.5 T, strongly T1-weighted 2D slices, thick, with gaps.
- Source 2 is another hospital's: 3 T, a 3D gradient echo of a low flip angle, with thin slices that touch, a larger
  field, three times the noise on T1, the dark middle that standing waves make at 3 T, and flatter contrast. In phase,
  as means of 4 persons and 5 scans of each: fat over liver 1.24 (source 1: 1.52), spleen over liver 0.87 (0.67), muscle
  over liver 0.97 (0.75), fluid over fat 0.35 (0.19).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Sequence = Literal["t1_in", "t1_out", "t2_spir"]
SEQUENCES: tuple[Sequence, ...] = get_args(Sequence)

MrSource = Literal[1, 2]

Range = tuple[float, float]

# Signal of pure water of each tissue, for fat under the skin on T1 = 1.
WATER_T1: dict[str, float] = {
    "skin": 0.45,
    "fat": 0.5,
    "muscle": 0.46,
    "lung": 0.05,
    "bone": 0.06,
    "marrow": 0.42,
    "disc": 0.38,
    "nerve": 0.42,
    "csf": 0.16,
    "heart": 0.4,
    "artery": 0.3,
    "vein": 0.24,
    "liver": 0.6,
    "liver_vessel": 0.36,
    "bile": 0.3,
    "spleen": 0.42,
    "*_cortex": 0.5,
    "*_medulla": 0.38,
    "urine": 0.16,
    "pancreas": 0.64,
    "gut_wall": 0.44,
    "stomach_fluid": 0.18,
    "chyme": 0.34,
    "stool": 0.36,
}
# At 3 T: sin(a) (1 - E) / (1 - cos(a) E), E = exp(-TR / T1), of TR 4 ms and a = 4 degrees, over that of fat, with T1 of
# de Bazelaire et al. (Radiology 2004;230:652-659): fat 382 ms, liver 809, spleen 1328, cortex 1142, medulla 1545,
# pancreas 725, muscle 898, marrow 586; blood 1900 and fluids 4000 ms. The rest follows the tissue that it is most like.
# Slices do not saturate what flows into a slab: vessels are nearer to the organs than in 2D.
WATER_T1_3T: dict[str, float] = {
    "skin": 0.78,
    "fat": 0.82,
    "muscle": 0.8,
    "lung": 0.05,
    "bone": 0.1,
    "marrow": 0.91,
    "disc": 0.6,
    "nerve": 0.7,
    "csf": 0.36,
    "heart": 0.68,
    "artery": 0.57,
    "vein": 0.57,
    "liver": 0.83,
    "liver_vessel": 0.59,
    "bile": 0.46,
    "spleen": 0.68,
    "*_cortex": 0.73,
    "*_medulla": 0.63,
    "urine": 0.36,
    "pancreas": 0.85,
    "gut_wall": 0.7,
    "stomach_fluid": 0.38,
    "chyme": 0.58,
    "stool": 0.5,
}


@dataclass(frozen=True)
class Scanner:
    """One source of MR.

    Args:
        tesla: field strength.
        water_t1: signal of pure water of each tissue on T1, for fat under the skin = 1.
        times: sequence -> repetition time, echo time (ms) and flip angle (degrees).
        volumetric: whether T1 is one excited slab (3D) and no stack of slices.
        gain: signal of fat under the skin on T1, of 4095, from scan to scan.
        noise_t1: standard deviation in each part of the complex signal on T1, in the same unit.
        noise_t2: the same on T2.
        shade_t1: strength of the coils' shading on T1.
        shade_t2: the same on T2.
        standing_wave: how much of the signal the body's middle loses.
        field: width of a slice, mm, from scan to scan.
        closest: the closest that slices lie, mm; thinner ones would take too long to scan.
        slices: how many, for one of CT.
        thickness: of a slice, as a fraction of the distance between two.
    """

    tesla: float
    water_t1: Mapping[str, float]
    times: Mapping[str, tuple[float, float, float]]
    volumetric: bool
    gain: Range
    noise_t1: Range
    noise_t2: Range
    shade_t1: float
    shade_t2: float
    standing_wave: float
    field: Range
    closest: float
    slices: float
    thickness: Range


# At 1.5 T fat and water point the same way after 4.6 ms and oppose each other after 2.3 ms; at 3 T after half of that.
SCANNERS: dict[MrSource, Scanner] = {
    1: Scanner(
        tesla=1.5,
        water_t1=WATER_T1,
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
        water_t1=WATER_T1_3T,
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
