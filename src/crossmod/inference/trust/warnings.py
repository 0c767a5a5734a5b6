"""The warnings of a translation: a sentence for each exceeded limit, with the value and the limit."""

from collections.abc import Iterator

from crossmod.data.deidentify import SYNTHETIC
from crossmod.data.units import ACCEPTED
from crossmod.inference.trust.checks import Organ, Slices
from crossmod.inference.trust.findings import Limits, Trust
from crossmod.inference.trust.images import COPY, Output
from crossmod.inference.trust.similarity import Likeness, Measure
from crossmod.inference.types import Translation

# Maximum ratio to the slice distance in training.
COARSER = 1.5
# Text for a layout that agrees better with the training when it is turned.
TURNS = {"upright": "front and back are exchanged", "sides": "left and right are exchanged"}
# Slice numbers that are listed; others are counted.
LISTED = 5


def warnings_of(found: Trust, translation: Translation) -> Iterator[tuple[str, str]]:
    """The check, as in `Trust.checks`, and a sentence for each exceeded limit."""
    different = translation.about.source != translation.about.target
    sentences = {
        "body": _body(found, translation),
        "input against training": _input(found, translation),
        "order of slices": () if found.slices is None else _order(found.slices),
        "output against real images": () if found.output is None else _real(found.output, found.limits),
        "output against usual output": () if found.output is None else _own(found.output, found.limits),
        "structure": () if found.output is None or not translation.body.any() else _structure(found.output, different),
        "place": _place(found),
        "organs": (line for organ in found.organs for line in _organ(organ, found.limits)),
        "steps from slice to slice": _steps(found),
        "CT window": _window(found, translation),
        "uncertainty": _uncertainty(found, translation),
    }
    for check, lines in sentences.items():
        for line in lines:
            yield check, line


def _body(found: Trust, translation: Translation) -> Iterator[str]:
    if not translation.body.any():
        yield "No body was found in the input: nothing was translated."
    elif found.body_share > found.limits.body_share:
        yield (
            f"{found.body_share:.0%} of the slices are taken for body (limit {found.limits.body_share:.0%}): the field "
            "of view lies inside the body, or the body was not found. Shares of the body are then too small."
        )


def _input(found: Trust, translation: Translation) -> Iterator[str]:
    about, source = translation.about, translation.sources[0]
    if any(SYNTHETIC in source.notes for source in translation.sources):
        yield "The input is itself synthetic: its errors are carried over."
    for note in translation.image.notes:
        if note.startswith(ACCEPTED):
            yield f"The values of the input cannot be trusted: {note}."
    if about.ct_unit != "HU":
        yield f"The model was trained on CT in an {about.ct_unit} unit: its CT window is not in HU."
    if about.stack_mm is not None and len(source.voxels) == 1:
        yield f"The model sees {about.stack} slices at once, but the input has only one: it was repeated."
    elif about.stack_mm is not None and source.spacing[0] > COARSER * about.stack_mm:
        yield (
            f"The model was trained on slices {about.stack_mm:.1f} mm apart, and the input's lie "
            f"{source.spacing[0]:.1f} mm apart: its neighbouring slices are not what the model expects."
        )
    for like in found.likenesses:
        if like.score is not None and like.score > found.limits.unlike:
            yield (
                f"The input ({like.name}) does not look like the training images: "
                f"{_measured(like, found.limits.unlike)}."
            )


def _measured(like: Likeness, limit: float) -> str:
    """The quantities outside their limits, the furthest first."""
    outside = sorted((m for m in like.measures if m.score > limit), key=lambda measure: -measure.score)
    return "; ".join(map(_value, outside))


def _value(measure: Measure) -> str:
    unit = f" {measure.unit}" if measure.unit else ""
    if measure.key in TURNS:
        return f"{TURNS[measure.key]} (correlation of the layout {measure.value:.2f}, limit {measure.low:.2f})"
    if measure.key == "histogram":
        return f"grey values differ by {measure.value:.3g}{unit} on average (limit {measure.high:.3g})"
    if measure.low is None:
        return f"{measure.name} {measure.value:.2g} from the training mean (limit {measure.high:.2g})"
    return f"{measure.name} {measure.value:.3g}{unit} (limits {measure.low:.3g} to {measure.high:.3g})"


def _order(slices: Slices) -> Iterator[str]:
    source = slices.source
    if source.copies:
        yield f"Input slices are copies of the slice before: {_listed(source.copies)}."
    if source.misplaced:
        yield (
            f"Input slices do not fit between their neighbours: {_listed(source.misplaced)}. The slices may be in a "
            "wrong order."
        )
    if source.missing:
        yield f"Input slices show no body between slices that do: {_listed(source.missing)}."
    if source.flat:
        yield f"Input slices have no contrast inside the body: {_listed(source.flat)}."
    flat = tuple(place for place in slices.flat if place not in source.flat)
    if flat:
        yield f"Output slices have no contrast inside the body: {_listed(flat)}."


