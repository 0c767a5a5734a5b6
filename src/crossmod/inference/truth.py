"""A translation against a real scan of the same patient, where there is one: a phantom, or a registered pair."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossmod.data.groups import onto_grid
from crossmod.data.intensity import Intensity
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.evaluate.body import body_mask
from crossmod.evaluate.paired import paired_scores
from crossmod.inference.contract import Translation

# MR has no unit: both images are brought to 0 to 100 by their own percentiles.
MR_PERCENTILES, MR_SPAN = (0.5, 99.5), 100.0


@dataclass(frozen=True)
class AgainstTruth:
    """How far a translation is from the truth, inside the truth's body, as far as the truth reaches.

    Args:
        unit: of the errors: `HU`; of MR `% of the range`, each image's own.
        mae: mean absolute error; of CT, where both are cut to the model's range: it can make nothing beyond.
        mae_uncut: of CT, against the truth as it is; None of MR.
        psnr: dB, of the cut images.
        ssim: structural similarity of the cut images, 1 for equal ones.
        voxels: that count.
    """

    unit: str
    mae: float
    mae_uncut: float | None
    psnr: float
    ssim: float
    voxels: int

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it: the PSNR of equal images, which is infinite, is None."""
        return {**asdict(self), "psnr": self.psnr if math.isfinite(self.psnr) else None}

    @property
    def words(self) -> str:
        """In one line."""
        uncut = "" if self.mae_uncut is None else f" ({self.mae_uncut:.1f} where the truth is not cut to the window)"
        return f"mean absolute error {self.mae:.1f} {self.unit}{uncut}, PSNR {self.psnr:.1f} dB, SSIM {self.ssim:.3f}"


def evaluate_translation(translation: Translation, truth: Volume) -> AgainstTruth:
    """Hold a translation against a real scan of the same patient.

    Args:
        translation: what was made.
        truth: of the modality that was made, any grid: brought to the translation's linearly, by where it says that it
            lies. Interpolated values are smoother than real ones.

    Raises:
        InputError: another modality, or a scan that shows less than half of what the translation does, or no body.
    """
    about = translation.about
    if truth.modality != about.target:
        found, wanted = truth.modality.upper(), f"{about.target.upper()}, as was made"
        raise InputError("truth", found=found, wanted=wanted, do="Give a real scan of the same patient.")
    placed = onto_grid(truth, translation.image, subject="truth", outside=np.nan).voxels
    there = np.isfinite(placed)
    real = np.where(there, placed, placed[there].min()).astype(np.float64)
    made = translation.image.voxels.astype(np.float64)
    hounsfield = about.target == "ct"
    inside = body_mask(real, about.target) & there
    if not inside.any():
        raise InputError("truth", found="no body in it", wanted="a scan of one", do="Look at it.")
    uncut = float(np.abs(made - real)[inside].mean()) if hounsfield else None
    if hounsfield:
        real, made = (np.clip(image, about.low, about.high) for image in (real, made))
    else:
        real, made = _shares(real), _shares(made)
    scores = paired_scores(real, made, inside, about.high - about.low if hounsfield else MR_SPAN)
    return AgainstTruth(
        unit="HU" if hounsfield else "% of the range",
        mae=scores.mae,
        mae_uncut=uncut,
        psnr=scores.psnr,
        ssim=scores.ssim,
        voxels=int(inside.sum()),
    )


def _shares(image: np.ndarray) -> np.ndarray:
    low, high = (float(value) for value in np.percentile(image, MR_PERCENTILES))
    return (Intensity(low, high if high > low else low + 1).to_model(image) + 1).astype(np.float64) * MR_SPAN / 2
