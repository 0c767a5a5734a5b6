"""Measurements of a translation without its truth: spread, organs, slices, body."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from crossmod.data.slices import in_classes
from crossmod.inference.tiling import frame_of
from crossmod.inference.types import Translation
from crossmod.metrics.appearance import Sequence, sequence_of
from crossmod.metrics.organs import OrganChange, Stack, organ_changes, slice_jump

# Allowed movement of an organ's surface: pixels of the network, or mm, whichever is more.
SURFACE_PIXELS, SURFACE_MM = 2.0, 10.0
# Voxels from which a standard deviation is computed; more change it little.
ENOUGH = 200_000


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Disagreement of variants and networks, inside the body.

    Args:
        unit: `HU`, or `% of the range` of the model for MR.
        high: 95th percentile.
        share: of the body above the limit.
        by_slice: mean of each slice; NaN without a body.
    """

    unit: str
    mean: float
    high: float
    share: float
    by_slice: Float[np.ndarray, " slices"]


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
    scale: float = 1.0

    @property
    def furthest(self) -> float:
        """Pixels, the larger of rows and columns."""
        return max(abs(self.rows), abs(self.columns))

    @property
    def distance_mm(self) -> float:
        """Length of the displacement in millimetres."""
        return float(np.hypot(self.rows, self.columns)) * self.mm


@dataclass(frozen=True)
class Slices:
    """Irregular slices of the source and of the output, as numbers counted from 0.

    Args:
        source: of the (first) input.
        flat: of the output: slices without contrast in the body.
    """

    source: Sequence
    flat: tuple[int, ...]


def uncertainty_of(translation: Translation, limit: float) -> Uncertainty | None:
    """Uncertainty of a translation, with a limit as a share of the model's range; None for one variant or no body."""
    spread_of, body = translation.uncertainty, translation.body
    if spread_of is None or not body.any():
        return None
    width = translation.about.high - translation.about.low
    unit, scale = ("HU", 1.0) if translation.image.unit == "HU" else ("% of the range", 100 / width)
    inside = spread_of[body] * np.float32(scale)
    slices = zip(spread_of, body, strict=True)
    means = [float(values[here].mean()) * scale if here.any() else np.nan for values, here in slices]
    return Uncertainty(
        unit=unit,
        mean=float(inside.mean()),
        high=float(np.percentile(inside, 95)),
        share=float(np.mean(inside > limit * width * scale)),
        by_slice=np.array(means),
    )


def organs_of(translation: Translation) -> tuple[Organ, ...]:
    """Every organ of S or of the source's labels."""
    image, source, found = translation.image, translation.sources[0], translation.labels
    names = source.label_names if source.labels is not None else {}
    known = translation.about.organs if found is not None else ()
    organs = tuple(dict.fromkeys((*known, *names.values())))
    unit = float(np.prod(image.spacing)) / 1000
    changes: dict[str, OrganChange] = {}
    if source.labels is not None and found is not None:
        both = {number: organ for number, organ in enumerate(known, start=1) if organ in names.values()}
        pixel_mm = frame_of(source, translation.about).pixel_mm[0]
        margin = max(SURFACE_MM, SURFACE_PIXELS * pixel_mm)
        changes = organ_changes(in_classes(source.labels, names, known), found, both, image.spacing, margin)
    return tuple(
        Organ(
            name=organ,
            before=source.label_ml(organ) if organ in names.values() else None,
            after=float(np.count_nonzero(found == known.index(organ) + 1)) * unit
            if found is not None and organ in known
            else None,
            change=changes.get(organ),
        )
        for organ in organs
    )


def jump_of(translation: Translation) -> float:
    """Steps from slice to slice of the output, divided by those of its source.

    Since contrast differs between CT and MR, values are divided by their standard deviation inside the body; the source
    is cut to the model's input range. More than 1: the slices of the output do not fit together. NaN with one slice, or
    a source that does not change.
    """
    body, spacing = translation.body, translation.image.spacing[0]
    under = _step(_as_given(translation), body, spacing)
    over = _step(translation.image.voxels, body, spacing)
    return over / under if under > 0 else float("nan")


def slices_of(translation: Translation) -> Slices:
    """Slices of the source that are copies, misplaced or missing, and slices of the output without contrast."""
    flat = sequence_of(translation.image.voxels, translation.body).flat
    return Slices(sequence_of(_as_given(translation), translation.body), flat)


def body_share(translation: Translation) -> float:
    """Share of body pixels in the slices that show a body; NaN without one."""
    shows = translation.body.any(axis=(1, 2))
    return float(translation.body[shows].mean()) if shows.any() else float("nan")


def _as_given(translation: Translation) -> np.ndarray:
    """The source, cut to the model's input range."""
    source, about = translation.sources[0], translation.about
    every = source.voxels.size // ENOUGH | 1  # odd, so that not all are in one column
    ends = about.window if source.modality == "ct" else np.percentile(source.voxels.ravel()[::every], about.percentiles)
    # In the volume's own type, to save memory.
    low, high = np.clip(ends, source.voxels.min(), source.voxels.max()).astype(source.voxels.dtype)
    return np.clip(source.voxels, low, high)


def _step(values: np.ndarray, body: Bool[np.ndarray, "slices rows columns"], spacing: float) -> float:
    if not body.any():
        return float("nan")
    inside = values[body]
    scale = float(inside[:: max(1, len(inside) // ENOUGH)].astype(np.float64).std())
    return slice_jump(Stack(values, body, spacing)) / scale if scale > 0 else float("nan")