def _listed(places: tuple[int, ...]) -> str:
    shown = ", ".join(str(place + 1) for place in places[:LISTED])
    more = len(places) - LISTED
    return f"slice{'s' if len(places) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")


def _real(output: Output, limits: Limits) -> Iterator[str]:
    like = output.real
    if like is not None and like.score is not None and like.score > limits.unlike:
        yield f"The output does not look like {like.name}: {_measured(like, limits.unlike)}."
    for organ in output.organs:
        if organ.outside:
            yield (
                f"The {_named(organ.name)} has {organ.value:.3g} {organ.unit} in the output; expected {organ.low:.3g} "
                f"to {organ.high:.3g}, from real images."
            )


def _own(output: Output, limits: Limits) -> Iterator[str]:
    like = output.own
    if like is not None and like.score is not None and like.score > limits.unlike:
        yield f"The output does not look like the {like.name}: {_measured(like, limits.unlike)}."


def _structure(output: Output, different: bool) -> Iterator[str]:
    if output.copy >= COPY and different:
        yield f"The output is a copy of the input: their values correlate by {output.copy:.2f} (limit {COPY:g})."
    structure = output.kept.structure if output.kept is not None else float("nan")
    if structure < output.least_structure:
        yield (
            f"The structure of the input is lost: edges inside the body correlate by {structure:.2f} with the output's "
            f"(limit {output.least_structure:.2f})."
        )


def _place(found: Trust) -> Iterator[str]:
    shift, limits = found.shift, found.limits
    if shift is None:
        return
    beyond_px = limits.shift_px is not None and shift.furthest > limits.shift_px
    if shift.distance_mm > limits.shift_mm or beyond_px:
        yield (
            f"Output is shifted by {shift.distance_mm:.1f} mm from the input ({shift.rows:+.1f} rows, "
            f"{shift.columns:+.1f} columns of the network; limit {limits.shift_mm:g} mm): labels may not match the "
            "image."
        )
    if abs(shift.scale - 1) > limits.scale:
        size = "larger" if shift.scale > 1 else "smaller"
        yield (
            f"Output is {abs(shift.scale - 1):.1%} {size} than the input (limit {limits.scale:.0%}): distances and "
            "labels may not match the image."
        )


def _named(organ: str) -> str:
    return organ.replace("_", " ")


def _organ(organ: Organ, limits: Limits) -> Iterator[str]:
    """At most one sentence: the most severe."""
    change, name = organ.change, _named(organ.name)
    if change is None or change.fate == "absent":
        return
    sizes = f"{change.size_before:.0f} ml before, {change.size_after:.0f} ml after"
    pieces = change.pieces
    largest = max(limits.piece_ml, limits.piece_share * change.size_before)
    if change.fate in ("vanished", "appeared"):
        yield f"The {name} {'has vanished' if change.fate == 'vanished' else 'was invented'}: {sizes}."
    elif change.dice < limits.dice:
        dice = f"Dice {change.dice:.2f} before and after, limit {limits.dice:g}"
        yield f"The {name} is not where it was: {dice}; {sizes}."
    elif pieces is not None and pieces.invented > largest:
        apart = f", {pieces.apart_mm:.0f} mm away from the rest" if pieces.second > largest else ""
        yield f"A piece of {name} was invented: {pieces.invented:.0f} ml{apart} (limit {largest:.0f} ml); {sizes}."
    elif pieces is not None and pieces.lost > largest:
        yield f"A piece of the {name} was lost: {pieces.lost:.0f} ml (limit {largest:.0f} ml); {sizes}."
    elif pieces is not None and pieces.holes > largest:
        yield f"The {name} has holes of {pieces.holes:.0f} ml that it did not have (limit {largest:.0f} ml)."
    elif abs(change.growth - 1) > limits.organ_change:
        yield (
            f"The {name} has changed its size by {change.growth - 1:+.0%} (limit {limits.organ_change:.0%}): {sizes}."
        )


def _steps(found: Trust) -> Iterator[str]:
    if found.jump > found.limits.jump:
        yield (
            f"Slices do not fit together: from one to the next the output changes {found.jump:.2f} times as much as "
            f"the input (limit {found.limits.jump:g})."
        )


def _window(found: Trust, translation: Translation) -> Iterator[str]:
    if found.clipped > found.limits.clipped:
        (low, high), unit = translation.about.window, translation.about.ct_words
        yield (
            f"{found.clipped:.0%} of the body lies at or beyond {low:g} to {high:g} {unit}, the range of the model "
            f"(limit {found.limits.clipped:.0%})."
        )


def _uncertainty(found: Trust, translation: Translation) -> Iterator[str]:
    spread, limits, about = found.uncertainty, found.limits, translation.about
    if spread is not None and spread.share > limits.uncertain_share:
        width = limits.uncertain * (about.high - about.low) if spread.unit == "HU" else 100 * limits.uncertain
        yield (
            f"In {spread.share:.0%} of the body variants differ by more than {width:.3g} {spread.unit} (limit "
            f"{limits.uncertain_share:.0%})."
        )
