"""How far a translation can be trusted: every measurement, and what could not be checked.

Notable: no check knows the truth. A translation within all limits may still be wrong: see `docs/concepts/trust.md`.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from crossmod.data.slices import in_classes
from crossmod.inference.tiling import frame_of
from crossmod.inference.trust.checks import outcomes
from crossmod.inference.trust.findings import Limits as Limits
from crossmod.inference.trust.findings import Organ, Shift, Slices, Trust, Uncertainty
from crossmod.inference.trust.images import Output, input_likenesses, output_of, shows_organs
from crossmod.inference.types import Translation
from crossmod.metrics.appearance import sequence_of
from crossmod.metrics.fingerprint import Fingerprint
from crossmod.metrics.organs import OrganChange, Stack, organ_changes, slice_jump
from crossmod.statistics.intervals import LEAST_VALUES

# With fewer patients the limits lie far out.
FEW = 10
# Allowed movement of an organ's surface: pixels of the network, or mm, whichever is more.
SURFACE_PIXELS, SURFACE_MM = 2.0, 10.0
# Voxels from which a standard deviation is computed; more change it little.
ENOUGH = 200_000


def assess_trust(translation: Translation, reference: Fingerprint | None = None, limits: Limits | None = None) -> Trust:
    """Check a translation against its source and its model's training.

    Args:
        translation: with variants or several networks; otherwise its uncertainty is unknown.
        reference: of the model's training, from `fingerprint_of`; None if unknown.
    """
    limits = limits or Limits()
    output, body = output_of(translation, reference), translation.body
    shows = body.any(axis=(1, 2))
    source = _source_in_range(translation)
    measured = Trust(
        uncertainty=_uncertainty(translation, limits.uncertain),
        organs=_organs(translation),
        jump=_jump(translation, source),
        shift=_shift(output),
        clipped=translation.clipped,
        likenesses=() if reference is None else input_likenesses(translation, reference),
        warnings=(),
        unknown=(),
        limits=limits,
        output=output,
        slices=Slices(sequence_of(source, body), sequence_of(translation.image.voxels, body).flat)
        if shows.any()
        else None,
        body_share=float(body[shows].mean()) if shows.any() else math.nan,
    )
    checks, _, warnings = outcomes(measured, translation)
    return replace(
        measured, checks=checks, warnings=warnings, unknown=tuple(_unknown(measured, translation, reference))
    )


def _uncertainty(translation: Translation, limit: float) -> Uncertainty | None:
    """With a limit as a share of the model's range; None for one variant or no body."""
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


def _organs(translation: Translation) -> tuple[Organ, ...]:
    """Every organ of S or of the source's labels."""
    image, source, labels = translation.image, translation.sources[0], translation.labels
    names = source.label_names if source.labels is not None else {}
    known = translation.about.organs if labels is not None else ()
    unit = float(np.prod(image.spacing)) / 1000
    after = {organ: float(np.count_nonzero(labels == at)) * unit for at, organ in enumerate(known, start=1)}
    changes: dict[str, OrganChange] = {}
    if source.labels is not None and labels is not None:
        both = {number: organ for number, organ in enumerate(known, start=1) if organ in names.values()}
        margin = max(SURFACE_MM, SURFACE_PIXELS * frame_of(source, translation.about).pixel_mm[0])
        changes = organ_changes(in_classes(source.labels, names, known), labels, both, image.spacing, margin)
    return tuple(
        Organ(organ, source.label_ml(organ) if organ in names.values() else None, after.get(organ), changes.get(organ))
        for organ in dict.fromkeys((*known, *names.values()))
    )


def _shift(output: Output) -> Shift | None:
    kept = output.kept
    if kept is None or not kept.placed:
        return None
    return Shift(kept.rows, kept.columns, output.pixel_mm, kept.agreement, kept.scale)


def _jump(translation: Translation, source: np.ndarray) -> float:
    """Steps from slice to slice of the output, divided by those of its source.

    Since contrast differs between CT and MR, values are divided by their standard deviation inside the body; the source
    is cut to the model's input range. More than 1: the slices of the output do not fit together. NaN with one slice, or
    a source that does not change.
    """
    body, spacing = translation.body, translation.image.spacing[0]
    under, over = (_step(values, body, spacing) for values in (source, translation.image.voxels))
    return over / under if under > 0 else math.nan


def _source_in_range(translation: Translation) -> np.ndarray:
    """The source, cut to the model's input range."""
    source, about = translation.sources[0], translation.about
    every = source.voxels.size // ENOUGH | 1  # odd, so that not all are in one column
    ends = about.window if source.modality == "ct" else np.percentile(source.voxels.ravel()[::every], about.percentiles)
    # In the volume's own type, to save memory.
    low, high = np.clip(ends, source.voxels.min(), source.voxels.max()).astype(source.voxels.dtype)
    return np.clip(source.voxels, low, high)


def _step(values: np.ndarray, body: Bool[np.ndarray, "slices rows columns"], spacing: float) -> float:
    if not body.any():
        return math.nan
    inside = values[body]
    scale = float(inside[:: max(1, len(inside) // ENOUGH)].astype(np.float64).std())
    return slice_jump(Stack(values, body, spacing)) / scale if scale > 0 else math.nan


def _unknown(trust: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    """A sentence for each check that could not be made, or is not conclusive."""
    yield from _about_training(trust, translation, reference)
    if translation.uncertainty is None:
        yield "Uncertainty was not assessed: there was one variant of one model."
    if translation.labels is None:
        yield "Organs were not assessed: the model has no segmentor."
    elif not any(organ.before is not None for organ in trust.organs):
        yield "Changes of organs were not assessed: the source has no labels."
    for organ in trust.organs:
        if organ.before is None and organ.after == 0:
            yield f"S finds no {organ.title}: it was not scanned, or is lost."
    if math.isnan(trust.jump):
        yield "Steps from slice to slice were not assessed: there are no neighbours, or all slices are equal."
    if trust.shift is None:
        yield "A shift was not assessed: input and output share too little structure, or slices disagree."


def _about_training(trust: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    if reference is None or reference.target is None:
        older = "its card holds no description of its training images, or one of an earlier version"
        yield f"Input and output were not compared with the training: {older}. Train or export the model again."
        return
    fewest = min(len(look.histogram_distances) for look in (*reference.inputs, reference.target))
    slices, needed = int(translation.body.any(axis=(1, 2)).sum()), max(1, reference.slices_each // 2)
    if fewest < LEAST_VALUES:
        yield (
            f"Input and output were not compared with the training: it has {fewest} patients on one side, and limits "
            f"need {LEAST_VALUES}."
        )
    elif slices < needed:
        yield (
            f"Input and output were not compared with the training: {slices} slices show a body, and at least "
            f"{reference.slices_each // 2} are needed."
        )
    elif len(trust.likenesses) < len(translation.sources):
        yield "The input was not compared with the training: it is not of the kind that the model was trained on."
    elif fewest < FEW:
        yield (
            f"The model was trained on {fewest} patients on one side: limits from so few are wide, and smaller "
            "deviations are not found."
        )
    if trust.output.real is not None and trust.output.own is None:
        yield (
            "The output was not compared with the usual output of the model: variants or several models were averaged, "
            "or other weights were used than described."
        )
    if trust.likenesses and reference.slices == "organ" and not shows_organs(translation, reference.organs):
        yield (
            "The model was trained on slices that show an organ. Which slices of the input do is not known, so the "
            "part that looks most like the training was compared."
        )
