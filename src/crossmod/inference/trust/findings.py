"""The results of all checks of a translation, their limits, and the overall status."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from crossmod.config import Settings
from crossmod.data.body_mask import FILLED
from crossmod.inference.trust.images import Output
from crossmod.inference.trust.similarity import Likeness
from crossmod.metrics.appearance import Sequence
from crossmod.metrics.organs import OrganChange
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


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Disagreement of variants and networks, inside the body."""

    unit: str  # `HU`, or `% of the range` of the model for MR
    mean: float
    high: float  # 95th percentile
    share: float  # of the body above the limit
    by_slice: Float[np.ndarray, " slices"]  # mean of each slice; NaN without a body


@dataclass(frozen=True)
class Organ:
    """An organ in the source and in the output.

    Args:
        before: ml by the source's labels; None without labels of it.
        after: ml by S; None if S does not segment it.
        change: overlap, position and fate, if both are known.
    """

    name: str
    before: float | None
    after: float | None
    change: OrganChange | None

    @property
    def title(self) -> str:
        """For people."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Shift:
    """Displacement of the output relative to its source.

    Args:
        rows: pixels of the network, towards the back.
        columns: pixels towards the patient's left.
        mm: length of a pixel.
        agreement: share of the slices whose own shift is within a pixel of the common one.
        scale: of the output; 1.05: 5 % larger than its source.
    """

    rows: float
    columns: float
    mm: float
    agreement: float
    scale: float

    @property
    def distance_mm(self) -> float:
        """Length of the displacement in millimetres."""
        return float(np.hypot(self.rows, self.columns)) * self.mm


@dataclass(frozen=True)
class Slices:
    """Irregular slices of the (first) input, and those of the output without contrast in the body, counted from 0."""

    source: Sequence
    flat: tuple[int, ...]


# Checks without which no translation is within limits.
REQUIRED = ("input against training", "output against real images", "structure")
# Names in JSON of what is known of an organ's change, and of its pieces.
CHANGE = {"dice": "dice", "moved_mm": "shift_mm", "fate": "fate"}
PIECES = {
    "pieces_before": "before", "pieces_after": "after", "second_piece_ml": "second",
    "second_piece_apart_mm": "apart_mm", "invented_ml": "invented", "lost_ml": "lost", "holes_ml": "holes",
}  # fmt: skip


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
    output: Output
    slices: Slices | None = None
    body_share: float = float("nan")
    checks: tuple[Check, ...] = ()

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
        spread, shift, slices = self.uncertainty, self.shift, self.slices
        numbers = {
            "uncertainty": spread
            and {
                "unit": spread.unit,
                "mean": spread.mean,
                "percentile_95": spread.high,
                "share_above_limit": spread.share,
                "by_slice": spread.by_slice.tolist(),
            },
            "organs": {organ.name: _plain_organ(organ) for organ in self.organs},
            "slice_jump_ratio": self.jump,
            "slices": slices
            and {
                "copies": _from_one(slices.source.copies),
                "misplaced": _from_one(slices.source.misplaced),
                "without_body": _from_one(slices.source.missing),
                "flat_input": _from_one(slices.source.flat),
                "flat_output": _from_one(slices.flat),
            },
            "shift": shift and {"pixel_mm": shift.mm, "mm": shift.distance_mm, "scale": shift.scale},
            "clipped_share": self.clipped,
            "body_share": self.body_share,
            "unlike_training": {
                like.name: {
                    "grey_values": like.of("histogram"),
                    "features": like.of("features"),
                    "measures": _plain_measures(like),
                }
                for like in self.likenesses
            },
            "output": _plain_output(self.output),
        }
        rounded = _rounded(numbers)
        if shift:
            # With all digits, as in earlier versions.
            rounded["shift"] = {"rows": shift.rows, "columns": shift.columns, **rounded["shift"]}
        return {
            "status": self.status,
            "ok": self.ok,
            "warnings": list(self.warnings),
            "not_known": list(self.unknown),
            "checks": {check.name: check.outcome for check in self.checks},
            **rounded,
            "limits": self.limits.model_dump(mode="json"),
        }


def _from_one(places: tuple[int, ...]) -> list[int]:
    return [place + 1 for place in places]


def _plain_measures(like: Likeness | None) -> object:
    return like and {
        measure.key: {
            "value": measure.value,
            "low": measure.low,
            "high": measure.high,
            "unit": measure.unit,
            "relative_to_limit": measure.score,
        }
        for measure in like.measures
    }


def _plain_output(output: Output) -> object:
    return {
        "against_real": _plain_measures(output.real),
        "against_own": _plain_measures(output.own),
        "structure": output.kept and output.kept.structure,
        "least_structure": output.least_structure,
        "correlation_with_input": output.copy,
        "organs": {
            organ.name: {"value": organ.value, "low": organ.low, "high": organ.high, "unit": organ.unit}
            for organ in output.organs
        },
    }


def _plain_organ(organ: Organ) -> object:
    change, pieces = organ.change, organ.change and organ.change.pieces
    return {
        "before_ml": organ.before,
        "after_ml": organ.after,
        "relative_change": change and change.growth - 1,
        **{key: getattr(change, name, None) for key, name in CHANGE.items()},
        **{key: getattr(pieces, name, None) for key, name in PIECES.items()},
    }


def _rounded(value: Any) -> Any:
    """Numbers with six digits; None for NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
