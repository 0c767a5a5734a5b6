"""How far a translation can be trusted: every check, and what could not be checked.

Notable: no check knows the truth. A translation within all limits may still be wrong: see `docs/concepts/trust.md`.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from crossmod.inference.trust.checks import Shift, body_share, jump_of, organs_of, slices_of, uncertainty_of
from crossmod.inference.trust.findings import Check, Trust
from crossmod.inference.trust.findings import Limits as Limits
from crossmod.inference.trust.images import Output, input_likenesses, output_of, shows_organs
from crossmod.inference.trust.warnings import warnings_of
from crossmod.inference.types import Translation
from crossmod.metrics.fingerprint import Fingerprint
from crossmod.statistics.intervals import LEAST_VALUES

# With fewer patients the limits lie far out.
FEW = 10


def unknown_of(found: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    """A sentence for each check that could not be made, or is not conclusive."""
    yield from _about_training(found, translation, reference)
    if translation.uncertainty is None:
        yield "Uncertainty was not assessed: there was one variant of one model."
    if translation.labels is None:
        yield "Organs were not assessed: the model has no segmentor."
    elif not any(organ.before is not None for organ in found.organs):
        yield "Changes of organs were not assessed: the source has no labels."
    for organ in found.organs:
        if organ.before is None and organ.after == 0:
            yield f"S finds no {organ.name.replace('_', ' ')}: it was not scanned, or is lost."
    if math.isnan(found.jump):
        yield "Steps from slice to slice were not assessed: there are no neighbours, or all slices are equal."
    if found.shift is None:
        yield "A shift was not assessed: input and output share too little structure, or slices disagree."


def _about_training(found: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    if reference is None or reference.target is None:
        older = "its card holds no description of its training images, or one of an earlier version"
        yield f"Input and output were not compared with the training: {older}. Train or export the model again."
        return
    fewest = min(len(look.histogram_distances) for look in (*reference.inputs, reference.target))
    slices = int(translation.body.any(axis=(1, 2)).sum())
    if fewest < LEAST_VALUES:
        yield (
            f"Input and output were not compared with the training: it has {fewest} patients on one side, and limits "
            f"need {LEAST_VALUES}."
        )
    elif slices < max(1, reference.slices_each // 2):
        yield (
            f"Input and output were not compared with the training: {slices} slices show a body, and at least "
            f"{reference.slices_each // 2} are needed."
        )
    elif len(found.likenesses) < len(translation.sources):
        yield "The input was not compared with the training: it is not of the kind that the model was trained on."
    elif fewest < FEW:
        yield (
            f"The model was trained on {fewest} patients on one side: limits from so few are wide, and smaller "
            "deviations are not found."
        )
    if found.output is not None and found.output.real is not None and found.output.own is None:
        yield (
            "The output was not compared with the usual output of the model: variants or several models were averaged, "
            "or other weights were used than described."
        )
    if found.likenesses and reference.slices == "organ" and not shows_organs(translation, reference.organs):
        yield (
            "The model was trained on slices that show an organ. Which slices of the input do is not known, so the "
            "part that looks most like the training was compared."
        )


def assess_trust(translation: Translation, reference: Fingerprint | None = None, limits: Limits | None = None) -> Trust:
    """Check a translation against its source and its model's training.

    Args:
        translation: with variants or several networks; otherwise its uncertainty is unknown.
        reference: of the model's training, from `fingerprint_of`; None if unknown.
    """
    limits = limits or Limits()
    output = output_of(translation, reference)
    found = Trust(
        uncertainty=uncertainty_of(translation, limits.uncertain),
        organs=organs_of(translation),
        jump=jump_of(translation),
        shift=_shift(output),
        clipped=translation.clipped,
        likenesses=() if reference is None else input_likenesses(translation, reference),
        warnings=(),
        unknown=(),
        limits=limits,
        output=output,
        slices=slices_of(translation) if translation.body.any() else None,
        body_share=body_share(translation),
    )
    warned = list(warnings_of(found, translation))
    return replace(
        found,
        warnings=tuple(sentence for _, sentence in warned),
        unknown=tuple(unknown_of(found, translation, reference)),
        checks=tuple(_checks(found, warned, translation)),
    )


def _shift(output: Output) -> Shift | None:
    kept = output.kept
    if kept is None or not kept.placed:
        return None
    return Shift(kept.rows, kept.columns, output.pixel_mm, kept.agreement, kept.scale)


def _checks(found: Trust, warned: list[tuple[str, str]], translation: Translation) -> Iterator[Check]:
    output, body = found.output, bool(translation.body.any())
    inputs = len(translation.sources)
    assessed = {
        "input against training": len(found.likenesses) == inputs,
        "order of slices": body and len(translation.body) >= 3,
        "body": body,
        "output against real images": output is not None and output.real is not None,
        "output against usual output": output is not None and output.own is not None,
        "structure": output is not None and output.kept is not None,
        "place": found.shift is not None,
        "organs": any(organ.change is not None for organ in found.organs),
        "steps from slice to slice": not math.isnan(found.jump),
        "CT window": "ct" in (translation.about.source, translation.about.target) and body,
        "uncertainty": found.uncertainty is not None,
    }
    exceeded = {check for check, _ in warned}
    for name, could in assessed.items():
        yield Check(name, "warning" if name in exceeded else "within limits" if could else "not assessed")
