"""HU of the phantom's tissues, 70 s after contrast agent and without any."""

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
