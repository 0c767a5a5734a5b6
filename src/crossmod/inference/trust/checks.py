"""What can be measured of one translation without its truth: spread, organs, steps from slice to slice, place."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion, gaussian_filter

from crossmod.data.slices import in_classes, spread
from crossmod.evaluate.alignment import shift_between
from crossmod.evaluate.anatomy import OrganChange, Stack, organ_changes, slice_jump
from crossmod.inference.contract import Translation
from crossmod.inference.grid import frame_of
from crossmod.inference.trust.fingerprint import model_slices

# Slices that are laid over their source; a network shifts all alike.
LAID_OVER = 16
# Of those, so many must agree to a pixel, or it is chance.
AGREE = 0.5
# Pixels of the network: what is coarser is taken away before edges are compared, and what lies at the body's rim.
COARSE, RIM = 3.0, 4
# Voxels whose spread of values is taken; more change it little.
ENOUGH = 200_000


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Disagreement of variants and networks, inside the body.

    Args:
        unit: `HU`, or `% of the range` of the model where MR is made.
        mean: over the body.
        high: 95th percentile.
        share: of the body, where it is above the limit.
        by_slice: mean of each slice; nan where there is no body.
    """

    unit: str
    mean: float
    high: float
    share: float
    by_slice: Float[np.ndarray, " slices"]


@dataclass(frozen=True)
class Organ:
    """An organ in the source and in what was made.

    Args:
        name: of the organ.
        before: ml by the source's labels; None where they do not know it.
        after: ml by what S found; None without S, or where S does not know it.
        change: overlap, place and fate, where both are known.
    """

    name: str
    before: float | None
    after: float | None
    change: OrganChange | None


@dataclass(frozen=True)
class Shift:
    """How far what was made lies from its source.

    Args:
        rows: pixels of the network, towards the back; the median over slices.
        columns: towards the patient's left.
        mm: length of a pixel.
        agreement: share of the slices that say so, to a pixel.
    """

    rows: float
    columns: float
    mm: float
    agreement: float

    @property
    def furthest(self) -> float:
        """Pixels, the larger of both."""
        return max(abs(self.rows), abs(self.columns))


def uncertainty_of(translation: Translation, limit: float) -> Uncertainty | None:
    """Of a translation; None where there was but one variant, or nothing is body.

    Args:
        translation: what was made.
        limit: share of the model's range.
    """
    spread_of, body = translation.uncertainty, translation.body
    if spread_of is None or not body.any():
        return None
    width = translation.about.high - translation.about.low
    unit, scale = ("HU", 1.0) if translation.image.modality == "ct" else ("% of the range", 100 / width)
    inside = spread_of[body] * np.float32(scale)
    means = [
        float(one[here].mean()) * scale if here.any() else np.nan for one, here in zip(spread_of, body, strict=True)
    ]
    return Uncertainty(
        unit=unit,
        mean=float(inside.mean()),
        high=float(np.percentile(inside, 95)),
        share=float(np.mean(inside > limit * width * scale)),
        by_slice=np.array(means),
    )


def organs_of(translation: Translation) -> tuple[Organ, ...]:
    """Every organ that S or the source's labels know."""
    image, source, found = translation.image, translation.sources[0], translation.labels
    names = source.label_names if source.labels is not None else {}
    known = translation.about.organs if found is not None else ()
    organs = tuple(dict.fromkeys((*known, *names.values())))
    unit = float(np.prod(image.spacing)) / 1000
    changes: dict[str, OrganChange] = {}
    if source.labels is not None and found is not None:
        both = {number: organ for number, organ in enumerate(known, start=1) if organ in names.values()}
        changes = organ_changes(in_classes(source.labels, names, known), found, both, image.spacing)
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
    """Steps from slice to slice of what was made, by those of its source; each in spreads of its own values.

    Contrast differs between CT and MR, so that values are divided by their standard deviation inside the body, those of
    the source cut to what the model was given. 1: what was made changes from slice to slice as its source does. More:
    its slices do not fit together. nan with one slice, or a source that does not change.
    """
    source = translation.sources[0]
    about, body, spacing = translation.about, translation.body, translation.image.spacing[0]
    every = source.voxels.size // ENOUGH | 1  # odd, so that not all lie in one column
    ends = about.window if source.modality == "ct" else np.percentile(source.voxels.ravel()[::every], about.percentiles)
    # In the volume's own type: a copy in float64 would take four times its memory.
    low, high = np.clip(ends, source.voxels.min(), source.voxels.max()).astype(source.voxels.dtype)
    under = _step(np.clip(source.voxels, low, high), body, spacing)
    over = _step(translation.image.voxels, body, spacing)
    return over / under if under > 0 else float("nan")


def _step(values: np.ndarray, body: Bool[np.ndarray, "slices rows columns"], spacing: float) -> float:
    if not body.any():
        return float("nan")
    inside = values[body]
    scale = float(inside[:: max(1, len(inside) // ENOUGH)].astype(np.float64).std())
    return slice_jump(Stack(values, body, spacing)) / scale if scale > 0 else float("nan")


def shift_of(translation: Translation) -> Shift | None:
    """Whether what was made lies where its source lies; None where slices do not agree.

    The body's outline is the source's own, whatever the network does: nothing is made outside of it. So structures
    inside are laid over each other.
    """
    about, image = translation.about, translation.image
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    chosen = [int(seen[i]) for i in spread(len(seen), LAID_OVER)]
    if not chosen:
        return None
    source = translation.sources[0]
    frame = frame_of(source, about)
    made = frame.take(image.voxels[chosen], image.spacing[1:], about.low)
    bodies = frame.take(translation.body[chosen].astype(np.uint8), image.spacing[1:], 0.0) > 0.5
    sides = zip(model_slices(source, about, chosen, frame), made, bodies, strict=True)
    ways = [shift_between(_inner(a, body), _inner(b, body)) for a, b, body in sides if body.any()]
    if not ways:
        return None
    rows, columns = (float(one) for one in np.median(ways, axis=0))
    agreement = float(np.mean(np.abs(np.array(ways) - (rows, columns)).max(axis=1) <= 1))
    return Shift(rows, columns, frame.pixel_mm[0], agreement) if agreement >= AGREE else None


def _inner(
    image: Float[np.ndarray, "size size"], body: Bool[np.ndarray, "size size"]
) -> Float[np.ndarray, "size size"]:
    """Fine structure inside the body: brightness that varies slowly, and the rim, are taken away."""
    weights = body.astype(np.float64)
    slow = gaussian_filter(image * weights, COARSE) / np.maximum(gaussian_filter(weights, COARSE), 1e-6)
    core = gaussian_filter(binary_erosion(body, iterations=RIM).astype(np.float64), RIM / 2)
    return (image - slow) * core * body
