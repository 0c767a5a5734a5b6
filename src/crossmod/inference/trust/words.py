"""What is said of a translation: a sentence for each exceeded limit, and one for each thing that is not known."""

import math
from collections.abc import Iterator

from crossmod.data.identity import SYNTHETIC
from crossmod.data.units import ACCEPTED
from crossmod.inference.contract import Translation
from crossmod.inference.trust.checks import Organ
from crossmod.inference.trust.fingerprint import FEW, Fingerprint, Likeness, shows_organs
from crossmod.inference.trust.found import Limits, Trust

# So many times as far apart as a model learnt its slices is said.
COARSER = 1.5


def warnings_of(found: Trust, translation: Translation) -> Iterator[str]:
    """A sentence for each limit that is exceeded."""
    limits, about = found.limits, translation.about
    if not translation.body.any():
        yield "No body was found in the input: nothing was made."
    if any(SYNTHETIC in source.notes for source in translation.sources):
        yield "The input is synthetic itself: its errors are handed on."
    yield from _units(translation)
    yield from _stack(translation)
    one = found.uncertainty
    if one is not None and one.share > limits.uncertain_share:
        width = limits.uncertain * (about.high - about.low) if one.unit == "HU" else 100 * limits.uncertain
        yield (
            f"In {one.share:.0%} of the body variants differ by more than {width:.3g} {one.unit}; at most "
            f"{limits.uncertain_share:.0%} may."
        )
    for organ in found.organs:
        yield from _organ(organ, limits)
    if found.jump > limits.jump:
        yield (
            f"Slices do not fit together: from one to the next it changes {found.jump:.2f} times as much as its "
            f"source; at most {limits.jump:g} times."
        )
    shift = found.shift
    if shift is not None and shift.furthest > limits.shift_px:
        yield (
            f"It lies {shift.furthest * shift.mm:.1f} mm beside its source ({shift.rows:+g} rows, {shift.columns:+g} "
            f"columns of the network): organs and labels do not belong together."
        )
    if found.clipped > limits.clipped:
        low, high = about.window
        yield (
            f"{found.clipped:.0%} of the body lies at or beyond {low:g} to {high:g} HU, where the model knows no more; "
            f"at most {limits.clipped:.0%} may."
        )
    for like in found.likenesses:
        if like.score is not None and like.score > limits.unlike:
            yield _unlike(like)


def _units(translation: Translation) -> Iterator[str]:
    for note in translation.image.notes:
        if note.startswith(ACCEPTED):
            yield f"The values of the input cannot be trusted: {note}."
    if translation.about.ct_unit != "HU":
        yield f"The model was trained on CT in an {translation.about.ct_unit} unit: its CT window is not in HU."


def _stack(translation: Translation) -> Iterator[str]:
    about, source = translation.about, translation.sources[0]
    if about.stack_mm is None:
        return
    if len(source.voxels) == 1:
        yield f"The model sees {about.stack} slices at once, and here is but one: it stood for all."
    elif source.spacing[0] > COARSER * about.stack_mm:
        yield (
            f"The model learnt slices {about.stack_mm:.1f} mm apart, and these are {source.spacing[0]:.1f}: what lies "
            "above and below is not what it expects."
        )


def _organ(organ: Organ, limits: Limits) -> Iterator[str]:
    """At most one sentence: the gravest."""
    change = organ.change
    if change is None or change.fate == "absent":
        return
    sizes = f"{change.size_before:.0f} ml before, {change.size_after:.0f} ml after"
    if change.fate in ("vanished", "appeared"):
        lost = "has vanished" if change.fate == "vanished" else "was made up"
        yield f"The {organ.name} {lost}: {sizes}."
    elif change.dice < limits.dice:
        dice = f"Dice {change.dice:.2f} before and after, at least {limits.dice:g}"
        yield f"The {organ.name} is not where it was: {dice}; {sizes}."
    elif abs(change.growth - 1) > limits.organ_change:
        yield f"The {organ.name} has another size: {sizes}, {change.growth - 1:+.0%}."


def _unlike(like: Likeness) -> str:
    sides = ((like.grey, "grey values are"), (like.features, "texture is"))
    grave, what = max((value, name) for value, name in sides if value is not None)
    return (
        f"The input ({like.name}) does not look like what the model was trained on: {what} {grave:.1f} times as far "
        "from the training patients as 95 % of these are from one another."
    )


def unknown_of(found: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    """A sentence for each check that could not be made, or says little."""
    if translation.uncertainty is None:
        yield "Uncertainty is not known: there was one variant of one model."
    if translation.labels is None:
        yield "Whether organs were kept is not known: the model has no segmentor."
    elif not any(organ.before is not None for organ in found.organs):
        yield "Whether organs were kept is not known: the source has no labels."
    for organ in found.organs:
        if organ.before is None and organ.after == 0:
            yield f"S finds no {organ.name}: it was not scanned, or is lost."
    if math.isnan(found.jump):
        yield "Steps from slice to slice are not known: there are no neighbours, or they are all alike."
    if found.shift is None:
        yield "Whether it lies where its source lies is not known: slices do not agree."
    yield from _unknown_likeness(found, translation, reference)


def _unknown_likeness(found: Trust, translation: Translation, reference: Fingerprint | None) -> Iterator[str]:
    if reference is None:
        yield "Whether the input looks like the training's is not known: this model does not tell what that was like."
    elif not found.likenesses or any(one.score is None for one in found.likenesses):
        yield "Whether the input looks like the training's is not known: there is nothing to compare with."
    elif reference.patients < FEW:
        yield (
            f"The model was trained on {reference.patients} patients: too few to tell what is usual, so that a warning "
            "of an unlike input may be a false one."
        )
    if (
        found.likenesses
        and reference is not None
        and reference.slices == "organ"
        and not shows_organs(translation, reference.organs)
    ):
        yield "The model was trained on slices of an organ; which these are here is not known, so all are compared."
