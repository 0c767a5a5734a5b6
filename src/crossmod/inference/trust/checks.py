"""Every check of a translation: whether it could be made, its lines in the report, and its warnings."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from crossmod.data.deidentify import SYNTHETIC
from crossmod.data.units import ACCEPTED
from crossmod.inference.trust.findings import Check, Organ, Trust
from crossmod.inference.trust.images import COPY
from crossmod.inference.trust.similarity import Likeness, Measure
from crossmod.inference.types import Translation

# Maximum ratio to the slice distance in training.
COARSER = 1.5
# Text for a layout that agrees better with the training when it is turned.
TURNS = {"upright": "front and back are exchanged", "sides": "left and right are exchanged"}
# Slice numbers that are listed; others are counted.
LISTED = 5


class Row(NamedTuple):
    """A line of the report."""

    measured: str
    value: str
    limit: str


# Rows of the report, and warnings as text.
Lines = Iterator[Row | str]


def _body(trust: Trust, translation: Translation) -> Lines:
    share, limit = trust.body_share, trust.limits.body_share
    yield Row("Share of the slices that is body", _known(share, ".0%", "no body"), f"at most {limit:.0%}")
    if not translation.body.any():
        yield "No body was found in the input: nothing was translated."
    elif share > limit:
        yield (
            f"{share:.0%} of the slices are taken for body (limit {limit:.0%}): the field of view lies inside the "
            "body, or the body was not found. Shares of the body are then too small."
        )


def _known(value: float, form: str, otherwise: str = "not assessed") -> str:
    return otherwise if value != value else f"{value:{form}}"


def _input(trust: Trust, translation: Translation) -> Lines:
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
    for like in trust.likenesses:
        subject = f"The input ({like.name}) does not look like the training images"
        yield from _likeness(f"Input {like.name}", like, subject, trust.limits.unlike)


def _likeness(title: str, like: Likeness | None, warning: str, limit: float) -> Lines:
    """The quantities of a comparison; those outside their limits, the furthest first."""
    if like is None:
        return
    for m in like.measures:
        low, what = ("at most ", "difference of ") if m.low is None else (f"{m.low:.3g} to ", "")
        yield Row(f"{title}: {what}{m.name}", f"{m.value:.3g}{_unit(m)}", f"{low}{m.high:.3g}{_unit(m)}")
    outside = sorted((measure for measure in like.measures if measure.score > limit), key=lambda m: -m.score)
    if outside:
        yield f"{warning}: {'; '.join(map(_value, outside))}."


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""


def _value(measure: Measure) -> str:
    if measure.key in TURNS:
        return f"{TURNS[measure.key]} (correlation of the layout {measure.value:.2f}, limit {measure.low:.2f})"
    if measure.key == "histogram":
        return f"grey values differ by {measure.value:.3g}{_unit(measure)} on average (limit {measure.high:.3g})"
    if measure.low is None:
        return f"{measure.name} {measure.value:.2g} from the training mean (limit {measure.high:.2g})"
    return f"{measure.name} {measure.value:.3g}{_unit(measure)} (limits {measure.low:.3g} to {measure.high:.3g})"


def _order(trust: Trust, translation: Translation) -> Lines:
    if trust.slices is None:
        return
    source = trust.slices.source
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
    if flat := tuple(place for place in trust.slices.flat if place not in source.flat):
        yield f"Output slices have no contrast inside the body: {_listed(flat)}."


def _listed(places: tuple[int, ...]) -> str:
    shown = ", ".join(str(place + 1) for place in places[:LISTED])
    more = len(places) - LISTED
    return f"slice{'s' if len(places) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")


def _real(trust: Trust, translation: Translation) -> Lines:
    real = trust.output.real
    name = real.name if real else ""
    yield from _likeness(
        f"Output compared with {name}", real, f"The output does not look like {name}", trust.limits.unlike
    )
    for organ in trust.output.organs:
        value, limit = f"{organ.value:.3g} {organ.unit}", f"{organ.low:.3g} to {organ.high:.3g}"
        yield Row(f"{organ.title} in the output", value, limit)
        if not organ.low <= organ.value <= organ.high:
            yield f"The {organ.title} has {value} in the output; expected {limit}, from real images."


def _own(trust: Trust, translation: Translation) -> Lines:
    own = trust.output.own
    name = own.name if own else ""
    yield from _likeness(
        f"Output compared with {name}", own, f"The output does not look like the {name}", trust.limits.unlike
    )


def _structure(trust: Trust, translation: Translation) -> Lines:
    output, about = trust.output, translation.about
    least, structure = output.least_structure, output.kept.structure if output.kept else float("nan")
    yield Row("Structure kept: correlation of edges", _known(structure, ".2f"), f"at least {least:.2f}")
    if not translation.body.any():
        return
    if output.copy >= COPY and about.source != about.target:
        yield f"The output is a copy of the input: their values correlate by {output.copy:.2f} (limit {COPY:g})."
    if structure < least:
        yield (
            f"The structure of the input is lost: edges inside the body correlate by {structure:.2f} with the output's "
            f"(limit {least:.2f})."
        )


def _place(trust: Trust, translation: Translation) -> Lines:
    shift, limits = trust.shift, trust.limits
    title, limit = "Shift from the input", f"at most {limits.shift_mm:g} mm"
    if shift is None:
        yield Row(title, "not assessed", limit)
        return
    pixels = f"{shift.rows:+.1f} rows, {shift.columns:+.1f} columns"
    yield Row(title, f"{shift.distance_mm:.1f} mm ({pixels} of {shift.mm:.2g} mm)", limit)
    yield Row("Size relative to the input", f"{shift.scale:.1%}", f"100% ± {limits.scale:.0%}")
    beyond_px = limits.shift_px is not None and max(abs(shift.rows), abs(shift.columns)) > limits.shift_px
    if shift.distance_mm > limits.shift_mm or beyond_px:
        yield (
            f"Output is shifted by {shift.distance_mm:.1f} mm from the input ({pixels} of the network; limit "
            f"{limits.shift_mm:g} mm): labels may not match the image."
        )
    if abs(shift.scale - 1) > limits.scale:
        size = "larger" if shift.scale > 1 else "smaller"
        yield (
            f"Output is {abs(shift.scale - 1):.1%} {size} than the input (limit {limits.scale:.0%}): distances and "
            "labels may not match the image."
        )


def _organs(trust: Trust, translation: Translation) -> Lines:
    for organ in trust.organs:
        sentence = _organ(organ, trust)
        if sentence is not None:
            yield sentence


def _organ(organ: Organ, trust: Trust) -> str | None:
    """The most severe warning."""
    change, name, limits = organ.change, organ.title, trust.limits
    if change is None or change.fate == "absent":
        return None
    sizes = f"{change.size_before:.0f} ml before, {change.size_after:.0f} ml after"
    pieces = change.pieces
    largest = max(limits.piece_ml, limits.piece_share * change.size_before)
    if change.fate in ("vanished", "appeared"):
        return f"The {name} {'has vanished' if change.fate == 'vanished' else 'was invented'}: {sizes}."
    if change.dice < limits.dice:
        dice = f"Dice {change.dice:.2f} before and after, limit {limits.dice:g}"
        return f"The {name} is not where it was: {dice}; {sizes}."
    if pieces is not None and pieces.invented > largest:
        apart = f", {pieces.apart_mm:.0f} mm away from the rest" if pieces.second > largest else ""
        return f"A piece of {name} was invented: {pieces.invented:.0f} ml{apart} (limit {largest:.0f} ml); {sizes}."
    if pieces is not None and pieces.lost > largest:
        return f"A piece of the {name} was lost: {pieces.lost:.0f} ml (limit {largest:.0f} ml); {sizes}."
    if pieces is not None and pieces.holes > largest:
        return f"The {name} has holes of {pieces.holes:.0f} ml that it did not have (limit {largest:.0f} ml)."
    if abs(change.growth - 1) > limits.organ_change:
        return (
            f"The {name} has changed its size by {change.growth - 1:+.0%} (limit {limits.organ_change:.0%}): {sizes}."
        )
    return None


def _steps(trust: Trust, translation: Translation) -> Lines:
    jump, limit = trust.jump, trust.limits.jump
    yield Row("Steps from slice to slice, relative to the input", _known(jump, ".2f"), f"at most {limit:g}")
    if jump > limit:
        yield (
            f"Slices do not fit together: from one to the next the output changes {jump:.2f} times as much as the "
            f"input (limit {limit:g})."
        )


def _window(trust: Trust, translation: Translation) -> Lines:
    about, limit = translation.about, trust.limits.clipped
    yield Row("Body beyond the range of the model", f"{trust.clipped:.1%}", f"at most {limit:.0%}")
    if trust.clipped > limit:
        yield (
            f"{trust.clipped:.0%} of the body lies at or beyond {about.window[0]:g} to {about.window[1]:g} "
            f"{about.ct_words}, the range of the model (limit {limit:.0%})."
        )


def _uncertainty(trust: Trust, translation: Translation) -> Lines:
    spread, limits, about = trust.uncertainty, trust.limits, translation.about
    if spread is None:
        return
    mean = f"mean {spread.mean:.3g}, 95th percentile {spread.high:.3g} {spread.unit}"
    yield Row("Uncertainty inside the body", mean, "")
    yield Row("Uncertain share of the body", f"{spread.share:.1%}", f"at most {limits.uncertain_share:.0%}")
    if spread.share > limits.uncertain_share:
        width = limits.uncertain * (about.high - about.low) if spread.unit == "HU" else 100 * limits.uncertain
        yield (
            f"In {spread.share:.0%} of the body variants differ by more than {width:.3g} {spread.unit} (limit "
            f"{limits.uncertain_share:.0%})."
        )


# Name -> whether the check could be made, and its lines.
CHECKS: dict[str, tuple[Callable[[Trust, Translation], bool], Callable[[Trust, Translation], Lines]]] = {
    "body": (lambda trust, made: bool(made.body.any()), _body),
    "input against training": (lambda trust, made: len(trust.likenesses) == len(made.sources), _input),
    "order of slices": (lambda trust, made: trust.slices is not None and len(made.body) >= 3, _order),
    "output against real images": (lambda trust, made: trust.output.real is not None, _real),
    "output against usual output": (lambda trust, made: trust.output.own is not None, _own),
    "structure": (lambda trust, made: trust.output.kept is not None, _structure),
    "place": (lambda trust, made: trust.shift is not None, _place),
    "organs": (lambda trust, made: any(organ.change is not None for organ in trust.organs), _organs),
    "steps from slice to slice": (lambda trust, made: trust.jump == trust.jump, _steps),
    "CT window": (
        lambda trust, made: "ct" in (made.about.source, made.about.target) and bool(made.body.any()),
        _window,
    ),
    "uncertainty": (lambda trust, made: trust.uncertainty is not None, _uncertainty),
}


def outcomes(trust: Trust, translation: Translation) -> tuple[tuple[Check, ...], list[Row], tuple[str, ...]]:
    """Every check and its outcome, the rows of the report, and the warnings."""
    checks: list[Check] = []
    rows, warnings = [], []
    for name, (assessed, lines) in CHECKS.items():
        before = len(warnings)
        for line in lines(trust, translation):
            (warnings if isinstance(line, str) else rows).append(line)
        otherwise = "within limits" if assessed(trust, translation) else "not assessed"
        checks.append(Check(name, "warning" if len(warnings) > before else otherwise))
    return tuple(checks), rows, tuple(warnings)
