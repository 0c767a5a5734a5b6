"""The results of all checks of a translation, their limits, and the overall status."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from crossmod.config import Settings
from crossmod.data.body_mask import FILLED
from crossmod.inference.trust.checks import Organ, Shift, Slices, Uncertainty
from crossmod.inference.trust.images import Output
from crossmod.inference.trust.similarity import Likeness
from crossmod.metrics.paired import SHIFT_LIMIT_MM

Status = Literal["within limits", "doubtful", "not assessed"]
Outcome = Literal["within limits", "warning", "not assessed"]


class Limits(Settings):
    """Limits of warnings; those relative to the training follow from its patients."""

    uncertain: float = Field(default=0.1, gt=0)
    """A voxel is uncertain if its variants differ by more than this share of the range: 40 HU of 400."""
    uncertain_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the body that may be uncertain: the rims of organs are about a tenth of it."""
    dice: float = Field(default=0.7, ge=0, le=1)
    """Minimum Dice of an organ before and after: good segmentors of the liver reach 0.9, of small organs 0.8."""
    organ_change: float = Field(default=0.25, ge=0)
    """Change of an organ's volume: readers of one liver differ by less than a tenth."""
    piece_ml: float = Field(default=5.0, ge=0)
    """Size of a piece of an organ that may be invented or lost, ml (cm² in a single slice)."""
    piece_share: float = Field(default=0.03, ge=0)
    """The same as a share of the organ; the larger of both counts."""
    jump: float = Field(default=1.5, gt=0)
    """Steps from slice to slice, relative to the source's: the true CT of phantom MR has 0.9 to 1.2."""
    shift_mm: float = Field(default=SHIFT_LIMIT_MM, ge=0)
    """Shift of the output from its source, mm; it is measured to about a tenth of a pixel of the network."""
    shift_px: float | None = Field(default=None, ge=0)
    """Shift in pixels of the network; a limit of earlier versions, applied only if set."""
    scale: float = Field(default=0.03, ge=0)
    """By how much the output may be larger or smaller than its source; true pairs of phantoms stay within 0.02."""
    clipped: float = Field(default=0.3, ge=0, le=1)
    """Share of the body beyond the window: bone, gas and fat are 17 to 25 % of phantoms in -160 to 240 HU."""
    body_share: float = Field(default=FILLED, ge=0, le=1)
    """Share of the slices that may be body: more is a field of view inside the body, or a failed mask."""
    unlike: float = Field(default=1.0, gt=0)
    """Distance from the training's images, relative to the limit that follows from its patients."""


@dataclass(frozen=True)
class Check:
    """One check and its outcome: `within limits`, `warning`, or `not assessed`."""

    name: str
    outcome: Outcome


# Checks without which no translation is within limits.
REQUIRED = ("input against training", "output against real images", "structure")


