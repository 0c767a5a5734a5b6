"""What the report of a translation does not know: a sentence for each check that could not be made, or says little."""

import math
from collections.abc import Iterator

from crossmod.inference.contract import Translation
from crossmod.inference.trust.fingerprint import Fingerprint
from crossmod.inference.trust.found import Trust
from crossmod.inference.trust.views import shows_organs
from crossmod.statistics.intervals import LEAST_VALUES

# With fewer patients the limits lie far out.
FEW = 10


def unknown_of(found: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    """A sentence for each check that could not be made, or says little."""
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
        yield "Steps from slice to slice were not assessed: there are no neighbours, or they are all alike."
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
