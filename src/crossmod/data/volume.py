"""A volume: voxels with their position, their modality and, if any, their labels.

- The axes are always `[slice, row, column]`, towards the patient's head (S), back (P) and left (L): feet to head, each
  slice as a radiologist views it. The axes of the file are kept as `orientation`, for writing.
- The affine maps those three indexes to RAS+ millimetres.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import nibabel.orientations as orientations
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from crossmod.config import Modality

CANONICAL = ("S", "P", "L")

Affine = Float[np.ndarray, "4 4"]
Voxels = Shaped[np.ndarray, "slices rows columns"]
Labels = UInt8[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, eq=False)
class Volume:
    """One image of one patient.

    Args:
        voxels: values `[slice, row, column]`; HU where the modality is `ct`.
        affine: float64, index `(slice, row, column, 1)` to RAS+ millimetres.
        modality: `ct` or `mr`.
        sequence: the MR sequence (`t1_in`, `t1_out`, `t2_spir`) or the CT phase, where it is known.
        labels: a class for each voxel, 0 where there is none.
        label_names: label value -> organ, for every value that `labels` may hold besides 0.
        orientation: the axis codes of the file it came from, as nibabel writes them.
        acquisition: allow-listed attributes of the file it came from; nothing that identifies a person.
        notes: warnings that belong to the data, such as burnt-in annotation.
        contrast: CT: True with contrast agent in the blood, False without, None if not known; MR: None.
        stated_unit: CT: the unit of the values, where it is not HU or is in doubt (`unknown`, or what a header says);
            None: HU. See `crossmod.data.units`.
        model_range: synthetic MR: the units that a model made of -1 and 1; None: of other images, and not known.
    """

    voxels: Voxels
    affine: Affine
    modality: Modality
    sequence: str | None = None
    labels: Labels | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    orientation: tuple[str, str, str] = CANONICAL
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    contrast: bool | None = None
    stated_unit: str | None = None
    model_range: tuple[float, float] | None = None

    def __repr__(self) -> str:
        name = f"{self.modality.upper()}{f' {self.sequence}' if self.sequence else ''}"
        shape = " x ".join(map(str, self.voxels.shape))
        spacing = " x ".join(f"{length:.3g}" for length in self.spacing)
        organs = f", labels: {', '.join(self.label_names.values())}" if self.label_names else ""
        return f"Volume({name}, {shape} voxels of {spacing} mm, {self.unit}{organs})"

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between neighbouring slices, rows and columns."""
        slices, rows, columns = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return slices, rows, columns

    @property
    def unit(self) -> str:
        """`HU` for CT, unless another unit is stated; MR has no unit of its own."""
        return (self.stated_unit or "HU") if self.modality == "ct" else "arbitrary"

    def with_labels(self, labels: Labels | None, label_names: Mapping[int, str]) -> "Volume":
        """The same volume with other labels."""
        return replace(self, labels=labels, label_names=dict(label_names))

    def label_ml(self, organ: str) -> float:
        """Volume of an organ in millilitres."""
        value = label_value(self.label_names, organ)
        if self.labels is None or value is None:
            return 0.0
        return float(np.count_nonzero(self.labels == value) * abs(np.linalg.det(self.affine[:3, :3])) / 1000)


def label_value(label_names: Mapping[int, str], organ: str) -> int | None:
    """The label value of `organ`, or None where these labels do not know it."""
    return next((value for value, name in label_names.items() if name == organ), None)


def reorient(
    array: Shaped[np.ndarray, "i j k"], affine: Affine, codes: tuple[str, str, str]
) -> tuple[Shaped[np.ndarray, "a b c"], Affine]:
    """Flip and permute the axes so that they run nearest to `codes`, such as `("S", "P", "L")`; nothing is
    interpolated.

    `affine` maps indexes to RAS+ millimetres.
    """
    have = orientations.io_orientation(affine)
    want = orientations.axcodes2ornt(codes)
    change = orientations.ornt_transform(have, want)
    moved = orientations.apply_orientation(array, change)
    return np.ascontiguousarray(moved), affine @ orientations.inv_ornt_aff(change, array.shape)


def axis_codes(affine: Affine) -> tuple[str, str, str]:
    """The directions that the three axes run nearest to."""
    first, second, third = (str(code) for code in orientations.aff2axcodes(affine))
    return first, second, third


def take_slices(volume: Volume, indexes: Sequence[int]) -> Volume:
    """Some slices of a volume, in rising order.

    The affine is that of equidistant slices; if they are not, that of the original slices from the first one on, and a
    note says so.
    """
    chosen = list(indexes)
    steps = {after - before for before, after in itertools.pairwise(chosen)} or {1}
    even = len(steps) == 1
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 0] * chosen[0]
    if even:
        affine[:3, 0] *= steps.pop()
    note = () if even else ("slices were left out: positions along the body are not exact",)
    return replace(
        volume,
        voxels=volume.voxels[chosen],
        labels=None if volume.labels is None else volume.labels[chosen],
        affine=affine,
        notes=(*volume.notes, *note),
    )