@dataclass(frozen=True, eq=False)
class Trust:
    """The results of all checks.

    Args:
        uncertainty: None for a single variant.
        organs: of S or the source's labels.
        jump: steps from slice to slice relative to the source; NaN if unknown.
        shift: None if it cannot be measured.
        clipped: share of the body beyond the model's window.
        likenesses: of each input with the training's; empty if unknown.
        warnings: a sentence for each exceeded limit.
        unknown: a sentence for each check that could not be made, or is not conclusive.
        output: appearance of the output, and structure of the source in it.
        slices: irregular slices; None without a body.
        body_share: share of the slices that is body; NaN without one.
        checks: every check and its outcome.
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
    output: Output | None = None
    slices: Slices | None = None
    body_share: float = float("nan")
    checks: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no limit is exceeded; the image may still be wrong."""
        return not self.warnings

    @property
    def status(self) -> Status:
        """Overall: `doubtful` with a warning; else `not assessed` if too few checks could be made."""
        if self.warnings:
            return "doubtful"
        missing = [check.name for check in self.checks if check.outcome == "not assessed"]
        if not self.checks or 2 * len(missing) > len(self.checks) or set(missing) & set(REQUIRED):
            return "not assessed"
        return "within limits"

    @property
    def verdict(self) -> str:
        """The number of warnings, or that it was not assessed."""
        if self.ok:
            return "no warning" if self.status == "within limits" else "not assessed"
        return f"{len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"

    def plain(self) -> dict[str, Any]:
        """All results for JSON; unknown values are None."""
        spread, shift, output = self.uncertainty, self.shift, self.output
        return {
            "status": self.status,
            "ok": self.ok,
            "warnings": list(self.warnings),
            "not_known": list(self.unknown),
            "checks": {check.name: check.outcome for check in self.checks},
            "uncertainty": spread
            and {
                "unit": spread.unit,
                "mean": number(spread.mean),
                "percentile_95": number(spread.high),
                "share_above_limit": number(spread.share),
                "by_slice": [number(value) for value in spread.by_slice],
            },
            "organs": {organ.name: _plain_organ(organ) for organ in self.organs},
            "slice_jump_ratio": number(self.jump),
            "slices": self.slices
            and {
                "copies": _from_one(self.slices.source.copies),
                "misplaced": _from_one(self.slices.source.misplaced),
                "without_body": _from_one(self.slices.source.missing),
                "flat_input": _from_one(self.slices.source.flat),
                "flat_output": _from_one(self.slices.flat),
            },
            "shift": shift
            and {
                "rows": shift.rows,
                "columns": shift.columns,
                "pixel_mm": number(shift.mm),
                "mm": number(shift.distance_mm),
                "scale": number(shift.scale),
            },
            "clipped_share": number(self.clipped),
            "body_share": number(self.body_share),
            "unlike_training": {
                like.name: {
                    "grey_values": number(like.of("histogram")),
                    "features": number(like.of("features")),
                    "measures": _plain_measures(like),
                }
                for like in self.likenesses
            },
            "output": output and _plain_output(output),
            "limits": self.limits.model_dump(mode="json"),
        }


def _from_one(places: tuple[int, ...]) -> list[int]:
    return [place + 1 for place in places]


def _plain_measures(like: Likeness | None) -> dict[str, dict[str, float | str | None]] | None:
    return like and {
        measure.key: {
            "value": number(measure.value),
            "low": number(measure.low),
            "high": number(measure.high),
            "unit": measure.unit,
            "relative_to_limit": number(measure.score),
        }
        for measure in like.measures
    }


def _plain_output(output: Output) -> dict[str, Any]:
    return {
        "against_real": _plain_measures(output.real),
        "against_own": _plain_measures(output.own),
        "structure": number(output.kept.structure) if output.kept else None,
        "least_structure": number(output.least_structure),
        "correlation_with_input": number(output.copy),
        "organs": {
            organ.name: {
                "value": number(organ.value),
                "low": number(organ.low),
                "high": number(organ.high),
                "unit": organ.unit,
            }
            for organ in output.organs
        },
    }


def _plain_organ(organ: Organ) -> dict[str, float | str | None]:
    change = organ.change
    pieces = change.pieces if change else None
    return {
        "before_ml": number(organ.before),
        "after_ml": number(organ.after),
        "relative_change": number(change.growth - 1) if change else None,
        "dice": number(change.dice) if change else None,
        "moved_mm": number(change.shift_mm) if change else None,
        "fate": change.fate if change else None,
        "pieces_before": pieces.before if pieces else None,
        "pieces_after": pieces.after if pieces else None,
        "second_piece_ml": number(pieces.second) if pieces else None,
        "second_piece_apart_mm": number(pieces.apart_mm) if pieces else None,
        "invented_ml": number(pieces.invented) if pieces else None,
        "lost_ml": number(pieces.lost) if pieces else None,
        "holes_ml": number(pieces.holes) if pieces else None,
    }


def number(value: float | None) -> float | None:
    """Rounded to six digits; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
