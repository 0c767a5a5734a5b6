"""A translation compared with a real scan of the same patient, and the card beside a translation."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Num

from crossmod.data.body_mask import FILLED, body_mask
from crossmod.data.deidentify import SYNTHETIC
from crossmod.data.registration import resample_to
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import write_json
from crossmod.inference.inputs import check_volume
from crossmod.inference.types import Options, Translation
from crossmod.metrics.paired import in_percent, paired_scores
from crossmod.version import __version__

# Below this share of the body, the text says that the rest is not compared.
ALL = 0.99
# MR has no unit: both images are scaled to 0 to 100 by their own percentiles.
MR_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class AgainstTruth:
    """Scores of a translation, inside the truth's body.

    Args:
        unit: of the errors: `HU`; for MR `% of the range`: each image cut to its 0.5th and 99.5th percentile.
        mae: mean absolute error; for CT, of both images cut to the model's range.
        mae_uncut: for CT, with the uncut truth; None for MR.
        psnr: dB, of the cut images.
        ssim: structural similarity of the cut images, 1 for equal ones.
        voxels: of the truth's body.
        share: of the translation's body that the truth shows.
        body_share: share of the truth's slices that is body.
        placed: the truth on the translation's grid, NaN beyond it; for pictures.
    """

    unit: str
    mae: float
    mae_uncut: float | None
    psnr: float
    ssim: float
    voxels: int
    share: float
    body_share: float = 0.0
    placed: Num[np.ndarray, "slices rows columns"] | None = field(default=None, repr=False, compare=False)

    def plain(self) -> dict[str, str | float | None]:
        """The scores for JSON; an infinite PSNR, of equal images, is None."""
        scores = {name: value for name, value in vars(self).items() if name != "placed"}
        return {**scores, "psnr": self.psnr if math.isfinite(self.psnr) else None}

    @property
    def words(self) -> str:
        """The scores in one line."""
        beyond = self.mae_uncut is not None and self.mae_uncut > self.mae + 0.05
        uncut = f" ({self.mae_uncut:.1f} where the truth is not cut to the window)" if beyond else ""
        part = "" if self.share > ALL else f"; the scan shows {self.share:.0%} of the body, the rest is not compared"
        filled = (
            f"; {self.body_share:.0%} of its slices are taken for body: check it" if self.body_share > FILLED else ""
        )
        similarity = f"PSNR {self.psnr:.1f} dB, SSIM {self.ssim:.3f}"
        return f"mean absolute error {self.mae:.1f} {self.unit}{uncut}, {similarity}{part}{filled}"


def evaluate_translation(translation: Translation, truth: Volume) -> AgainstTruth:
    """Compare a translation with a real scan of the same patient.

    Args:
        translation: the synthetic volume.
        truth: of the target modality, on any grid: resampled linearly to the translation's, by its affine. Interpolated
            values are smoother than real ones.

    Raises:
        InputError: another modality, a scan that shows less than half of the translation, or no body.
    """
    if not isinstance(translation, Translation):
        found, do = f"a {type(translation).__name__}", "Give the translation first, then the real scan."
        raise InputError("evaluate_translation", found=found, expected="a crossmod.Translation", do=do)
    about = translation.about
    hounsfield = translation.image.unit == "HU"
    # CT in an unknown unit can only be compared with CT in that unit.
    check_volume(truth, "the truth", about.target, accept_units=about.target == "ct" and not hounsfield)
    if SYNTHETIC in truth.notes:
        do = "Give a real scan of the same patient."
        raise InputError("the truth", found="a synthetic image", expected="a scan", do=do)
    placed = resample_to(truth, translation.image, subject="the truth", outside=np.nan).voxels
    there = np.isfinite(placed)
    real = np.where(there, placed, placed[there].min()).astype(np.float64)
    synthetic = translation.image.voxels.astype(np.float64)
    inside = body_mask(real, about.target) & there
    if not inside.any():
        raise InputError("the truth", found="no body in it", expected="a scan of one", do="Check the image.")
    uncut = float(np.abs(synthetic - real)[inside].mean()) if hounsfield else None
    if hounsfield:
        real, synthetic = (np.clip(image, about.low, about.high) for image in (real, synthetic))
    else:
        real, synthetic = (in_percent(image, MR_PERCENTILES) for image in (real, synthetic))
    scores = paired_scores(real, synthetic, inside, about.high - about.low if hounsfield else 100.0)
    return AgainstTruth(
        unit="HU" if hounsfield else "% of the range",
        mae=scores.mae,
        mae_uncut=uncut,
        psnr=scores.psnr,
        ssim=scores.ssim,
        voxels=int(inside.sum()),
        placed=placed,
        body_share=float(inside[inside.any(axis=(1, 2))].mean()),
        share=float(there[translation.body].mean()) if translation.body.any() else 0.0,
    )


WARNING = "Synthetic, not for diagnosis: no scanner made this image. Organs can be missing, moved or invented."


def write_card(translation: Translation, path: Path, options: Options, truth: AgainstTruth | None = None) -> None:
    """Write the card of the translation at `path`, without data of the patient, to `<path>.json`."""
    about, image = translation.about, translation.image
    spread = translation.uncertainty
    inside = spread[translation.body] if spread is not None else None
    card = {
        "warning": WARNING,
        "software": f"crossmod {__version__}",
        "model": {
            "name": about.name,
            "family": about.family,
            "sha256": about.weights,
            "version": about.version,
            "inputs": list(about.inputs),
            "stack": about.stack,
            "stack_mm": about.stack_mm,
            "trained_on": about.trained_on,
            "licence": about.licence,
        },
        "options": options.model_dump(mode="json"),
        "modality": image.modality,
        "unit": image.unit,
        "notes": list(image.notes),
        "range": [about.low, about.high],
        "shape": list(image.voxels.shape),
        "spacing_mm": [round(length, 6) for length in image.spacing],
        "outside_the_body": about.low,
        "clipped_share": round(translation.clipped, 6),
        "mean_uncertainty": float(inside.mean()) if inside is not None and np.size(inside) else None,
        "seconds": translation.seconds,
        "against_truth": None if truth is None else truth.plain(),
    }
    out = path.with_name(path.name + ".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, card)
