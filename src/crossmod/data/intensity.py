"""Intensity: a recorded, invertible step between a volume's units and the model's [-1, 1]."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.settings import ImageSettings


@dataclass(frozen=True)
class Intensity:
    """A straight line that takes `low` to -1 and `high` to 1; what lies outside is cut."""

    low: float
    high: float

    def to_model(self, values: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Units to [-1, 1], float32."""
        scaled = (values.astype(np.float32) - self.low) * (2 / (self.high - self.low)) - 1
        return np.clip(scaled, -1, 1).astype(np.float32)

    def to_units(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """[-1, 1] back to units, float32."""
        return ((values + 1) * ((self.high - self.low) / 2) + self.low).astype(np.float32)


def intensity_of(volume: Volume, settings: ImageSettings) -> Intensity:
    """The step for one volume: CT by the HU window, MR by the volume's own percentiles.

    Raises:
        InputError: the volume's percentiles are equal, so that it has no contrast to keep.
    """
    if volume.modality == "ct":
        return Intensity(*settings.window)
    low, high = (float(value) for value in np.percentile(volume.voxels, settings.percentiles))
    if low >= high:
        raise InputError(
            "MR volume",
            found=f"the value {low} at both percentiles {settings.percentiles}",
            wanted="contrast",
            do="Leave the case out, or widen --percentiles.",
        )
    return Intensity(low, high)
