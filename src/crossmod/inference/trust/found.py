"""What the checks of a translation found, and the limits that they are held against."""

import math
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from crossmod.config import Settings
from crossmod.inference.trust.checks import Organ, Shift, Uncertainty
from crossmod.inference.trust.fingerprint import Likeness


class Limits(Settings):
    """Beyond which a translation is warned of; round numbers from experience, none of them validated on patients."""

    uncertain: float = Field(default=0.1, gt=0)
    """A voxel is uncertain whose variants differ by more than this share of the range: of 400 HU, 40."""
    uncertain_share: float = Field(default=0.1, ge=0, le=1)
    """Of the body that may be uncertain: the rims of organs are about a tenth of it."""
    dice: float = Field(default=0.7, ge=0, le=1)
    """Least overlap of an organ before and after: good segmentors of the liver reach 0.9, of small organs 0.8."""
    organ_change: float = Field(default=0.25, ge=0)
    """Of an organ's volume: readers of one liver differ by less than a tenth."""
    jump: float = Field(default=1.5, gt=0)
    """Steps from slice to slice by those of the source: the true CT of phantom MR has 0.9 to 1.2."""
    shift_px: float = Field(default=1, ge=0)
    """Pixels of the network by which all may lie beside its source: what is measured is whole pixels."""
    clipped: float = Field(default=0.3, ge=0, le=1)
    """Of the body that may lie beyond the window: bone, gas and fat are 17 to 25 % of phantoms in -160 to 240 HU."""
    unlike: float = Field(default=1, gt=0)
    """Distance of the input from the training's by that which 95 % of the training patients keep from the rest."""


@dataclass(frozen=True, eq=False)
class Trust:
    """What the checks found.

    Args:
        uncertainty: None where there was but one variant.
        organs: those that S or the source's labels know.
        jump: steps from slice to slice by those of the source; nan where there are none.
        shift: None where it cannot be told.
        clipped: share of the body.
        likenesses: of the inputs with the training's; empty where the model does not tell.
        warnings: a sentence for each limit that is exceeded.
        unknown: a sentence for each check that could not be made, or says little.
        limits: that were used.
    """

    uncertainty: Uncertainty | None
    organs: tuple[Organ, ...]
    jump: float
    shift: Shift | None
    clipped: float
    likenesses: tuple[Likeness, ...]
    warnings: tuple[str, ...]
    unknown: tuple[str, ...]
    limits: Limits

    @property
    def ok(self) -> bool:
        """Whether no limit is exceeded; no proof that the image is right."""
        return not self.warnings

    @property
    def verdict(self) -> str:
        """In a word or three."""
        return "no warning" if self.ok else f"{len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it; what is not known is None."""
        spread, shift = self.uncertainty, self.shift
        return {
            "ok": self.ok,
            "warnings": list(self.warnings),
            "not_known": list(self.unknown),
            "uncertainty": spread
            and {
                "unit": spread.unit,
                "mean": _number(spread.mean),
                "percentile_95": _number(spread.high),
                "share_above_limit": _number(spread.share),
                "by_slice": [_number(value) for value in spread.by_slice],
            },
            "organs": {organ.name: _plain_organ(organ) for organ in self.organs},
            "slice_jump_ratio": _number(self.jump),
            "shift": shift and {"rows": shift.rows, "columns": shift.columns, "pixel_mm": _number(shift.mm)},
            "clipped_share": _number(self.clipped),
            "unlike_training": {
                one.name: {"grey_values": _number(one.grey), "features": _number(one.features)}
                for one in self.likenesses
            },
            "limits": self.limits.model_dump(mode="json"),
        }


def _plain_organ(organ: Organ) -> dict[str, float | str | None]:
    change = organ.change
    return {
        "before_ml": _number(organ.before),
        "after_ml": _number(organ.after),
        "relative_change": _number(change.growth - 1) if change else None,
        "dice": _number(change.dice) if change else None,
        "moved_mm": _number(change.shift_mm) if change else None,
        "fate": change.fate if change else None,
    }


def _number(value: float | None) -> float | None:
    """Rounded; None where there is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
