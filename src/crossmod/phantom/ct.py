"""CT of the phantom in HU, with contrast agent or without, with noise, texture and the table under the patient."""

import numpy as np
from jaxtyping import Float

from crossmod.data.volume import Volume
from crossmod.phantom.anatomy import Anatomy
from crossmod.phantom.hounsfield import GRAIN, NATIVE, NATIVE_GRAIN, NATIVE_SPREAD, PORTAL_VENOUS, SPREAD
from crossmod.phantom.texture import Field, grain
from crossmod.phantom.tissues import TISSUES, table

LOWEST_HU = -1000.0


def render_ct(anatomy: Anatomy, seed: int | np.random.SeedSequence, *, contrast: bool = True) -> Volume:
    """Scan a person by CT.

    Args:
        anatomy: the person on the scan's grid.
        seed: of contrast, grain and noise.
        contrast: portal-venous, or without contrast agent; the same person and noise either way.

    Returns:
        HU as int16, not below -1000, with air and table.
    """
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 0.6, size=len(TISSUES)).clip(-1.5, 1.5)
    # Both kidneys and all vessels take up contrast together.
    together = rng.normal(0, 0.6, size=2).clip(-1.5, 1.5)
    for group, shift in ((("_cortex", "_medulla"), together[0]), (("artery", "vein", "liver_vessel"), together[1])):
        for name, code in TISSUES.items():
            if name.endswith(group):
                offset[code] = shift
    # Fat in the liver lowers its HU: 1 HU a per cent.
    middle, spread, texture = (PORTAL_VENOUS, SPREAD, GRAIN) if contrast else (NATIVE, NATIVE_SPREAD, NATIVE_GRAIN)
    values = table(middle) + table(spread) * offset.astype(np.float32)
    values[TISSUES["liver"]] -= 100 * max(anatomy.liver_fat - 0.06, 0)
    hu = anatomy.mix(values)
    between, pixel = _spacing(anatomy)
    shape = anatomy.tissues.shape
    hu += anatomy.mix(table(texture)) * grain(rng, shape, (1.5 / between, 2.2 / pixel, 2.2 / pixel))
    hu += _lung_vessels(anatomy, grain(rng, shape, (3 / between, 2.4 / pixel, 2.4 / pixel)))
    _lay_on_table(hu, anatomy, rng)
    # Reconstruction makes noise that neighbours share.
    hu += float(rng.uniform(9, 15)) * grain(rng, shape, (0.0, 0.55, 0.55))
    voxels = np.rint(hu).clip(LOWEST_HU, 3000).astype(np.int16)
    phase = "portal_venous" if contrast else "native"
    return Volume(voxels, anatomy.affine, "ct", sequence=phase, contrast=contrast)


def _lung_vessels(anatomy: Anatomy, field: Field) -> Field:
    lung = anatomy.mix(table({"lung": 1.0}))
    return lung * (900 * np.clip(field - 1.6, 0, 0.9)).astype(np.float32)


def _spacing(anatomy: Anatomy) -> tuple[float, float]:
    lengths = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1])


def _lay_on_table(hu: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Draw the table's shell, a shallow trough under the lowest skin; the patient hides what would cut into them."""
    _, pixel = _spacing(anatomy)
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
    air = anatomy.mix(table({"air": 1.0}))
    for depth, value in ((foam, -960.0), (shell, 160.0), (lower, 100.0)):
        share = np.clip(0.5 - np.maximum(depth, wide) / pixel, 0, 1) * air
        hu += share * (value - hu)


def _band(depth: Float[np.ndarray, "rows columns"], start: float, stop: float) -> Float[np.ndarray, "rows columns"]:
    return np.maximum(start - depth, depth - stop)
