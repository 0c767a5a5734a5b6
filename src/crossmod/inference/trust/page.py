"""The trust report of a translation: one HTML page that needs no other file, and its numbers as JSON."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from crossmod.files import PathName, write_json, write_text
from crossmod.html.page import check_free
from crossmod.inference.contract import About, Translation
from crossmod.inference.trust import figures
from crossmod.inference.trust.checks import Organ
from crossmod.inference.trust.judge import Trust
from crossmod.inference.trust.likeness import Likeness
from crossmod.inference.truth import AgainstTruth
from crossmod.report.figures import COLOURS
from crossmod.version import __version__

Row = dict[str, str]


def write_trust(translation: Translation, trust: Trust, path: PathName, *, truth: AgainstTruth | None = None) -> None:
    """Write the page, and beside it the numbers.

    Args:
        translation: what was judged.
        trust: what was found.
        truth: how far the translation is from the truth, where there is one.
        path: of the page; the numbers lie at the same name with `.json`. An earlier report is written over.

    Raises:
        InputError: there is something else at `path`, or the disk is full.
    """
    path = Path(path)
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The style of all reports; the page is this room's own.
    places = ChoiceLoader([PackageLoader("crossmod.inference.trust"), PackageLoader("crossmod.report")])
    page = Environment(loader=places, autoescape=True, undefined=StrictUndefined).get_template("trust.html")
    write_text(path, page.render(version=__version__, **_parts(translation, trust, truth)))
    told = {} if truth is None else {"against_truth": truth.plain()}
    write_json(path.with_suffix(".json"), {**trust.plain(), **told})


def _parts(translation: Translation, trust: Trust, truth: AgainstTruth | None) -> dict[str, object]:
    about, image, spread = translation.about, translation.image, trust.uncertainty
    unit = "HU" if image.unit == "HU" else "% of the range"
    shape, spacing = image.voxels.shape, image.spacing
    organs = about.organs if translation.labels is not None else ()
    return {
        "name": about.name,
        "what": f"{about.source.upper()} to {about.target.upper()} by {about.name}: {shape[0]} slices of {shape[1]} x "
        f"{shape[2]} pixels, {spacing[0]:.3g} x {spacing[1]:.3g} x {spacing[2]:.3g} mm",
        "status": trust.status,
        "verdict": trust.verdict,
        "warnings": trust.warnings,
        "unknown": trust.unknown,
        "slices": figures.slices_panel(translation, unit=unit, truth=None if truth is None else truth.placed),
        "reformats": figures.reformats_panel(translation),
        "uncertain": spread is not None,
        "keys": [
            {"name": name, "colour": colour} for name, colour in zip(organs, itertools.cycle(COLOURS), strict=False)
        ],
        "checks": list(_checks(trust)),
        "outcomes": trust.checks,
        "truth": None if truth is None else truth.words,
        "stack": about.stack,
        "organs": [_organ(organ) for organ in trust.organs],
        "curve": spread and figures.uncertainty_curve(spread, figures.shown_slices(translation)),
        "histogram": figures.histogram_figure(trust.likenesses) if trust.likenesses else None,
        "model": list(_model(about)),
    }


def _checks(trust: Trust) -> Iterator[Row]:
    limits, spread, output = trust.limits, trust.uncertainty, trust.output
    for like in trust.likenesses:
        yield from _measures(f"Input {like.name}", like)
    if output is not None:
        for like in (output.real, output.own):
            if like is not None:
                yield from _measures(f"Output, beside {like.name}", like)
        for organ in output.organs:
            value = f"{organ.value:.3g} {organ.unit}"
            yield _row(f"{organ.name.replace('_', ' ')} in the output", value, f"{organ.low:.3g} to {organ.high:.3g}")
        structure = "not assessed" if output.kept is None else f"{output.kept.structure:.2f}"
        yield _row("Structure kept: correlation of edges", structure, f"at least {output.least_structure:.2f}")
    yield from _place(trust)
    jump = "not assessed" if trust.jump != trust.jump else f"{trust.jump:.2f}"
    yield _row("Steps from slice to slice, relative to the input", jump, f"at most {limits.jump:g}")
    yield _row("Body beyond the range of the model", f"{trust.clipped:.1%}", f"at most {limits.clipped:.0%}")
    share = "no body" if trust.body_share != trust.body_share else f"{trust.body_share:.0%}"
    yield _row("Share of the slices that is body", share, f"at most {limits.body_share:.0%}")
    if spread is not None:
        mean = f"mean {spread.mean:.3g}, 95th percentile {spread.high:.3g} {spread.unit}"
        yield _row("Uncertainty inside the body", mean, "")
        yield _row("Uncertain share of the body", f"{spread.share:.1%}", f"at most {limits.uncertain_share:.0%}")


def _measures(title: str, like: Likeness) -> Iterator[Row]:
    for one in like.measures:
        unit = f" {one.unit}" if one.unit else ""
        limit = f"at most {one.high:.3g}" if one.low is None else f"{one.low:.3g} to {one.high:.3g}"
        what = "difference of " if one.low is None else ""
        yield _row(f"{title}: {what}{one.name}", f"{one.value:.3g}{unit}", f"{limit}{unit}")


def _place(trust: Trust) -> Iterator[Row]:
    limits, shift = trust.limits, trust.shift
    if shift is None:
        yield _row("Shift from the input", "not assessed", f"at most {limits.shift_mm:g} mm")
        return
    found = f"{shift.distance_mm:.1f} mm ({shift.rows:+.1f} rows, {shift.columns:+.1f} columns of {shift.mm:.2g} mm)"
    yield _row("Shift from the input", found, f"at most {limits.shift_mm:g} mm")
    yield _row("Size relative to the input", f"{shift.scale:.1%}", f"100% ± {limits.scale:.0%}")


def _row(check: str, found: str, limit: str) -> Row:
    return {"check": check, "found": found, "limit": limit}


def _organ(organ: Organ) -> Row:
    change, sizes = organ.change, ("" if size is None else f"{size:.0f}" for size in (organ.before, organ.after))
    known = change is not None and organ.before
    pieces = None if change is None else change.pieces
    moved = change is not None and change.shift_mm == change.shift_mm
    return {
        "organ": organ.name.replace("_", " "),
        **dict(zip(("before", "after"), sizes, strict=True)),
        "change": f"{change.growth - 1:+.0%}" if change is not None and known else "",
        "dice": "" if change is None else f"{change.dice:.2f}",
        "moved": f"{change.shift_mm:.1f} mm" if change is not None and moved else "",
        "pieces": "" if pieces is None else f"{pieces.before} to {pieces.after}",
        "invented": "" if pieces is None else f"{pieces.invented:.0f}",
        "lost": "" if pieces is None else f"{pieces.lost:.0f}",
    }


def _model(about: About) -> Iterator[tuple[str, str]]:
    people = (
        f"{one['patients']} {side.upper()} patients, {one['slices']} slices" for side, one in about.trained_on.items()
    )
    yield "Family", about.family
    yield "Inputs", ", ".join(about.inputs)
    yield "Trained on", "; ".join(people) or "not known"
    yield "CT window", f"{about.window[0]:g} to {about.window[1]:g} {about.ct_words}"
    yield "Pixels a side", str(about.size)
    yield "Pixel of the model", about.pixel_words
    if about.stack_mm is not None:
        yield "Slices seen together", f"{about.stack}, {about.stack_mm:.1f} mm apart"
    yield "Weights", about.weights[:12]
    yield "Made with", f"crossmod {about.version}"
    yield "Licence", about.licence or "not stated"
